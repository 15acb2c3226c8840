"""Every way a host project finds and links the library, from an installed prefix and from a source tree."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402

BUILD, SOURCE, PREFIX, MESON = (os.environ["FUSSY_" + n] for n in ("BUILD", "SOURCE", "PREFIX", "MESON"))
CC, CXX = (shlex.split(os.environ[n]) for n in ("FUSSY_CC", "FUSSY_CXX"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
SAID = "fussy 0.1.0\n"


class Host(Workspace):
    """A workspace with the library installed below a prefix that is not the one it was configured for."""

    installed = None

    def __init__(self):
        super().__init__()
        if not Host.installed:
            Host.installed = tempfile.mkdtemp(prefix="fussy-test-prefix-")
            self.must(*shlex.split(MESON), "install", "-C", BUILD, "--no-rebuild", "--destdir", Host.installed)
        self.prefix = Host.installed + PREFIX
        pc = next(p for p, _, files in os.walk(self.prefix) if "fussy.pc" in files)
        self.lib = os.path.dirname(pc)
        self.environment = {"PKG_CONFIG_PATH": pc, "LD_LIBRARY_PATH": self.lib}

    def flags(self, *arguments):
        """What pkg-config says, with the paths of a description that can be moved straightened."""
        found = shlex.split(self.must("pkg-config", *arguments, env=self.environment).out)
        return [f[:2] + os.path.normpath(f[2:]) if f[:2] in ("-I", "-L") else f for f in found]

    def says(self, program, wanted=SAID, **named):
        done = self.run(program, env=self.environment, **named)
        equal((done.code, done.out, done.err), (0, wanted, ""))

    def needed(self, program):
        return self.must("readelf", "-d", program).out

    def source(self, name):
        return os.path.join(HERE, name)


@sentence("pkg-config, shared: a C99 program links with -lfussy and nothing else")
def _(t):
    equal(t.flags("--cflags", "fussy"), [f"-I{t.prefix}/include"], "what a host compiles with")
    equal(t.flags("--libs", "fussy"), [f"-L{t.lib}", "-lfussy"], "what a host links with")
    t.must(*CC, *STRICT, t.source("app.c"), "-o", t.at("app"), *t.flags("--cflags", "--libs", "fussy"))
    check("libfussy.so.1" in t.needed(t.at("app")), "the shared library is not used")
    t.says(t.at("app"))


@sentence("pkg-config, static: where there is only libfussy.a, --static --libs has all it needs")
def _(t):
    only = t.at("static")
    shutil.copytree(t.prefix, only, symlinks=True)
    lib = only + t.lib[len(t.prefix):]
    for name in os.listdir(lib):
        if name.startswith("libfussy.so"):
            os.remove(os.path.join(lib, name))
    t.environment["PKG_CONFIG_PATH"] = os.path.join(lib, "pkgconfig")
    t.must(*CC, *STRICT, t.source("app.c"), "-o", t.at("app"), *t.flags("--static", "--cflags", "--libs", "fussy"))
    check("libfussy" not in t.needed(t.at("app")), "the shared library is used")
    t.says(t.at("app"))


@sentence("pkg-config, C++: a program links with the static libfussy++")
def _(t):
    equal(t.flags("--cflags", "fussy++"), [f"-I{t.prefix}/include"], "what a host compiles with")
    t.must(*CXX, "-std=c++20", "-Wall", "-Wextra", "-Werror", t.source("app.cpp"), "-o", t.at("app"),
           *t.flags("--cflags", "--libs", "fussy++"))
    t.says(t.at("app"), "fussy++\n")


@sentence("plain cc -lfussy, without any helper")
def _(t):
    t.must(*CC, *STRICT, "-I", t.prefix + "/include", t.source("app.c"), "-o", t.at("app"), "-L", t.lib, "-lfussy")
    t.says(t.at("app"))


@sentence("CMake: find_package(fussy) gives fussy::fussy and fussy::fussyxx")
def _(t):
    if not shutil.which("cmake"):
        raise Skipped("cmake is not installed")
    environment = {"CC": CC[-1], "CXX": CXX[-1], "PKG_CONFIG_PATH": None}
    t.must("cmake", "-G", "Ninja", "-S", t.source("cmake"), "-B", t.at("build"), "-DCMAKE_PREFIX_PATH=" + t.prefix,
           "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DFUSSY_APPS=" + HERE, env=environment)
    t.must("cmake", "--build", t.at("build"), env=environment)
    t.says(t.at("build", "app"))
    t.says(t.at("build", "app++"), "fussy++\n")
    with open(t.at("build", "compile_commands.json"), encoding="utf-8") as f:
        check(all("-W" not in entry["command"] for entry in json.load(f)), "a host got warning flags")


@sentence("CMake: a version that is too new, or of another major, is refused")
def _(t):
    if not shutil.which("cmake"):
        raise Skipped("cmake is not installed")
    for version in ("0.9", "1.0"):
        t.write("CMakeLists.txt", f"cmake_minimum_required(VERSION 3.18)\nproject(host C)\nfind_package(fussy {version} REQUIRED)\n")
        done = t.run("cmake", "-G", "Ninja", "-S", t.path, "-B", t.at("build"), "-DCMAKE_PREFIX_PATH=" + t.prefix)
        check(done.code != 0 and "requested version" in done.err, repr(done))


def botan():
    with open(os.path.join(BUILD, "meson-private", "fussy.pc"), encoding="utf-8") as f:
        return re.search(r"-l(botan-\d)", f.read())[1]


def signed_package(t):
    """A package made by gpg and tar, with its key ring in `keys`; made once."""
    package, gpg = t.at("fw-1.tar.gz.gpg"), ["gpg", "--homedir", t.at("gnupg"), "--batch", "--quiet"]
    if not os.path.exists(package):
        t.write("fw-1/app", "hello\n")
        os.mkdir(t.at("gnupg"), 0o700)
        os.mkdir(t.at("keys"))
        t.must(*gpg, "--passphrase", "", "--quick-gen-key", "vendor@example.org", "ed25519", "sign", "never")
        t.must(*gpg, "--output", t.at("keys", "vendor.gpg"), "--export")
        t.must("tar", "-czf", t.at("fw-1.tar.gz"), "fw-1")
        t.must(*gpg, "--output", package, "--sign", t.at("fw-1.tar.gz"))
    return package


def installs(t, program):
    target = t.at("target-" + os.path.basename(program))
    os.mkdir(target)
    # It finds the library it was built with, not the complete one that is installed.
    done = t.must(program, signed_package(t), t.at("keys"), target, env={"LD_LIBRARY_PATH": None})
    equal((done.out, os.readlink(target + "/current")), ("fw-1\n", "fw-1"))


@sentence("Meson: a subproject answers dependency('fussy'), also built without what a small device leaves out")
def _(t):
    shutil.copytree(t.source("meson"), t.at("host"))
    for source in ("app.c", "small.c"):
        shutil.copy(t.source(source), t.at("host", source))
    os.mkdir(t.at("host", "subprojects"))
    shutil.copy(t.source("meson/fussy.wrap"), t.at("host", "subprojects", "fussy.wrap"))
    os.symlink(SOURCE, t.at("host", "subprojects", "fussy"))
    environment = {"CC": shlex.join(CC), "CXX": shlex.join(CXX), "PKG_CONFIG_PATH": None}
    small = ["-Dfussy:pack=false", "-Dfussy:pipes=false", "-Dfussy:migrations=false", "-Dfussy:isal=disabled"]
    t.must(*shlex.split(MESON), "setup", t.at("host", "build"), t.at("host"), "-Doptimization=0", *small, env=environment)
    t.must("ninja", "-C", t.at("host", "build"), "app", "small", "subprojects/fussy/capi/libfussy.a", env=environment, timeout=900)
    t.says(t.at("host", "build", "app"))
    installs(t, t.at("host", "build", "small"))
    # One file that needs nothing else on the device, not even a C library.
    libraries = ["-l" + name for name in (botan(), "archive", "z", "zstd", "bz2", "stdc++", "m", "gcc_eh")]
    t.must(*CC, "-std=c99", "-static", "-s", "-Wl,--gc-sections", "-I", SOURCE + "/capi", t.source("small.c"),
           t.at("host", "build", "subprojects", "fussy", "capi", "libfussy.a"), *libraries, "-o", t.at("static"))
    check("NEEDED" not in t.needed(t.at("static")), "it is not static")
    check(os.path.getsize(t.at("static")) < 9e6, f"{os.path.getsize(t.at('static'))} bytes for installing, even without optimisation")
    installs(t, t.at("static"))
    with open(t.at("host", "build", "compile_commands.json"), encoding="utf-8") as f:
        mine = [entry["command"] for entry in json.load(f) if entry["file"].endswith("app.c")]
    equal(len(mine), 1, "commands that compile the host")
    for leak in ("-Wconversion", "-Wshadow", "-Wextra", "_GNU_SOURCE", "FUSSY_", "-std=c++20"):
        check(leak not in mine[0], f"{leak} reached the host: {mine[0]}")


@sentence("a C program without C++ loads and unloads the library")
def _(t):
    t.must(*CC, *STRICT, "-Wno-pedantic", t.source("loads.c"), "-o", t.at("loads"), "-ldl")
    done = t.must(t.at("loads"), os.path.join(t.lib, "libfussy.so.1"))
    equal(done.out, "0.1.0\n" * 3)


@sentence("the old name fussy-south-rollback leads to fussy-southrollback")
def _(t):
    bin_directory = os.path.join(t.prefix, "bin")
    equal(os.readlink(os.path.join(bin_directory, "fussy-south-rollback")), "fussy-southrollback")
    check(t.must(os.path.join(bin_directory, "fussy-south-rollback"), "--version").out.startswith("fussy-southrollback "))


# What connects fussy to shells and to other updaters (data/).
DATA = ("share/mender/modules/v3/fussy", "share/fussy/", "share/bash-completion/completions/fussy-", "share/zsh/site-functions/_fussy")


@sentence("what is installed is headers, libraries, their descriptions, pages, commands and data, nothing else")
def _(t):
    for parent, _, files in os.walk(t.prefix):
        for name in files:
            path = os.path.relpath(os.path.join(parent, name), t.prefix)
            good = path.startswith(("include/fussy/", "bin/fussy-", "share/man/man", *DATA)) or path == "include/fussy.h" or (
                path.startswith("lib") and (name.startswith("libfussy") or name in ("fussy.pc", "fussy++.pc") or "/cmake/fussy/" in path))
            check(good, f"{path} is installed")
    check(os.path.exists(t.prefix + "/share/man/man3/fussy.h.3"), "fussy.h(3) is missing")


try:
    main(Host)
finally:
    if Host.installed:
        shutil.rmtree(Host.installed)
