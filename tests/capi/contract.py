"""What the C header, the library, the version script and the manual page promise each other."""
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Skipped, check, equal, main, sentence  # noqa: E402

HEADER, LIBRARY, MAP, PAGE, GENERATOR = (os.environ["FUSSY_" + n] for n in ("HEADER", "LIBRARY", "MAP", "PAGE", "GENERATOR"))
CC, CXX = (shlex.split(os.environ[n]) for n in ("FUSSY_CC", "FUSSY_CXX"))
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-I", os.path.dirname(HEADER)]


def text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def without_comments(source):
    return re.sub(r"/\*.*?\*/", " ", source, flags=re.S)


def declared():
    return re.findall(r"^FUSSY_API[^;{(]*?(\w+)\(", without_comments(text(HEADER)), re.M)


def initializers():
    return re.findall(r"#define (FUSSY_(\w+)_INIT)\b", text(HEADER))


def mapped():
    """Name of every export to its node."""
    names = {}
    for node, body in re.findall(r"(FUSSY_[\d.]+) \{(.*?)\}", without_comments(text(MAP)), re.S):
        for name in re.findall(r"\b(fussy_\w+);", body):
            check(name not in names, f"{name} is in two nodes")
            names[name] = node
    return names


def exported():
    """Name to version, as the dynamic linker sees it; also what the library defines beside functions."""
    out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", LIBRARY], check=True, capture_output=True)
    found = {}
    for line in out.stdout.decode().splitlines():
        kind, name = line.split()[-2:]
        name, _, version = name.partition("@")
        if kind != "A":  # the nodes themselves
            found[name] = version.lstrip("@")
    return found


def use_of_everything():
    """A program that names every function, initializer and macro of the header."""
    lines = ["#include <fussy.h>", "#include <fussy.h>", "int main(void);", "int main(void) {", "  unsigned used = 0;"]
    for n, (macro, name) in enumerate(initializers()):
        lines.append(f"  fussy_{name.lower()} s{n} = {macro};")
    for n in range(len(initializers())):
        lines.append(f"  used += s{n}.size;")
    lines += [f"  used += ({name} != 0);" for name in declared()]
    skipped = ("FUSSY_H", "FUSSY_API")
    for name in re.findall(r"#define (FUSSY_\w+)\b(?!\()", text(HEADER)):
        if name not in skipped and not name.endswith("_INIT"):
            lines.append(f"  used += (unsigned)({name} != 0);")
    return "\n".join(lines + ["  return used == 0;", "}"]) + "\n"


def compiles(t, compiler, standard, suffix):
    source = t.write(f"use.{suffix}", use_of_everything())
    # That macros and functions are compared with 0 is the test's doing.
    quiet = ["-Wno-address", "-Wno-tautological-compare", "-Wno-tautological-pointer-compare", "-Wno-extra", "-Wno-type-limits"]
    t.must(*compiler, "-std=" + standard, *STRICT, *quiet, source)
    alone = t.write(f"alone.{suffix}", "#include <fussy.h>\nextern int unused;\n")
    t.must(*compiler, "-std=" + standard, *STRICT, alone)


for standard in ("c89", "gnu89", "c99", "c11", "c17", "c2x"):

    @sentence(f"the header compiles without a warning as {standard}")
    def _(t, standard=standard):
        compiles(t, CC, standard, "c")


for standard in ("c++98", "c++11", "c++17", "c++20"):

    @sentence(f"the header compiles without a warning as {standard}")
    def _(t, standard=standard):
        compiles(t, CXX, standard, "cpp")


@sentence("the header names no type whose size depends on compiler options")
def _(t):
    bad = re.findall(r"\b(?:long|off_t|time_t|size_t|ssize_t|bool|_Bool|enum|mode_t|short|wchar_t)\b", without_comments(text(HEADER)))
    equal(bad, [], "types in the header")


@sentence("only fussy_* is exported, each name from a version node")
def _(t):
    for name, version in exported().items():
        check(name.startswith("fussy_"), f"{name} is exported")
        check(re.fullmatch(r"FUSSY_\d+\.\d+", version), f"{name} has the version {version!r}")


@sentence("header, version script and library agree on what is exported, and from which version on")
def _(t):
    equal(sorted(exported()), sorted(declared()), "exported by the library, declared by the header")
    equal(exported(), mapped(), "exported by the library, listed in the version script")


@sentence("the documentation of an export says the version of its node")
def _(t):
    for name, node in mapped().items():
        since = re.search(r"/\* Since (\d+\.\d+)\. (?:(?!\*/).)*\*/\s*FUSSY_API[^;]*?\b" + name + r"\(", text(HEADER), re.S)
        check(since, f"{name} has no 'Since'")
        equal("FUSSY_" + since[1], node, name)


@sentence("every function that takes a handle is called without one by a test")
def _(t):
    tests = "".join(text(os.path.join(os.path.dirname(os.path.abspath(__file__)), name)) for name in ("session.cpp", "tools.cpp"))
    handles = re.findall(r"\b(fussy_\w+)\(\s*(?:const )?fussy_(session|pipe|lock|stage_output) \*", without_comments(text(HEADER)))
    check(len(handles) > 60, f"only {len(handles)} functions found")
    null = {"session": "(?:s|nullptr)", "pipe": "(?:p|nullptr)", "lock": "nullptr", "stage_output": "nullptr"}
    untested = [name for name, kind in handles if not re.search(name + r"\(" + null[kind] + r"\b", tests)]
    equal(untested, [], "never called without a handle")


@sentence("every export has its entry in the manual page")
def _(t):
    entries = set(re.findall(r"^\.SS (\w+)$", text(PAGE), re.M))
    equal([name for name in declared() if name not in entries], [], "not in fussy.h(3)")


@sentence("the manual page formats without a complaint")
def _(t):
    try:
        done = t.run("groff", "-man", "-Tutf8", "-ww", PAGE)
    except FileNotFoundError:
        raise Skipped("groff is not installed") from None
    equal((done.code, done.err), (0, ""))


@sentence("an export without documentation, or without its version, is refused by the generator of the manual page")
def _(t):
    broken = text(HEADER).replace("#ifdef __cplusplus\n}", "FUSSY_API int32_t fussy_secret(void);\n#ifdef __cplusplus\n}")
    check(broken != text(HEADER), "the spoilt copy is not spoilt")
    done = t.run(sys.executable, GENERATOR, t.write("fussy.h", broken), t.at("page.3"), "0")
    check(done.code == 1 and "fussy_secret is not documented" in done.err, repr(done))
    check(not os.path.exists(t.at("page.3")), "a page was written")
    undated = text(HEADER).replace("#ifdef __cplusplus\n}", "/* Does it. */\nFUSSY_API int32_t fussy_secret(void);\n#ifdef __cplusplus\n}")
    done = t.run(sys.executable, GENERATOR, t.write("fussy.h", undated), t.at("page.3"), "0")
    check(done.code == 1 and "fussy_secret does not begin with 'Since" in done.err, repr(done))


@sentence("the library can be told apart by its name: libfussy.so.1")
def _(t):
    out = subprocess.run(["readelf", "-d", LIBRARY], check=True, capture_output=True).stdout.decode()
    check("Library soname: [libfussy.so.1]" in out, out)
    check("TEXTREL" not in out, "text relocations")


main()
