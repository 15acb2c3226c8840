"""What `meson install` lays out, and whether the packaging knows all of it. With the argument --long (before a name): builds
the Debian packages and the release archive as well."""
import fnmatch
import glob
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from sentences import Skipped, check, equal, main, sentence  # noqa: E402

BUILD = os.environ["FUSSY_BUILD"]
LONG = sys.argv[1:2] == ["--long"]
if LONG:
    del sys.argv[1]


def must(*argv, **named):
    done = subprocess.run(argv, capture_output=True, text=True, **named)
    check(done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def build_options():
    options = json.loads(must("meson", "introspect", BUILD, "--buildoptions"))
    return {option["name"]: option["value"] for option in options}


def installed(t):
    """All files `meson install` makes, as a distribution has them: below /usr."""
    must("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env=dict(os.environ, DESTDIR=t.at("root")))
    prefix = t.at("root") + build_options()["prefix"]
    found = {}
    for parent, _, files in os.walk(t.at("root")):
        for name in files:
            path = os.path.join(parent, name)
            check(path.startswith(prefix + "/"), f"{path} is outside the prefix")
            found["usr/" + os.path.relpath(path, prefix)] = path
    return found


@sentence("the recipes for Debian, Buildroot and Yocto agree with the Meson files")
def _(t):
    must(sys.executable, os.path.join(ROOT, "packaging", "check"))


@sentence("a recipe that falls behind the Meson files is noticed")
def _(t):
    def check_with(path="", old="", new=""):
        """Runs packaging/check on a copy in which one thing is changed. @return what it says"""
        for name in ("packaging", "examples"):
            shutil.copytree(os.path.join(ROOT, name), t.at("copy", name), dirs_exist_ok=True)
        for name in ("meson.build", "meson_options.txt", "LICENSE"):
            shutil.copy(os.path.join(ROOT, name), t.at("copy"))
        if path:
            with open(t.at("copy", path)) as f:
                text = f.read()
            check(old in text, f"{path} has no {old!r}: this test is out of date")
            t.write(os.path.join("copy", path), text.replace(old, new, 1))
        done = t.run(sys.executable, t.at("copy/packaging/check"))
        equal(done.code, 1 if done.err else 0, done)
        return done.err

    equal(check_with(), "")
    yocto = "packaging/yocto/recipes-support/fussy/fussy_0.1.0.bb"
    for path, old, new in (
        ("meson.build", "version: '0.1.0'", "version: '0.2.0'"),
        ("LICENSE", "BSD", "MIT"),
        ("packaging/debian/control", " libzstd-dev,\n", ""),
        ("packaging/debian/control", "libfussy1 (= ${binary:Version}),\n libisal-dev [amd64 arm64]", "libfussy1 (= ${binary:Version})"),
        ("packaging/debian/rules", "-Dtests=", "-Dchecks="),
        ("packaging/buildroot/fussy/fussy.mk", " zlib zstd", " zlib"),
        ("packaging/buildroot/fussy/Config.in", "\tselect BR2_PACKAGE_ZLIB\n", ""),
        ("packaging/buildroot/fussy/Config.in", "\tbool \"fussy\"", "  bool \"fussy\""),
        (yocto, "libarchive ", ""),
        (yocto, "-Disal=enabled", "-Digzip=enabled"),
        (yocto, "inherit meson", "inherit cmake"),
    ):
        check(check_with(path, old, new), f"{path} without {old!r} was not noticed")


@sentence("Kconfig reads Buildroot's menu, and choosing fussy chooses what it needs")
def _(t):
    if not shutil.which("kconfig-conf"):
        raise Skipped("kconfig-frontends is not installed")
    here = os.path.join(ROOT, "packaging/buildroot/fussy/Config.in")
    with open(here) as f:
        named = set(re.findall(r"BR2_\w+", f.read()))
    own = {name for name in named if name.startswith("BR2_PACKAGE_FUSSY")}
    given = ["BR2_INSTALL_LIBSTDCPP", "BR2_TOOLCHAIN_GCC_AT_LEAST_12", "BR2_TOOLCHAIN_HAS_THREADS", "BR2_PACKAGE_BOTAN_ARCH_SUPPORTS"]
    menu = "".join(f"config {name}\n\tbool\n" + ("\tdefault y\n" if name in given else "") for name in sorted(named - own))
    t.write("Config.in", f'config MODULES\n\tbool\n\toption modules\n{menu}source "{here}"\n')
    t.write(".config", "CONFIG_BR2_PACKAGE_FUSSY=y\n")
    done = t.must("kconfig-conf", "--olddefconfig", "Config.in")
    check("warning" not in done.err and "error" not in done.err, done)
    with open(t.at(".config")) as f:
        chosen = set(re.findall(r"^CONFIG_(\w+)=y$", f.read(), re.MULTILINE))
    equal(own - {"BR2_PACKAGE_FUSSY_SITE"} - chosen, set())
    equal({"BR2_PACKAGE_" + name for name in ("BOTAN", "LIBARCHIVE", "FMT", "ZLIB", "ZSTD", "BZIP2", "CLI11")} - chosen, set())


@sentence("GNU make reads Buildroot's recipe, with and without the commands")
def _(t):
    def recipe(tools):
        t.write(
            "Makefile",
            f"qstrip = $(strip $(subst \",,$(1)))\nBR2_PACKAGE_FUSSY_SITE = \"https://example.org/archives\"\n"
            f"BR2_PACKAGE_FUSSY_TOOLS = {tools}\nmeson-package = PACKAGE = read\n"
            f"include {ROOT}/packaging/buildroot/fussy/fussy.mk\n"
            "all:\n\t@echo '$(PACKAGE) $(FUSSY_SITE)/$(FUSSY_SOURCE) [$(FUSSY_DEPENDENCIES)] [$(FUSSY_CONF_OPTS)]'\n",
        )
        return t.must("make", "--warn-undefined-variables", "--no-print-directory").out

    full, small = recipe("y"), recipe("")
    check(full.startswith("read https://example.org/archives/fussy-0.1.0.tar.xz ["), full)
    check("cli11" in full and "-Dexamples=enabled" in full, full)
    check("cli11" not in small and "-Dexamples=disabled" in small, small)


@sentence("meson install lays commands, libraries, headers and the rest where a distribution expects them")
def _(t):
    found = installed(t)
    lib = "usr/" + build_options()["libdir"]
    for wanted in (
        "usr/bin/fussy-install",
        "usr/bin/fussy-pack",
        "usr/include/fussy.h",
        "usr/include/fussy/install.hpp",
        f"{lib}/libfussy.so",
        f"{lib}/libfussy.so.1",
        f"{lib}/libfussy.a",
        f"{lib}/libfussy++.a",
        f"{lib}/pkgconfig/fussy.pc",
        f"{lib}/pkgconfig/fussy++.pc",
        f"{lib}/cmake/fussy/fussyConfig.cmake",
        "usr/share/man/man1/fussy-install.1",
        "usr/share/man/man3/fussy.h.3",
        "usr/share/bash-completion/completions/fussy-install",
        "usr/share/bash-completion/completions/fussy-status",
        "usr/share/zsh/site-functions/_fussy",
        "usr/share/mender/modules/v3/fussy",
        "usr/share/fussy/rauc/fussy-hook",
        "usr/share/fussy/swupdate/fussy-swupdate",
        "usr/share/fussy/hawkbit/fussy-hawkbit",
        "usr/share/fussy/systemd/fussy-recover.service",
    ):
        check(wanted in found, f"{wanted} is not installed")
    for path in found:
        check(not re.search(r"test|doctest|\.py$", os.path.basename(path)), f"{path} should not be installed")


@sentence("every command has a manual page and a completion beside it")
def _(t):
    found = installed(t)
    for path in [path for path in found if path.startswith("usr/bin/")]:
        name = os.path.basename(path)
        check(f"usr/share/man/man1/{name}.1" in found, f"{name} has no manual page")
        is_alias = os.path.islink(found[path])  # of another command: another spelling, not another thing to complete
        check(is_alias or f"usr/share/bash-completion/completions/{name}" in found, f"{name} has no completion")


@sentence("scripts for others are executable and what is only read is not")
def _(t):
    for path, real in installed(t).items():
        if os.path.islink(real):
            continue
        runs = path.startswith("usr/bin/") or path.startswith("usr/share/mender") or "-hook" in path
        runs = runs or path.endswith(("fussy-swupdate", "fussy-hawkbit")) or re.search(r"\.so\.[\d.]+$", path)
        equal(os.stat(real).st_mode & 0o777, 0o755 if runs else 0o644, path)


@sentence("each installed file belongs to exactly one Debian package")
def _(t):
    owners = {}
    for list_path in glob.glob(os.path.join(ROOT, "packaging", "debian", "*.install")):
        with open(list_path) as f:
            patterns = [line.strip() for line in f if line.strip()]
        for path in installed(t):
            for pattern in patterns:
                if fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(path, pattern + "/*"):
                    owners.setdefault(path, set()).add(os.path.basename(list_path))
    equal({path for path in installed(t) if path not in owners}, set(), "no package has")
    equal({path: sorted(names) for path, names in owners.items() if len(names) > 1}, {}, "two packages have")


@sentence("the scripts of data and packaging are POSIX shell without a complaint")
def _(t):
    scripts = [path for path in glob.glob(os.path.join(ROOT, "data", "*", "fussy*")) if not path.endswith((".service", ".bash"))]
    scripts += [os.path.join(ROOT, "packaging", name) for name in ("deb", "debian/tests/smoke")]
    check(len(scripts) >= 5, scripts)
    if not shutil.which("shellcheck"):
        raise Skipped("shellcheck is not installed")
    must("shellcheck", "-s", "sh", *scripts)


def complaints(*changes):
    """What lintian says, down to information."""
    told = must("lintian", "--allow-root", "--tag-display-limit", "0", "--display-info", "--fail-on", "none", *changes)
    # Random octets of code may look like a word; there is no place yet where new versions could be looked for.
    # The standards version is Debian 12's newest, which lintian calls old from Debian 13 on.
    known = ("spelling-error-in-binary mor more", "debian-watch-file-is-missing", "out-of-date-standards-version 4.6.2 ")
    return [line for line in told.splitlines() if line[:3] in ("E: ", "W: ", "I: ") and not any(k in line for k in known)]


def need_debian_tools():
    if not shutil.which("dh") or not shutil.which("lintian"):
        raise Skipped("debhelper and lintian are not installed")


@sentence("the Debian source package can be made, and lintian has nothing to say about it")
def _(t):
    need_debian_tools()
    must(os.path.join(ROOT, "packaging", "deb"), t.at("deb"), "source", env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck"))
    equal(len(glob.glob(t.at("deb/fussy_*.dsc"))), 1)
    equal(complaints(*glob.glob(t.at("deb/*.changes"))), [])


@sentence("lintian does speak up: about a source package without a copyright file")
def _(t):
    need_debian_tools()
    copy = t.at("copy")
    shutil.copytree(os.path.join(ROOT, "packaging"), t.at("copy/packaging"))
    for name in ("meson.build", "LICENSE"):
        shutil.copy(os.path.join(ROOT, name), copy)
    os.remove(t.at("copy/packaging/debian/copyright"))
    must(os.path.join(copy, "packaging", "deb"), t.at("deb"), "source", env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck"))
    said = complaints(*glob.glob(t.at("deb/*.changes")))
    check(any("no-debian-copyright" in line for line in said), said)


if LONG:

    def built_packages(t):
        """Builds them. @return the directory they are in"""
        need_debian_tools()
        must(os.path.join(ROOT, "packaging", "deb"), t.at("deb"), env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck parallel=2"))
        return t.at("deb")

    @sentence("the Debian source package builds libfussy1, libfussy-dev and fussy-tools, and lintian has nothing to say")
    def _(t):
        out = built_packages(t)
        names = {os.path.basename(path).split("_")[0] for path in glob.glob(out + "/*.deb")}
        equal({name for name in names if not name.endswith("-dbgsym")}, {"libfussy1", "libfussy-dev", "fussy-tools"})
        changes = glob.glob(out + "/*.changes")
        equal(complaints(*changes), [])

    @sentence("what the Debian packages hold does the main job, and a C program builds against them")
    def _(t):
        out = built_packages(t)
        for deb in glob.glob(out + "/*.deb"):
            if "-dbgsym_" not in deb:
                must("dpkg-deb", "--extract", deb, t.at("machine"))
        libraries = glob.glob(t.at("machine/usr/lib/*"))[0]
        must(
            "sh", os.path.join(ROOT, "packaging/debian/tests/smoke"),
            env=dict(
                os.environ,
                AUTOPKGTEST_TMP=t.at("tmp"),
                PATH=t.at("machine/usr/bin") + os.pathsep + os.environ["PATH"],
                PKG_CONFIG_PATH=libraries + "/pkgconfig",
                PKG_CONFIG_SYSROOT_DIR=t.at("machine"),
                LD_LIBRARY_PATH=libraries,
            ),
        )  # fmt: skip

    def need_repository():
        """meson dist makes the archive of a commit."""
        if not shutil.which("git"):
            raise Skipped("git is not installed")
        asked = subprocess.run(["git", "-C", ROOT, "rev-parse", "--show-prefix"], capture_output=True, text=True)
        if asked.stdout != "\n":  # below another repository it has a prefix
            raise Skipped(f"meson dist makes the archive of a clone, which this source is not: {asked.stderr.strip()}")

    @sentence("the release archive builds where there is no repository, and passes its unit tests and those of the commands")
    def _(t):
        need_repository()
        tree = t.at("tree")
        must("git", "clone", "--quiet", "--no-hardlinks", ROOT, tree)
        must("meson", "setup", "build", cwd=tree)
        must("meson", "dist", "-C", "build", "--no-tests", cwd=tree)
        (archive,) = glob.glob(tree + "/build/meson-dist/fussy-*.tar.xz")
        shutil.unpack_archive(archive, t.at("alone"))
        (alone,) = glob.glob(t.at("alone/fussy-*"))
        must("meson", "setup", "build", cwd=alone)
        must("ninja", "-C", "build", cwd=alone)
        must("meson", "test", "-C", "build", "--suite", "unit", "--suite", "cli", cwd=alone)


main()
