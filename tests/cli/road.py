"""The main job with real packages: what gpg makes is installed by our commands and from C, what is wrong is refused."""
import os
import shutil
import stat
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from packages import DEVICE_CV, DEVICE_RSA, ED, RSA, STRANGER, Keys, encrypted, make_package, sample, signed, tar_gz, target  # noqa: E402
from sentences import Workspace, check, equal, main, sentence, snapshot  # noqa: E402

AGENT = os.environ["FUSSY_C_INSTALL"]  # examples/agent-c/install


def install(t, package, keyring=None, **named):
    return t.run("fussy-install", "-k", keyring or Keys.get().device, "-t", target(t), package, **named)


def install_from_c(t, package, keyring=None):
    return t.run(AGENT, package, keyring or Keys.get().device, target(t), env={"PATH": t.at("no-programs")})


def must_install(t, package, keyring=None):
    done = install(t, package, keyring)
    equal(done.code, 0, repr(done))
    return done


def same_tree(left, right):
    """Names, modes, link texts and contents agree."""
    left_seen, right_seen = ({k: (v[0], v[3]) for k, v in snapshot(d).items()} for d in (left, right))
    equal(left_seen, right_seen, f"{left} and {right} differ")


def installed(t, root):
    equal(os.readlink(t.at("target", "current")), os.path.basename(root), "current")
    same_tree(root, t.at("target", os.path.basename(root)))
    check(not [n for n in os.listdir(t.at("target")) if n.startswith(".") and n != ".fussy"], "litter in the target")
    equal(os.listdir(t.temporary), [], "litter in the temporary directory")


def staging(t):
    where = t.at("target", ".fussy", "staging")
    return os.listdir(where) if os.path.isdir(where) else []


def visible(t):
    """The target as everybody but us sees it."""
    return {k: v for k, v in snapshot(t.at("target")).items() if not k.startswith(".fussy")}


def refused(t, package, code=20, how=install):
    before = visible(t)
    done = how(t, package)
    equal(done.code, code, f"{package}: {done}")
    check(done.err.strip(), "no reason on stderr")
    equal(visible(t), before, "the target changed")
    equal(staging(t), [], "litter in staging")
    equal(os.listdir(t.temporary), [], "litter in the temporary directory")


MAKERS = [
    ("signed by an RSA key", ["-u", RSA, "--sign"]),
    ("signed by an Ed25519 key", ["-u", ED, "--sign"]),
    ("signed by an RSA key, encrypted for an RSA key", ["-u", RSA, "-r", DEVICE_RSA, "-se"]),
    ("signed by an Ed25519 key, encrypted for a Curve25519 key", ["-u", ED, "-r", DEVICE_CV, "-se"]),
    ("armored, signed, encrypted for two", ["-a", "-u", ED, "-r", DEVICE_CV, "-r", DEVICE_RSA, "-se"]),
    ("signed without compression", ["-z", "0", "-u", ED, "--sign"]),
    ("signed with ZLIB", ["--compress-algo", "zlib", "-u", ED, "--sign"]),
    ("signed with BZip2", ["--compress-algo", "bzip2", "-u", RSA, "--sign"]),
    ("signed twice", ["-u", ED, "-u", RSA, "--sign"]),
]

for title, arguments in MAKERS:

    @sentence(f"a package {title} installs with fussy-install, with no program to help it")
    def _(t, arguments=arguments):
        root = sample(t)
        done = must_install(t, make_package(t, root, *arguments))
        equal(done.out.splitlines()[-1], os.path.join(target(t), "firmware-1"), "last line of stdout")
        installed(t, root)

    @sentence(f"a package {title} installs from a C99 program, with no program to help it")
    def _(t, arguments=arguments):
        root = sample(t)
        done = install_from_c(t, make_package(t, root, *arguments))
        equal(done.code, 0, repr(done))
        installed(t, root)


@sentence("no process is started to install a package without hooks")
def _(t):
    package = encrypted(t, sample(t))
    command = os.path.join(t.commands, "fussy-install")
    # The leak checker cannot run below strace.
    t.must("strace", "-f", "-qq", "-o", t.at("trace"), "-e", "trace=execve",
           command, "-k", Keys.get().device, "-t", target(t), package, env={"ASAN_OPTIONS": "detect_leaks=0"})
    with open(t.at("trace")) as f:
        started = [line for line in f if "execve(" in line]
    equal(len(started), 1, f"programs started: {started}")


@sentence("keys exported to .asc and .gpg files are a key ring, as a directory and as one file")
def _(t):
    keys = Keys.get()
    root = sample(t)
    package = signed(t, root)
    t.write("asc/vendor.asc", keys.gpg(keys.vendor, "--armor", "--export", ED))
    t.write("gpg/vendor.gpg", keys.gpg(keys.vendor, "--export", ED))
    for keyring in ("asc", "gpg", "asc/vendor.asc", "gpg/vendor.gpg"):
        shutil.rmtree(target(t))
        must_install(t, package, t.at(keyring))
        installed(t, root)


@sentence("an exported secret key decrypts")
def _(t):
    keys = Keys.get()
    root = sample(t)
    package = encrypted(t, root)
    t.write("ring/vendor.asc", keys.gpg(keys.vendor, "--armor", "--export", ED))
    t.write("ring/device.asc", keys.gpg(keys.device, "--passphrase", "", "--armor", "--export-secret-keys", DEVICE_CV))
    must_install(t, package, t.at("ring"))
    installed(t, root)


@sentence("the second version becomes current, the first stays")
def _(t):
    one, two = sample(t, "firmware-1", "one"), sample(t, "firmware-2", "two")
    must_install(t, signed(t, one))
    must_install(t, signed(t, two))
    installed(t, two)
    same_tree(one, t.at("target", "firmware-1"))


@sentence("the same package installed again gets the first free number and shares its files")
def _(t):
    root = sample(t)
    package = signed(t, root)
    for name in ("firmware-1", "firmware-1-1", "firmware-1-2"):
        done = must_install(t, package)
        equal(done.out.strip(), os.path.join(target(t), name))
        equal(os.readlink(t.at("target", "current")), name)
    same_tree(root, t.at("target", "firmware-1-2"))
    inodes = {os.stat(t.at("target", name, "share/noise")).st_ino for name in ("firmware-1", "firmware-1-2")}
    equal(len(inodes), 1, "not shared")


def with_a_version(t):
    must_install(t, signed(t, sample(t, "firmware-0", "zero")))


for title, arguments in (MAKERS[0], MAKERS[3]):

    @sentence(f"attack: each of 200 flipped bits in the content of a package {title} is refused, nothing changes")
    def _(t, arguments=arguments):
        with_a_version(t)
        with open(make_package(t, sample(t), "-z", "0", *arguments), "rb") as f:
            good = f.read()
        # Behind the packets that only hint (session key, one-pass signature, literal header), before the signature.
        first, last = 1200, len(good) - 700
        for i in range(200):
            bad = bytearray(good)
            bad[first + (last - first) * i // 199] ^= 1 << (i % 8)
            refused(t, t.write("bad.gpg", bytes(bad)))

    @sentence(f"attack: a package {title} cut anywhere is refused, nothing changes")
    def _(t, arguments=arguments):
        with_a_version(t)
        with open(make_package(t, sample(t), *arguments), "rb") as f:
            good = f.read()
        size = len(good)
        for cut in sorted({*range(0, 40), *range(40, size, size // 60), *range(size - 40, size)}):
            refused(t, t.write("bad.gpg", good[:cut]))


@sentence("attack: content that nobody signed is refused")
def _(t):
    with_a_version(t)
    refused(t, make_package(t, sample(t), "--store"))


for uid in (DEVICE_RSA, DEVICE_CV):

    @sentence(f"attack: content encrypted for {uid.split('@')[0]} but not signed is refused")
    def _(t, uid=uid):
        with_a_version(t)
        refused(t, make_package(t, sample(t), "-r", uid, "-e"))


@sentence("attack: a package signed by a stranger is refused, encrypted or not, by command and from C")
def _(t):
    with_a_version(t)
    root = sample(t)
    for extra in (["--sign"], ["-r", DEVICE_CV, "-se"]):
        package = make_package(t, root, "-u", STRANGER, *extra, home=Keys.get().stranger)
        refused(t, package)
        refused(t, package, how=install_from_c)


@sentence("attack: a plain archive, an empty file and noise are refused, by command and from C")
def _(t):
    with_a_version(t)
    for package in (tar_gz(t, sample(t)), t.write("empty.gpg"), t.write("noise.gpg", os.urandom(5000))):
        refused(t, package)
        refused(t, package, how=install_from_c)


@sentence("a missing package is exit 2, a missing key ring or target 40, a wrong option 2")
def _(t):
    package = signed(t, sample(t))
    equal(install(t, t.at("nowhere.gpg")).code, 2)
    equal(install(t, package, t.at("no-keys")).code, 40)
    equal(t.run("fussy-install", "-k", Keys.get().device, "-t", t.at("no-target"), package).code, 40)
    equal(t.run("fussy-install").code, 2)
    equal(t.run("fussy-install", "--no-such-option", package).code, 2)


def calls_hook(t, more=""):
    return f'#!/bin/sh\nprintf "%s %s %s\\n" "${{0##*/}}" "${{1##*/}}" "$2" >> "{t.at("calls")}"\n{more}'


@sentence("hooks get the version's path and False; a failing one brings the previous version back, with True")
def _(t):
    good = sample(t, "good")
    for name in (".pre-install", ".post-install"):
        t.write(f"good/{name}", calls_hook(t), 0o755)
    must_install(t, signed(t, good))
    bad = sample(t, "bad")
    t.write("bad/.pre-install", calls_hook(t), 0o755)
    t.write("bad/.post-install", calls_hook(t, "echo it does not start >&2\nexit 7\n"), 0o755)
    done = install(t, signed(t, bad))
    equal(done.code, 3, repr(done))
    check("it does not start" in done.err, repr(done))
    equal(os.readlink(t.at("target/current")), "good")
    with open(t.at("calls")) as f:
        equal(f.read().splitlines(), [
            ".pre-install good False", ".post-install good False",
            ".pre-install bad False", ".post-install bad False",
            ".pre-install good True", ".post-install good True",
        ])


@sentence("a first version whose .post-install fails, with nothing to go back to, is exit 4")
def _(t):
    root = sample(t)
    t.write("firmware-1/.post-install", "#!/bin/sh\nexit 1\n", 0o755)
    done = install(t, signed(t, root))
    equal(done.code, 4, repr(done))


@sentence("what fussy-pack makes is verified by gpg -d, unpacks with tar, and installs")
def _(t):
    keys = Keys.get()
    root = sample(t)
    for signer in (RSA, ED):
        for extra in ([], ["-e", DEVICE_RSA], ["-e", DEVICE_CV], ["-e", DEVICE_RSA, "-e", DEVICE_CV]):
            done = t.must("fussy-pack", "-r", root, "-k", signer, *extra, env={"GNUPGHOME": keys.vendor})
            package = done.out.splitlines()[-1]
            check(package.startswith(t.temporary + "/fussy-") and package.endswith("-pack/firmware-1.tar.gz.gpg"), package)
            read = subprocess.run(["gpg", "--homedir", keys.device, "--batch", "--status-fd", "2", "-d", package],
                                  capture_output=True)
            equal(read.returncode, 0, read.stderr.decode())
            check(b"GOODSIG" in read.stderr, read.stderr.decode())
            os.makedirs(t.at("out"))
            t.must("tar", "-C", t.at("out"), "-xzf", "-", stdin=read.stdout)
            same_tree(root, t.at("out", "firmware-1"))
            shutil.rmtree(target(t), ignore_errors=True)
            must_install(t, package)
            shutil.rmtree(t.at("out"))
            shutil.rmtree(os.path.dirname(package))


@sentence("fussy-pack leaves out what is excluded, and version control always")
def _(t):
    root = sample(t)
    for name in (".git/config", "lib/.svn/entries", ".bzr/x", "lib/mod.pyc", "lib/mod.py", "keep/.gitignore"):
        t.write(f"firmware-1/{name}", "x")
    package = t.must("fussy-pack", "-r", root, "-u", "-x", "*.pyc", "--exclude", "settings").out.strip()
    check(package.endswith("-pack/firmware-1.tar.gz"), package)
    with tarfile.open(package) as tar:
        names = set(tar.getnames())
    check({"firmware-1/lib/mod.py", "firmware-1/keep/.gitignore", "firmware-1/bin/app"} <= names, repr(names))
    unwanted = {"mod.pyc", "settings", ".git", ".svn", ".bzr"}
    check(not [n for n in names if unwanted & set(n.split("/"))], repr(names))


@sentence("fussy-pack refuses current, a file, a missing directory and a key it does not have, and leaves nothing")
def _(t):
    sample(t, "v1")
    os.symlink("v1", t.at("current"))
    t.write("file")
    for root in ("current", "current/", "file", "missing"):
        equal(t.run("fussy-pack", "-r", root, "-u").code, 2, root)
    equal(t.run("fussy-pack", "-r", t.at("v1"), "-k", "nobody@example.com", env={"GNUPGHOME": Keys.get().vendor}).code, 20)
    equal(os.listdir(t.temporary), [])


@sentence("fussy-pack -t names the file, not the version")
def _(t):
    package = t.must("fussy-pack", "-r", sample(t), "-u", "-t", "release-9").out.strip()
    check(package.endswith("-pack/release-9.tar.gz"), package)
    with tarfile.open(package) as tar:
        equal({n.split("/")[0] for n in tar.getnames()}, {"firmware-1"})


@sentence("fussy-sign signs what another machine packed unsigned, and removes it")
def _(t):
    root = sample(t)
    archive = t.must("fussy-pack", "-r", root, "-u").out.strip()
    done = t.must("fussy-sign", "-k", ED, archive, env={"GNUPGHOME": Keys.get().vendor})
    equal(done.out.strip(), archive + ".gpg")
    check(not os.path.exists(archive), "the unsigned archive is still there")
    must_install(t, archive + ".gpg")
    shutil.rmtree(os.path.dirname(archive))
    installed(t, root)


@sentence("fussy-unpack prints the directory it unpacked into, and leaves nothing of a refused package")
def _(t):
    root = sample(t)
    package = encrypted(t, root)
    where = t.must("fussy-unpack", "-k", Keys.get().device, "-v", package).out.splitlines()[-1]
    check(where.startswith(t.temporary + "/fussy-") and where.endswith("-unpacked/firmware-1"), where)
    same_tree(root, where)
    equal(stat.S_IMODE(os.stat(os.path.dirname(where)).st_mode), 0o700)
    shutil.rmtree(os.path.dirname(where))
    with open(package, "r+b") as f:
        f.truncate(os.path.getsize(package) - 10)
    equal(t.run("fussy-unpack", "-k", Keys.get().device, package).code, 20)
    equal(os.listdir(t.temporary), [])


@sentence("fussy-install-bytes unpacks without enabling; fussy-install -u enables")
def _(t):
    with_a_version(t)
    package = signed(t, sample(t))
    version = t.must("fussy-install-bytes", "-k", Keys.get().device, "-t", target(t), package).out.strip()
    equal(version, os.path.join(target(t), "firmware-1"))
    equal(os.readlink(t.at("target/current")), "firmware-0")
    equal(t.must("fussy-install", "-u", "-t", target(t), version).out.strip(), version)
    equal(os.readlink(t.at("target/current")), "firmware-1")


@sentence("a package from standard input installs as the file does")
def _(t):
    root = sample(t)
    with open(encrypted(t, root), "rb") as f:
        done = install(t, "-", stdin=f.read())
    equal(done.code, 0, repr(done))
    installed(t, root)


@sentence("fussy-clean keeps current and failsafe and what is hidden, and follows no link")
def _(t):
    for name in ("firmware-1", "firmware-2", "firmware-3"):
        must_install(t, signed(t, sample(t, name)))
    t.write("outside/precious", "x")
    os.mkdir(t.at("target/failsafe"))
    t.write("target/.hidden", "x")
    os.symlink(t.at("outside"), t.at("target/link"))
    t.must("fussy-clean", "-t", target(t))
    equal(sorted(os.listdir(target(t))), [".fussy", ".hidden", "current", "failsafe", "firmware-3"])
    check(os.path.exists(t.at("outside/precious")), "a link was followed")


@sentence("fussy-clean refuses without current, and where it leads nowhere")
def _(t):
    os.makedirs(t.at("target/firmware-1"))
    check(t.run("fussy-clean", "-t", target(t)).code != 0)
    os.symlink("gone", t.at("target/current"))
    check(t.run("fussy-clean", "-t", target(t)).code != 0)
    check(os.path.isdir(t.at("target/firmware-1")))


@sentence("the log file has level, name, time and message in each line, and what the hooks wrote")
def _(t):
    root = sample(t)
    t.write("firmware-1/.post-install", "#!/bin/sh\necho restarting the service\n", 0o755)
    package = signed(t, root)
    t.must("fussy-install", "-k", Keys.get().device, "-t", target(t), "-l", t.at("log"), package)
    with open(t.at("log")) as f:
        lines = f.read().splitlines()
    for line in lines:
        level, name, day, clock, _message = line.split(" ", 4)
        check(level in ("DEBUG", "INFO", "WARNING", "ERROR") and name == "fussy-install", line)
        check(len(day) == 10 and len(clock) == 12, line)
    check(any("restarting the service" in line for line in lines), repr(lines))


try:
    main()
finally:
    if Keys.made:
        Keys.made.space.close()
