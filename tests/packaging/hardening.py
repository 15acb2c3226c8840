"""What the linker and the compiler left in the programs and the library that are installed: the marks of hardening.

SECURITY.md lists them. A program made without them is held against the same checks, so that they are seen to fail.
"""
import functools
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402

BUILD = os.environ["FUSSY_BUILD"]


@functools.cache
def build_options():
    done = subprocess.run(["meson", "introspect", BUILD, "--buildoptions"], check=True, capture_output=True)
    return {option["name"]: option["value"] for option in json.loads(done.stdout)}


def readelf(path, *options):
    return subprocess.run(["readelf", "--wide", *options, path], check=True, capture_output=True, text=True).stdout


def imports(path):
    return set(re.findall(r" UND (\w+)", readelf(path, "--dyn-syms")))


def is_position_independent(path):
    return "Type:                              DYN" in readelf(path, "--file-header")


def has_no_executable_stack(path):
    stack = re.search(r"GNU_STACK\s.*? (R\w?E?)\s+0x\w+$", readelf(path, "--segments"), re.MULTILINE)
    return bool(stack) and "E" not in stack.group(1)


def resolves_all_at_start_and_seals_it(path):
    dynamic = readelf(path, "--dynamic")
    return "GNU_RELRO" in readelf(path, "--segments") and bool(re.search(r"\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW", dynamic))


def has_no_path_of_the_build_machine(path):
    return not re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", readelf(path, "--dynamic"))


def looks_for_smashed_stacks(path):
    return "__stack_chk_fail" in imports(path)


def checks_sizes_of_buffers(path):
    return any(re.fullmatch(r"__\w+_chk", name) and name != "__stack_chk_fail" for name in imports(path))


EVERYWHERE = [
    is_position_independent,
    has_no_executable_stack,
    resolves_all_at_start_and_seals_it,
    has_no_path_of_the_build_machine,
    looks_for_smashed_stacks,
]


def installed(t):
    """Programs and the shared library, as `meson install` leaves them."""
    if build_options()["b_sanitize"] != "none":
        raise Skipped("built with a sanitizer")
    done = t.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env={"DESTDIR": t.at("root")})
    check(done.code == 0, done)
    root = t.at("root") + build_options()["prefix"]
    commands = [p for p in glob.glob(root + "/bin/fussy-*") if not os.path.islink(p)]
    (library,) = glob.glob(os.path.join(root, build_options()["libdir"], "libfussy.so.*.*.*"))
    check(len(commands) >= 12, commands)
    return [*sorted(commands), library]


for holds in EVERYWHERE:

    @sentence(f"each command and the library {holds.__name__.replace('_', ' ')}")
    def _(t, holds=holds):
        equal([os.path.basename(path) for path in installed(t) if not holds(path)], [])


@sentence("each command and the library checks sizes of buffers, where it calls what can be checked")
def _(t):
    if build_options()["optimization"] in ("0", "g"):
        raise Skipped("the compiler checks sizes only when it optimizes")
    # A program that calls none of these has nothing to check.
    checkable = {"memcpy", "memmove", "memset", "strcpy", "snprintf", "vsnprintf", "read", "recv", "readlink", "readlinkat", "realpath"}
    equal([os.path.basename(p) for p in installed(t) if not checks_sizes_of_buffers(p) and imports(p) & checkable], [])


@sentence("a program that was made without any of it fails each of these checks")
def _(t):
    source = t.write("bad.c", '#include <stdio.h>\nint main(int n, char **a) { char b[9]; sprintf(b, "%s", a[n - 1]); return puts(b); }\n')
    bad = t.at("bad")
    t.must(
        "gcc", source, "-o", bad, "-O1", "-no-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-Wl,-z,norelro", "-Wl,-z,lazy",
        "-Wl,-z,execstack", "-Wl,-rpath,/home/me/lib",
    )  # fmt: skip
    for holds in [*EVERYWHERE, checks_sizes_of_buffers]:
        check(not holds(bad), f"{holds.__name__.replace('_', ' ')}: not noticed")


main(Workspace)
