"""What can be said about the documentation without running it: nothing is missing, nothing is left over."""
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support"), os.path.join(ROOT, "data", "completions")]
from generate import COMMANDS, generate, options  # noqa: E402
from markdown import LANGUAGES, all_blocks, all_pages, anchors, blocks, links, spans  # noqa: E402
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def pages():
    return all_pages(ROOT)


def codes():
    """Number and name of every errc, from the header."""
    body = re.search(r"enum class errc : int \{(.*?)\n\};", text("include/fussy/error.hpp"), re.DOTALL).group(1)
    return [(int(number), name) for name, number in re.findall(r"^  (\w+) = (\d+),", body, re.MULTILINE)]


@sentence("the runbook has every error code, with its number, and no other")
def _(t):
    rows = re.findall(r"^\| (\d+) `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", text("docs/recovery-runbook.md"), re.MULTILINE)
    equal([(int(number), name) for number, name, *_ in rows], [c for c in codes() if c[0] != 0])


@sentence("the runbook has each code below the heading of its exit status")
def _(t):
    for section in text("docs/recovery-runbook.md").split("\n## ")[1:]:
        heading = section.splitlines()[0]
        allowed = {int(n) for n in re.findall(r"\d+", heading)}
        for number in re.findall(r"^\| (\d+) `", section, re.MULTILINE):
            check(int(number) // 100 in allowed, f"{number} stands below \"{heading}\"")


@sentence("every link between our pages leads somewhere")
def _(t):
    broken = []
    for page in pages():
        for link in links(text(page)):
            path, _, anchor = link.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not os.path.exists(os.path.join(ROOT, there)):
                broken.append(f"{page}: {link}")
            elif anchor and there.endswith(".md") and anchor not in anchors(text(there)):
                broken.append(f"{page}: {link} (no such heading)")
    equal(broken, [])


@sentence("every guide can be reached from the README")
def _(t):
    seen, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.endswith(".md"):
            continue
        seen.add(page)
        todo += [os.path.normpath(os.path.join(os.path.dirname(page), l.partition("#")[0])) for l in links(text(page))]
    equal([p for p in pages() if p not in seen and not p.startswith(".")], [])


@sentence("whatever is printed as a block says what it is, and no command hides in what is not run")
def _(t):
    program = re.compile(r"^\s*(\$ |# )?(fussy-[a-z]+|gpg|meson|ninja|mender|mender-artifact|rauc|cc|c\+\+|curl|examples/|tests/run) ")
    for page in pages():
        for block in all_blocks(text(page)):
            where = f"{page}:{block.line}"
            check(block.language in LANGUAGES, f"{where}: `{block.language}` is none of {', '.join(LANGUAGES)}")
            if block.language == "text":
                hidden = [line for line in block.code.splitlines() if program.match(line)]
                equal(hidden, [], f"{where}: these are commands; print them as sh")


@sentence("what is not run says why, and is little: what another test runs")
def _(t):
    found = [(page, block) for page in pages() for block in blocks(text(page)) if block.reason]
    for page, block in found:
        check(re.search(r"continuous integration|long test|tests/fleets", block.reason), f"{page}:{block.line}: {block.reason}")
    check(len(found) <= 5, [f"{page}:{block.line}: {block.reason}" for page, block in found])


@sentence("options in the running text are options the command has")
def _(t):
    known = {c: {s for o in options(t.must(c, "--help").out) for s in o.spellings} for c in commands()}
    for page in pages():
        for span in spans(text(page)):
            words = re.split(r"[\s\"]+", span)
            for command in (word for word in words[:1] if word in known):
                for word in words[1:]:
                    if re.fullmatch(r"--?[A-Za-z][\w-]*", word):
                        check(word in known[command], f"{page}: `{span}`: {command} has no {word}")


def commands():
    """The commands of this build."""
    return sorted(name for name in os.listdir(Workspace.commands) if re.fullmatch(r"fussy-[a-z-]+", name))


@sentence("the list of commands is that of the build")
def _(t):
    equal(sorted(COMMANDS), commands())


def manual(command):
    return text(f"docs/man/{command}.1")


def manual_options(page):
    """All options a manual page has in its OPTIONS."""
    section = re.search(r"^\.SH OPTIONS\n(.*?)(?=^\.SH )", page, re.MULTILINE | re.DOTALL).group(1)
    found = set()
    for tag in re.findall(r"^\.TP\n(.+)$", section, re.MULTILINE):
        found.update(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", tag.replace("\\-", "-")))
    return found


@sentence("every option of --help stands in the command's manual page, and the other way round")
def _(t):
    for command in commands():
        help_options = {spelling for option in options(t.must(command, "--help").out) for spelling in option.spellings}
        equal(sorted(manual_options(manual(command))), sorted(help_options), command)


@sentence("every manual page names its command, version and exit statuses, and reads without a complaint")
def _(t):
    for command in commands():
        page = manual(command)
        check(page.startswith(f".TH {command.upper()} 1 "), f"{command}: title")
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"):
            check(f".SH {heading}\n" in page or f'.SH "{heading}"\n' in page, f"{command}: no {heading}")
        for other in re.findall(r"^\.BR (fussy-[a-z-]+) \(1\)", page, re.MULTILINE):
            check(other in commands(), f"{command}: SEE ALSO names {other}, which is no command")
        done = t.run("groff", "-man", "-ww", "-z", "-Tutf8", os.path.join(ROOT, "docs/man", f"{command}.1"))
        equal((done.code, done.err), (0, ""), command)


@sentence("there is no manual page without a command")
def _(t):
    have = [os.path.basename(p)[:-2] for p in glob.glob(os.path.join(ROOT, "docs/man/*.1"))]
    equal(sorted(have), commands())


@sentence("every command knows --help and --version, and answers on standard output")
def _(t):
    for command in commands():
        for option, wanted in (("--version", f"{command} "), ("--help", "Usage")):
            done = t.run(command, option)
            equal((done.code, done.err), (0, ""), f"{command} {option}")
            check(wanted in done.out, f"{command} {option}: {done.out}")


@sentence("the completions are what generate.py makes of --help")
def _(t):
    for path, content in generate(Workspace.commands).items():
        equal(text(f"data/completions/{path}"), content, f"run data/completions/generate.py: {path}")


@sentence("bash completes options of every command, and values where they are known")
def _(t):
    def complete(*words):
        source = os.path.join(ROOT, "data/completions/fussy.bash")
        quoted = " ".join(f"'{word}'" for word in words)
        code = f"source '{source}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _fussy '{words[0]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return t.must("bash", "--norc", "-c", code, env={"PATH": os.environ["PATH"]}).out.split()

    equal(complete("fussy-install", "--targ"), ["--target"])
    equal(complete("fussy-pack", "-c", "z"), ["zstd"])
    t.write("package.gpg")
    check("package.gpg" in complete("fussy-install", "pack"), "names of files")
    for command in commands():
        check("--help" in complete(command, "--"), command)


@sentence("zsh reads the completion")
def _(t):
    if not any(os.access(os.path.join(d, "zsh"), os.X_OK) for d in os.environ["PATH"].split(os.pathsep)):
        raise Skipped("zsh is not installed")
    t.must("zsh", "-f", "-n", os.path.join(ROOT, "data/completions/_fussy"))


@sentence("the unit printed in the device's guide is the one that is installed")
def _(t):
    unit = text("data/systemd/fussy-recover.service").splitlines()
    (printed,) = [b.code for b in all_blocks(text("docs/preparing-a-device.md")) if "[Unit]" in b.code]
    equal([line for line in printed.splitlines() if line and line not in unit], [])


@sentence("the pictures are what their text says")
def _(t):
    for source in sorted(glob.glob(os.path.join(ROOT, "docs/pictures/*.txt"))):
        made = subprocess.run(
            [sys.executable, os.path.join(ROOT, "docs/pictures/draw.py"), source, "-"], check=True, capture_output=True
        ).stdout.decode()
        equal(text(source[:-4] + ".svg"), made, f"run docs/pictures/draw.py: {source}")


main()
