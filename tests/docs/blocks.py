"""Runs the code of README, guides and manual pages as it is printed, on a machine of its own: the host with our files installed, seen
through mount and process namespaces, so that /etc/fussy, /opt/firmware and /usr/local are the page's to change."""
import functools
import glob
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support")]
from manual import examples  # noqa: E402
from markdown import all_pages, blocks  # noqa: E402
from sentences import Skipped, Workspace, check, main, sentence  # noqa: E402

BUILD = os.environ["FUSSY_BUILD"]
CHANGED = ("/etc", "/opt", "/var")  # what a page may write to, beside its own directory and the prefix

LONG = sys.argv[1:2] == ["--long"]  # runs what is left to the long tests, and nothing else
if LONG:
    del sys.argv[1]

C_PAGE = "#include <fussy.h>\n#include <stdio.h>\nint main(void) {{\n{code}{end}}}\n"
CPP_PAGE = "#include <fussy/install.hpp>\n#include <cstdio>\nint main() {{\n{code}}}\n"
COMPILE = {
    "c": 'cc -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror {file} $(pkg-config --cflags --libs fussy) -o {program}',
    "cpp": 'c++ -std=c++20 -Wall -Wextra -Werror {file} $(pkg-config --cflags --libs --static fussy++) -o {program}',
}


@functools.cache
def installed():
    """`meson install` into a directory. @return the space it is in, the prefix, the library directory"""
    options = json.loads(
        subprocess.run(
            ["meson", "introspect", BUILD, "--buildoptions"], check=True, capture_output=True
        ).stdout
    )
    value = {option["name"]: option["value"] for option in options}
    space = Workspace()
    subprocess.run(
        ["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--strip"],  # as the README prints it
        check=True, capture_output=True, env=dict(os.environ, DESTDIR=space.at("root")),
    )  # fmt: skip
    return space, value["prefix"], os.path.join(value["prefix"], value["libdir"])


def step(t, block, number):
    """Shell that does what a block says."""
    if block.file:
        t.write(f"./{block.file}", block.code)
        return ""
    if block.language == "sh":
        return block.code
    program = f"./.block-{number}"
    file = f"{program}.{block.language}"
    code = block.code
    if block.language == "python":
        t.write(file, code)
        return f"python3 {file}\n"
    if "main(" not in code:
        end = "return status == 0 ? 0 : 1;\n" if "status" in code else "return 0;\n"
        code = (C_PAGE if block.language == "c" else CPP_PAGE).format(code=code, end=end)
    t.write(file, code)
    return COMPILE[block.language].format(file=file, program=program) + f"\n{program}\n"


def script(t, page):
    lines = ["set -euo pipefail\n"]
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        found = blocks(f.read())
    for number, block in enumerate(found):
        if LONG and block.reason and "long tests" in block.reason:
            lines += ["cd source\n"]
        elif block.reason:
            print(f"{page}:{block.line}: not run: {block.reason}")
            continue
        lines += [f"FUSSY_AT={page}:{block.line}\n", step(t, block, number)]
    return "".join(lines), len(found)


def namespace(t, prefix):
    """Shell that makes the machine of the page and runs it."""
    space = installed()[0]
    mounts = [f"mount -t tmpfs tmpfs '{t.at('machine')}'"]
    os.makedirs(t.at("machine"))
    for path in (*CHANGED, prefix):
        upper = t.at("machine") + path
        lower = f"{space.at('root')}{prefix}:{path}" if path == prefix else path
        mounts.append(f"mkdir -p '{upper}/up' '{upper}/work'")
        mounts.append(
            f"mount -t overlay overlay -o 'lowerdir={lower},upperdir={upper}/up,workdir={upper}/work' '{path}'"
        )
    mounts.append("rm -rf /etc/fussy /opt/* /var/lib/fussy* /var/lib/app")  # what the host may have of it; only here
    return " && ".join([*mounts, "exec bash page.sh"])


def manual_script(path):
    """The examples of a manual page, one after the other on the same machine."""
    with open(os.path.join(HERE, "manual-machine.sh"), encoding="utf-8") as f:
        lines = ["set -euo pipefail\n", f.read()]
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        found = examples(f.read())
    for number, example in enumerate(found, 1):
        lines += [f"FUSSY_AT='{path}, example {number}'\n", example]
    return "".join(lines), len(found)


def run_page(t, page):
    if os.geteuid() != 0:
        raise Skipped("needs root, for mounts of its own")
    space, prefix, libraries = installed()
    os.mkdir(t.at("page"))
    if LONG:
        os.mkdir(t.at("page/source"))
        sources = [name for name in os.listdir(ROOT) if not name.startswith("build") and name != ".git"]
        t.must("cp", "-a", "--", *sources, t.at("page/source"), cwd=ROOT)
    content, count = script(t, page) if page.endswith(".md") else manual_script(page)
    check(count > 0, "no code found")
    t.write("page/page.sh", content)
    done = t.run(
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", namespace(t, prefix),
        cwd=t.at("page"), timeout=3600 if LONG else 300,
        env={
            "PATH": f"{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PKG_CONFIG_PATH": f"{libraries}/pkgconfig",
            "LD_LIBRARY_PATH": libraries,
            "HOME": t.at("page"),
            "GNUPGHOME": None,
            "LANG": "C.UTF-8",
            "TESTS": os.path.join(ROOT, "tests"),
            "BASH_ENV": t.write("trap.sh", "trap 'echo \"failed at ${FUSSY_AT:-?}: $BASH_COMMAND\" >&2' ERR\n"),
        },
    )  # fmt: skip
    check(done.code == 0, f"{page}: exit status {done.code}\n{done.out}\n{done.err}")


class Page(Workspace):
    """A workspace; what a page calls ./NAME is in page/."""

    def write(self, path, content="", mode=0o644):
        return super().write(os.path.join("page", path) if path.startswith("./") else path, content, mode)


def pages():
    """Pages that have code to run."""
    for path in all_pages(ROOT):
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            if any("long tests" in (block.reason or "") if LONG else not block.reason for block in blocks(f.read())):
                yield path


for path in pages():

    @sentence(f"the code of {path} works as it is printed")
    def _(t, path=path):
        run_page(t, path)

for path in [] if LONG else sorted(glob.glob("docs/man/*.1", root_dir=ROOT)):

    @sentence(f"the examples of {path} work as they are printed")
    def _(t, path=path):
        run_page(t, path)


try:
    main(Page)
finally:
    if installed.cache_info().currsize:
        installed()[0].close()
