"""The commands on targets that are not as they should be: unusable, full, limited, contended. What a script sees: the exit
status, a path alone on standard output or nothing, and a directory that is as it was."""
import fcntl
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from device import LONG, Device, Keys, directory, entry, file, tar_gz  # noqa: E402
from sentences import Skipped, check, equal, main, sentence, snapshot  # noqa: E402
from upgrade import WRITES, Disk, available, writes_in  # noqa: E402


def simple(t, root="app-1", **files):
    return t.package(root, {"app": f"program of {root}", "lib/data": "never changes" * 500, **files}, name=root + ".gpg")


def quiet(done, code):
    equal(done.code, code, repr(done))
    equal(done.out, "", "stdout of a failure")
    check(done.err.strip(), "no reason on stderr")
    check("; " in done.err, f"the message does not say what to do: {done.err}")


class Mounted:
    """A small file system in memory as the target, or elsewhere."""

    def __init__(self, t, options, where=None):
        self.where = where or t.target
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", self.where], capture_output=True).returncode:
            raise Skipped("needs the right to mount")

    def remount(self, options):
        subprocess.run(["mount", "-o", "remount," + options, self.where], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.where], capture_output=True)


def every_command(t, package, version):
    """All that changes a target."""
    return {
        "fussy-install": lambda: t.install(package),
        "fussy-install -": lambda: t.install("-", stdin=open(package, "rb").read()),
        "fussy-install -u": lambda: t.run("fussy-install", "-t", t.target, "-u", version),
        "fussy-install-bytes": lambda: t.install(package, command="fussy-install-bytes"),
        "fussy-clean": lambda: t.run("fussy-clean", "-t", t.target),
        "fussy-recover": lambda: t.run("fussy-recover", "-t", t.target),
    }


# ---- What a script sees ------------------------------------------------------------------------------------------------


@sentence("stdout is the path of the version alone, or nothing; what is kept hidden is some KiB")
def _(t):
    hooks = {".pre-install!": "#!/bin/sh\necho noise\necho noise >&2\n", ".post-install!": "#!/bin/sh\necho noise\n"}
    package = simple(t, **hooks)
    for name in ("app-1", "app-1-1"):
        equal(t.must_install(package).out, os.path.join(t.target, name) + "\n")
    equal(t.must_install(package, command="fussy-install-bytes").out, os.path.join(t.target, "app-1-2") + "\n")
    equal(t.current(), "app-1-1")
    enabled = t.must("fussy-install", "-t", t.target, "-u", os.path.join(t.target, "app-1-2"))
    equal(enabled.out, os.path.join(t.target, "app-1-2") + "\n")
    equal(t.must("fussy-clean", "-t", t.target).out, "")
    equal(sorted(os.listdir(t.target)), [".fussy", "app-1-2", "current"])
    check(t.hidden_size() <= 16384, f"{t.hidden_size()} octets hidden")
    equal(t.litter(), [])


@sentence("a relative target and a target with a slash print an absolute path that is clean")
def _(t):
    package = simple(t)
    for target, name in (("target", "app-1"), ("target/", "app-1-1"), ("./target/../target//", "app-1-2")):
        done = t.must("fussy-install", "-k", Keys.get().ring, "-t", target, package, cwd=t.path)
        equal(done.out, os.path.join(t.path, "target", name) + "\n")


@sentence("after versions with thousands of directories have gone, what is kept hidden is small again")
def _(t):
    t.must_install(simple(t))
    t.must_install(t.sign(tar_gz([directory("wide/"), *(e for i in range(3000) for e in
                                                        (directory(f"wide/{i:04}/"), file(f"wide/{i:04}/f", "x")))])))
    t.must_install(simple(t, "app-2"))
    t.must("fussy-clean", "-t", t.target)
    equal(sorted(os.listdir(t.target)), [".fussy", "app-2", "current"])
    check(t.hidden_size() <= 16384, f"{t.hidden_size()} octets hidden")
    equal(t.litter(), [])


@sentence("what a package has survives: holes, hard links, long and UTF-8 names, owners, modes with setuid, times, attributes")
def _(t):
    root = t.at("v")
    t.write("v/Grüße, 世界", "x")
    t.write("v/" + "n" * 250, "y")
    t.write("v/" + "/".join(["d" * 200] * 12) + "/f", "deep")
    t.write("v/setuid", "s", 0o4755)
    os.link(t.at("v/setuid"), t.at("v/setuid-too"))
    with open(t.at("v/hole"), "wb") as f:
        f.truncate(50_000_000)
        f.seek(30_000_000)
        f.write(b"data")
    if os.geteuid() == 0:
        os.chown(t.at("v/" + "n" * 250), 1234, 567)
        t.must("setcap", "cap_net_raw+ep", t.at("v/setuid"))
        t.must("setfacl", "-m", "u:1234:r", t.at("v/Grüße, 世界"))
    os.setxattr(t.at("v/Grüße, 世界"), "user.colour", b"blue")
    os.utime(t.at("v/setuid"), ns=(1, 1_234_567_890_123_456_789))
    t.must("tar", "-C", t.path, "--format=posix", "--sparse", "--xattrs", "--xattrs-include=*", "--acls", "-czf", t.at("a.tgz"), "v")
    with open(t.at("a.tgz"), "rb") as f:
        package = t.sign(f.read())

    def look(top):
        seen = {}
        for path, folders, names in os.walk(top):
            for name in folders + names:
                p = os.path.join(path, name)
                st = os.lstat(p)
                seen[os.path.relpath(p, top)] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns,
                                                 None if name in folders else st.st_size,
                                                 {a: os.getxattr(p, a) for a in sorted(os.listxattr(p))})
        return seen

    for name, command in (("v", "file"), ("v-1", "stream"), ("v-2", "shared")):
        if command == "stream":
            with open(package, "rb") as f:
                done = t.install("-", stdin=f.read())
            equal(done.code, 0, repr(done))
        else:
            t.must_install(package)
        new = os.path.join(t.target, name)
        equal(look(new), look(root), command)
        check(os.stat(new + "/hole").st_blocks * 512 < 1_000_000, "the hole was filled")
        check(os.path.samefile(new + "/setuid", new + "/setuid-too"), "the hard link is lost")
    check(os.path.samefile(t.at("target/v/hole"), t.at("target/v-2/hole")), "not shared")


@sentence("gotcha: a hook script of the same size and time is not taken for the old one; a file edited on the device stays there")
def _(t):
    hook = "#!/bin/sh\necho %d >> \"$FUSSY_TARGET/../ran\"\n"
    t.must_install(simple(t, "app-1", **{".post-install!": hook % 1}))
    edited = t.at("target/app-1/lib/data")
    st = os.stat(edited)
    with open(edited, "r+b") as f:
        f.write(b"EDITED")
    os.utime(edited, ns=(st.st_atime_ns, st.st_mtime_ns))
    t.must_install(simple(t, "app-2", **{".post-install!": hook % 2}))
    with open(t.at("ran")) as f:
        equal(f.read(), "1\n2\n")
    with open(t.at("target/app-2/lib/data"), "rb") as f:
        equal(f.read(6), b"never ")
    with open(edited, "rb") as f:
        equal(f.read(6), b"EDITED")


@sentence("reflink: a file of which only mode and time have changed shares its blocks on xfs and btrfs, and has the new ones")
def _(t):
    found = list(filter(available, ("xfs", "btrfs")))
    if not found:
        raise Skipped("needs root, loop devices, and mkfs.xfs or mkfs.btrfs")
    noise = os.urandom(16 << 20)
    versions = []
    for name, mode, mtime in (("v-1", 0o644, 1_600_000_000), ("v-2", 0o750, 1_700_000_000)):
        large = entry(name + "/large", tarfile.REGTYPE, content=noise, mode=mode, mtime=mtime)
        versions.append(t.sign(tar_gz([directory(name), large]), name=name + ".gpg"))
    for name in found:
        disk = Disk(t, name)
        try:
            t.target = os.path.join(disk.where, "target")
            os.mkdir(t.target)
            before, _ = disk.measure(lambda: t.must_install(versions[0]))
            check(before >= len(noise), f"{name}: {before} octets for the first version")
            added, _ = disk.measure(lambda: t.must_install(versions[1]))
            check(added < len(noise) // 4, f"{name}: {added} octets for a file whose content is the same")
            old, new = (os.stat(os.path.join(t.target, v, "large")) for v in ("v-1", "v-2"))
            check(old.st_ino != new.st_ino, f"{name}: one inode cannot have two modes")
            equal([(stat.S_IMODE(s.st_mode), s.st_mtime) for s in (old, new)], [(0o644, 1_600_000_000), (0o750, 1_700_000_000)])
            with open(os.path.join(t.target, "v-2/large"), "rb") as f:
                check(f.read() == noise, f"{name}: content")
        finally:
            disk.close()


@sentence("a name that is taken by a file or a dangling link is not followed or replaced")
def _(t):
    os.symlink(t.at("outside/new"), t.at("target/app-1"))
    t.write("target/app-1-1", "mine")
    equal(t.must_install(simple(t)).out.strip(), t.at("target/app-1-2"))
    check(not os.path.lexists(t.at("outside/new")), "the link was followed")


@sentence("a stream is not copied: nothing but the content and some KiB of records is written, and none of it elsewhere")
def _(t):
    if not shutil.which("strace"):
        raise Skipped("needs strace")
    files = {f"d{i % 7}/{i}": os.urandom(20_000) for i in range(150)}
    with open(t.package("big", files, name="big.gpg"), "rb") as f:
        t.must("strace", "-f", "-qq", "-y", "-o", t.at("trace"), "-e", "trace=" + WRITES,
               os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, "-", stdin=f.read(),
               env={"ASAN_OPTIONS": "detect_leaks=0"})
    total, content = writes_in(t.at("trace"), os.path.join(t.target, ".fussy/staging"))
    equal(content, 3_000_000)
    check(total - content < 4096, f"{total - content} octets beside the content")


@sentence("a large file is on its way to the disk while the rest is unpacked, small ones are left to the one sync at the end")
def _(t):
    if not shutil.which("strace"):
        raise Skipped("needs strace")
    package = t.package("big", {"large": os.urandom(20 << 20), **{f"small-{i}": os.urandom(1 << 20) for i in range(12)}}, name="big.gpg")
    t.must("strace", "-f", "-qq", "-y", "-o", t.at("trace"), "-e", "trace=sync_file_range,syncfs",
           os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, package, env={"ASAN_OPTIONS": "detect_leaks=0"})
    with open(t.at("trace")) as f:
        before_sync, sync, _ = f.read().partition(" syncfs(")
    check(sync, "there was no syncfs")
    started = re.findall(r"sync_file_range\(\d+<.*/(\S+)>, (\d+), (\d+), SYNC_FILE_RANGE_WRITE\)", before_sync)
    equal([name for name, _, _ in started], ["large", "large"])
    end = 0
    for _, start, length in started:
        equal(int(start), end)
        end += int(length)
    check(end >= 16 << 20, f"only {end} octets of {20 << 20}")


@sentence("the unit that recovers at boot is one that systemd takes")
def _(t):
    if not shutil.which("systemd-analyze"):
        raise Skipped("needs systemd-analyze")
    unit = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/systemd/fussy-recover.service")
    with open(unit) as f:
        text = f.read()
    check("ExecStart=fussy-recover --target /opt/firmware\n" in text, text)
    text = text.replace("ExecStart=fussy-recover", f"ExecStart={os.path.abspath(t.commands)}/fussy-recover")
    text = "".join(line for line in text.splitlines(True) if not line.startswith("Documentation="))
    done = t.run("systemd-analyze", "verify", t.write("fussy-recover.service", text))
    equal((done.code, done.err), (0, ""))


# ---- Unusable ----------------------------------------------------------------------------------------------------------


@sentence("a target that is missing, or a file, is status 40 for every command, and nothing is made")
def _(t):
    package = simple(t)
    for target in ("missing", "outside/sentinel", "missing/deeper"):
        t.target = t.at(target)
        before = snapshot(t.path)
        for command, act in every_command(t, package, t.at(target, "app-1")).items():
            done = act()
            quiet(done, 40)
            check(t.at(target) in done.err, f"{command}: {done.err}")
        quiet(t.run("fussy-status", "-t", t.target), 40)
        equal(snapshot(t.path), before)


@sentence("a target on a read-only file system is status 40 for every command; status still says what runs")
def _(t):
    package = simple(t, "app-2")
    with Mounted(t, "size=8m") as disk:
        disk.remount("ro")
        quiet(t.install(package), 40)
        equal(os.listdir(t.target), [])
        disk.remount("rw")
        t.must_install(simple(t))
        disk.remount("ro")
        before = snapshot(t.target)
        for command, act in every_command(t, package, os.path.join(t.target, "app-1")).items():
            done = act()
            quiet(done, 40)
            check("writing" in done.err, f"{command}: {done.err}")
        equal(snapshot(t.target), before)
        status = json.loads(t.must("fussy-status", "--json", "-t", t.target).out)
        equal(status["current"], "app-1")


def as_nobody(t, command, *argv):
    """Runs a command as a user without any rights but those on the target and the keys."""
    if os.geteuid() != 0:
        raise Skipped("needs root, to become somebody else")
    for top in (Keys.get().ring, t.path):
        for path, _, files in os.walk(top):
            if not path.startswith(t.target + "/"):
                os.chmod(path, 0o755)
            for name in files if top != t.path else []:
                os.chmod(os.path.join(path, name), 0o644)
    os.chmod(Keys.get().space.path, 0o755)
    return t.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", os.path.join(t.commands, command), "-t", t.target, *argv)


@sentence("a target of somebody else is status 40")
def _(t):
    package = simple(t)
    t.must_install(package)
    before = snapshot(t.target)
    quiet(as_nobody(t, "fussy-install", "-k", Keys.get().ring, package), 40)
    quiet(as_nobody(t, "fussy-clean"), 40)
    equal(snapshot(t.target), before)


@sentence("an ordinary user installs, upgrades and cleans, also directories that he may not write to; setuid is dropped")
def _(t):
    if os.geteuid() != 0:
        raise Skipped("needs root, to become somebody else")
    os.chown(t.target, 65534, 65534)
    for name in ("v-1", "v-2", "v-3"):
        package = t.sign(tar_gz([directory(name, 0o555), directory(name + "/d", 0o500), file(name + "/d/f", "same", 0o400),
                                 file(name + "/setuid", "s", 0o6755)]), name=name + ".gpg")
        os.chmod(package, 0o644)
        done = as_nobody(t, "fussy-install", "-k", Keys.get().ring, package)
        equal((done.code, done.out), (0, t.at("target", name) + "\n"), repr(done))
        modes = {p: stat.S_IMODE(os.stat(t.at("target", name, p)).st_mode) for p in ("", "d", "d/f", "setuid")}
        equal(modes, {"": 0o555, "d": 0o500, "d/f": 0o400, "setuid": 0o755})
        equal(os.stat(t.at("target", name, "d/f")).st_uid, 65534)
    check(os.path.samefile(t.at("target/v-2/d/f"), t.at("target/v-3/d/f")), "not shared")
    os.chown(os.path.join(t.target, ".fussy"), 0, 0)
    done = as_nobody(t, "fussy-status")
    check(re.search(r"previous +not known", done.out) and re.search(r"in flight +not known", done.out), done)
    told = json.loads(as_nobody(t, "fussy-status", "--json").out)
    equal((told["private"], told["journal_damaged"], told["current"]), (False, None, "v-3"))
    os.chown(os.path.join(t.target, ".fussy"), 65534, 65534)
    equal(json.loads(as_nobody(t, "fussy-status", "--json").out)["private"], True)
    done = as_nobody(t, "fussy-clean")
    equal((done.code, done.err), (0, "removed v-1\nremoved v-2\n"))
    equal(sorted(os.listdir(t.target)), [".fussy", "current", "v-3"])


# ---- Full --------------------------------------------------------------------------------------------------------------


def fills(t, package, *more_words):
    """A package that the target has no room for: refused, and all is as before."""
    t.must_install(simple(t))
    before = snapshot(t.target)
    for command in ("fussy-install", "fussy-install-bytes", "stream"):
        with open(package, "rb") as f:
            done = t.install("-", stdin=f.read()) if command == "stream" else t.install(package, command=command)
        quiet(done, 2)
        for words in ("needed", "free", "inodes", "fussy-clean", *more_words):
            check(words in done.err, f"{command}: {done.err}")
        after = snapshot(t.target)
        equal(after.keys(), before.keys(), command)
        equal({k: v for k, v in after.items() if not k.startswith(".fussy")},
              {k: v for k, v in before.items() if not k.startswith(".fussy")}, command)
    t.must_install(simple(t, "app-2"))  # what is small enough still goes in


def full(t, options, package):
    with Mounted(t, options):
        fills(t, package)


@sentence("bytes run out: status 2, how much was needed and is free, no residue, the running version untouched")
def _(t):
    full(t, "size=2m", t.package("big", {"large": os.urandom(4 << 20)}, name="big.gpg"))


@sentence("inodes run out: the same")
def _(t):
    full(t, "size=64m,nr_inodes=60", t.package("many", {f"d{i % 5}/{i}": "x" for i in range(200)}, name="many.gpg"))


@sentence("the quota of a subvolume runs out (EDQUOT) where the file system has room: the same")
def _(t):
    if not available("btrfs"):
        raise Skipped("needs root, loop devices, and mkfs.btrfs")
    disk = Disk(t, "btrfs")
    try:
        t.target = os.path.join(disk.where, "target")
        for step in (["quota", "enable", disk.where], ["subvolume", "create", t.target], ["qgroup", "limit", "12M", t.target]):
            if subprocess.run(["btrfs", *step], capture_output=True).returncode:
                raise Skipped("this btrfs has no quotas")
        fills(t, t.package("big", {"large": os.urandom(24 << 20)}, name="big.gpg"), "Disk quota exceeded")
    finally:
        disk.close()


def needed_of_file(t, package):
    """@return (MiB, inodes) that a refusal says are needed, of a package that is a file and fills the target"""
    done = t.install(package)
    quiet(done, 2)
    said = re.search(r"needed: ([\d.]+) MiB and (\d+) inodes, free: [\d.]+ MiB and (\d+) inodes", done.err)
    check(said, done.err)
    return float(said.group(1)), int(said.group(2))


@sentence("space that does not look tight runs out all the same: how much was needed is said then")
def _(t):
    # 48 MB that compress a thousand times over: nothing tells before that they do not fit.
    swells = t.package("swells", {"large": b"x" * (48 << 20)}, name="swells.gpg")
    many = t.package("many", {f"{i:04}": "" for i in range(3000)}, name="many.gpg")
    for package, options, needs in ((swells, "size=20m", (48, 51, 3, 20)), (many, "size=64m,nr_inodes=1500", (0, 40, 3001, 3030))):
        with Mounted(t, options):
            t.must_install(simple(t))
            before = snapshot(t.target)
            mebibytes, inodes = needed_of_file(t, package)
            check(needs[0] <= mebibytes <= needs[1] and needs[2] <= inodes <= needs[3], f"{mebibytes} MiB, {inodes} inodes")
            equal(t.litter(), [])
            equal(snapshot(t.target).keys(), before.keys())


@sentence("what an install needs beside its content counts: too few inodes for the journal are known beforehand")
def _(t):
    package = t.package("few", {"a": "1"}, name="few.gpg")
    for inodes in range(4, 20):
        with Mounted(t, f"size=4m,nr_inodes={inodes}"):
            done = t.install(package)
            if done.code == 0:
                check(inodes > 6, f"{inodes} inodes were enough")
                return
            equal(done.code, 2)
            equal(t.litter(), [])
    check(False, "never enough")


@sentence("versions that share everything fit where two would not")
def _(t):
    noise = os.urandom(6 << 20)
    with Mounted(t, "size=10m"):
        t.must_install(t.package("a", {"large": noise, "small": "1"}, name="a.gpg"))
        t.must_install(t.package("b", {"large": noise, "small": "2"}, name="b.gpg"))
        check(os.path.samefile(t.at("target/a/large"), t.at("target/b/large")))


@sentence("a disk that is full to the last byte can be cleaned")
def _(t):
    with Mounted(t, "size=4m"):
        for name in ("app-1", "app-2", "app-3"):
            t.must_install(simple(t, name))
        filler = os.open(t.at("target/app-1/filler"), os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(filler, b"x" * 4096):
                pass
        except OSError:
            os.close(filler)
        t.must("fussy-clean", "-t", t.target)
        equal(sorted(os.listdir(t.target)), [".fussy", "app-3", "current"])


@sentence("cleaning leaves lost+found, and what is mounted inside of a version, alone; once unmounted, the rest goes as well")
def _(t):
    for name in ("app-1", "app-2"):
        t.must_install(simple(t, name))
    os.mkdir(t.at("target/lost+found"))
    os.mkdir(t.at("target/app-1/mnt"))
    where, target = t.at("target/app-1/mnt"), t.target
    t.target = where
    with Mounted(t, "size=1m"):
        t.target = target
        t.write("target/app-1/mnt/precious", "x")
        done = t.run("fussy-clean", "-t", target)
        quiet(done, 2)
        check("mnt" in done.err, done.err)
        with open("/proc/self/mountinfo") as f:
            mounted = [line.split()[4] for line in f if line.split()[4].startswith(t.path)]
        equal(len(mounted), 1, repr(mounted))
        equal(os.listdir(mounted[0]), ["precious"])
        equal(t.current(), "app-2")
        subprocess.run(["umount", mounted[0]], check=True)
    t.must("fussy-clean", "-t", target)
    equal(sorted(os.listdir(target)), [".fussy", "app-2", "current", "lost+found"])
    equal(t.litter(), [])


# ---- Limited -----------------------------------------------------------------------------------------------------------


def limited(t, option, values, package, words):
    t.must_install(simple(t))
    before = t.seen()
    ended = set()
    for value in values:
        for source in ("file", "stream"):
            with open(package, "rb") as f:
                done = t.run("prlimit", f"--{option}={value}", os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring,
                             "-t", t.target, "-" if source == "stream" else package, stdin=f.read(),
                             env={"PATH": os.environ["PATH"]})
            if "invalid vptr" in done.err:
                raise Skipped("Clang's sanitizer of undefined behaviour needs descriptors itself")
            if done.code == 0:
                t.must("fussy-install", "-t", t.target, "-u", t.at("target/app-1"))
                t.must("fussy-clean", "-t", t.target)
                before = t.seen()
                continue
            check(done.code in (2, 20, 40, 127), f"{option} {value}: {done}")
            equal(t.seen(), before, f"{option} {value}")
            equal(t.litter(), [], f"{option} {value}")
            if done.code == 2:
                ended.add(done.err)
    check(any(words in text for text in ended), repr(ended))


@sentence("RLIMIT_FSIZE: a file may not get so large: an error that says so and no signal, nothing left")
def _(t):
    package = t.package("big", {"a": "x", "large": os.urandom(300_000)}, name="big.gpg")
    limited(t, "fsize", (10_000, 100_000, 299_999), package, "ulimit -f")


@sentence("RLIMIT_NOFILE: descriptors run out wherever they do: nothing left")
def _(t):
    package = t.package("deep", {"/".join("abcdefgh"[:i]) + "/file": "x" for i in range(1, 8)}, name="deep.gpg")
    limited(t, "nofile", range(3, 32, 1 if LONG else 3), package, "ulimit -n")


# ---- Contended ---------------------------------------------------------------------------------------------------------


def race(t, installers, cleaners, seconds, wait):
    """Runs them against each other. @return how often each status was seen"""
    packages = [simple(t, f"app-{i}") for i in range(installers)]
    t.must_install(packages[0])
    end, statuses, running = time.monotonic() + seconds, {}, {}

    def start(i):
        if i < installers:
            argv = ["fussy-install", "-k", Keys.get().ring, packages[i]]
        else:
            argv = ["fussy-clean"]
        argv[0] = os.path.join(t.commands, argv[0])
        return subprocess.Popen([*argv, "-t", t.target, "--wait", str(wait)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                env={**os.environ, "TMPDIR": t.temporary})

    for i in range(installers + cleaners):
        running[i] = start(i)
    def runs():
        for _ in range(3):  # between what the link said and the open, a version may have been replaced and cleaned away
            try:
                with open(t.at("target/current/app")) as f:
                    return f.read()
            except FileNotFoundError:
                check(os.path.islink(t.at("target/current")), "there is no current")
        return "nothing"

    while running:
        for i, process in list(running.items()):
            check(runs().startswith("program of app-"), "current is not whole")
            if process.poll() is None:
                continue
            error = process.stderr.read().decode()
            process.stderr.close()
            check(process.returncode in (0, 2), f"{process.returncode}: {error}")
            check(process.returncode == 0 or "is busy" in error, error)
            statuses[process.returncode] = statuses.get(process.returncode, 0) + 1
            del running[i]
            if time.monotonic() < end:
                running[i] = start(i)
    for name in os.listdir(t.target):
        if name not in (".fussy", "current"):
            with open(t.at("target", name, "app")) as f:
                equal(f.read(), "program of " + "-".join(name.split("-")[:2]))
    equal(t.litter(), [])
    return statuses


@sentence("installers that race each other, each waiting for its turn: all succeed, all versions are whole")
def _(t):
    statuses = race(t, 3, 0, 60 if LONG else 3, wait=60)
    print(f"ended with: {statuses}")
    equal(set(statuses), {0})


@sentence("installers and cleaners that race each other, none waiting: busy or success, current is whole all the time")
def _(t):
    statuses = race(t, 2, 2, 60 if LONG else 3, wait=0)
    print(f"ended with: {statuses}")
    check(statuses.get(0, 0) > 2, repr(statuses))


def who_works_on(t, target):
    return json.loads(t.must("fussy-status", "--json", "-t", target).out)["busy_pid"]


@sentence("a target is not busy because the lock of another one, on another file system, has the same number of inode")
def _(t):
    other = t.at("other")
    os.mkdir(other)
    with Mounted(t, "size=8m"), Mounted(t, "size=8m", other):
        package = simple(t)
        t.must_install(package)
        t.must("fussy-install", "-k", Keys.get().ring, "-t", other, package)
        locks = [os.path.join(target, ".fussy/lock") for target in (t.target, other)]
        if os.stat(locks[0]).st_ino != os.stat(locks[1]).st_ino:
            raise Skipped("this kernel numbers the inodes of all tmpfs together")
        with open(locks[0]) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            equal(who_works_on(t, t.target), os.getpid())
            quiet(t.install(package, "--dry-run"), 2)
            equal(who_works_on(t, other), None)
            t.must("fussy-install", "-k", Keys.get().ring, "-t", other, "--dry-run", package)


@sentence("who works on a target is seen in a subvolume of btrfs, too, where stat(2) and the kernel's locks name different devices")
def _(t):
    if not available("btrfs"):
        raise Skipped("needs root, loop devices, and mkfs.btrfs")
    disk = Disk(t, "btrfs")
    try:
        for name in ("a", "b"):  # in each the first inode has the same number
            subprocess.run(["btrfs", "subvolume", "create", os.path.join(disk.where, name)], check=True, capture_output=True)
        t.target = os.path.join(disk.where, "a")
        t.must_install(simple(t))
        with open(os.path.join(t.target, ".fussy/lock")) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            equal(who_works_on(t, t.target), os.getpid())
    finally:
        disk.close()


@sentence("who works on a target is seen on overlayfs, and who locks the layer below works on something else")
def _(t):
    layers = t.at("layers")
    os.mkdir(layers)
    with Mounted(t, "size=16m", layers):
        for name in ("lower", "upper", "work"):
            os.mkdir(os.path.join(layers, name))
        options = "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work".format(layers)
        if subprocess.run(["mount", "-t", "overlay", "-o", options, "none", t.target], capture_output=True).returncode:
            raise Skipped("this kernel has no overlayfs")
        try:
            t.must_install(simple(t))
            lock = os.path.join(t.target, ".fussy/lock")
            with open(lock) as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                equal(who_works_on(t, t.target), os.getpid())
            below = os.path.join(layers, "upper/.fussy/lock")
            with open(below) as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                equal(os.stat(below).st_ino, os.stat(lock).st_ino, "then this shows nothing")
                equal(who_works_on(t, t.target), None)
        finally:
            subprocess.run(["umount", "-l", t.target], capture_output=True)


@sentence("fussy-install that is killed at a random moment leaves something that the next fussy-install heals")
def _(t):
    t.must_install(simple(t, "app-1"))
    package = simple(t, "app-2", **{"noise": os.urandom(3_000_000), ".post-install!": "#!/bin/sh\nsleep 0.02\n"})
    rng, killed = random.Random(5), 0
    for _ in range(200 if LONG else 12):
        process = subprocess.Popen([os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, package],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": t.temporary})
        time.sleep(rng.uniform(0.001, 0.12))
        process.kill()
        killed += process.wait() == -9
        with open(t.at("target/current/app")) as f:
            check(f.read() in ("program of app-1", "program of app-2"))
        t.must("fussy-recover", "-t", t.target)
        equal(t.litter(), [])
        t.must("fussy-clean", "-t", t.target)
        check(len(os.listdir(t.target)) == 3, repr(os.listdir(t.target)))
    print(f"{killed} killed before their end")
    t.must_install(package)


try:
    main(Device)
finally:
    Keys.close()
