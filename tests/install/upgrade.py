"""What an upgrade costs a device, and what recovery from a crash in it does: 90 MB in 1500 files, of which 5 % have
changed, on real file systems.

Printed for each, as a table, in octets:
    changed   content of the files that differ
    written   by write(2) and its like, of everything the command does
    content   ... of that into files of the new version
    added     what the file system holds more afterwards
    sectors   what reached the disk, with the journal of the file system, from before the command until all is synced
    hidden    what .fussy takes

Then an install is killed at each of its syncs and renames, and fussy-recover is timed, process and all.

    upgrade.py [--directories N] [--peers]     FUSSY_COMMANDS names the directory of the commands; --peers adds a plain copy
                                               and OSTree, where it is installed
"""
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from device import Device, Keys, check  # noqa: E402
from payload import Stock, settle_directories, write  # noqa: E402

TOTAL, FILES, CHANGED = 90_000_000, 1500, 20  # octets, files, every twentieth of them
BLOCK = 4096  # of ext4; a directory takes one
MAY_ADD = 4_700_000  # octets that the upgrade may take of a disk, where the directories of the version leave room for that
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"], "400M"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "400M"),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], "600M"),
}
WRITES = "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile"


def make_versions(t, directories):
    """app-1 and app-2 below the workspace. @return octets of content that differ, and octets of blocks that app-2 cannot share"""
    rng, stock = random.Random(4), Stock(60_000_000)
    # Small and large files alike: of every twenty that are next to each other in size, the eleventh changes.
    weights = sorted(rng.lognormvariate(0, 1.3) for _ in range(FILES))
    sizes = [max(1, int(weight * TOTAL / sum(weights))) for weight in weights]
    order = list(range(FILES))
    rng.shuffle(order)
    changed = blocks = 0
    for i in order:
        content = stock.take(sizes[i])
        # One root, and below it as many directories as asked for, three deep.
        d = i % max(directories, 1)
        path = (f"{d // 20:02}/{d // 5:02}/{d:02}/" if directories else "") + f"{i:04}"
        write(t.at("app-1", path), content)
        is_changed = i % CHANGED == CHANGED // 2
        if is_changed:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1:]
            changed += len(content)
            blocks += -len(content) % BLOCK + len(content)
        write(t.at("app-2", path), content)
        if is_changed:
            os.utime(t.at("app-2", path), (1_800_000_000, 1_800_000_000))
    for name in ("app-1", "app-2"):
        settle_directories(t.at(name))
    return changed, blocks + BLOCK * sum(1 for _ in os.walk(t.at("app-2")))


class Disk:
    """A fresh file system on a loop device."""

    def __init__(self, t, name):
        make, size = FILE_SYSTEMS[name]
        self.image, self.where = t.at(f"image-{name}"), t.at(f"mnt-{name}")
        subprocess.run(["truncate", "-s", size, self.image], check=True)
        subprocess.run([*make, self.image], check=True, capture_output=True)
        self.loop = subprocess.run(["losetup", "-f", "--show", self.image], check=True, capture_output=True, text=True).stdout.strip()
        os.makedirs(self.where, exist_ok=True)
        subprocess.run(["mount", "-o", "noatime", self.loop, self.where], check=True)

    def settle(self):
        subprocess.run(["sync", "-f", self.where], check=True)
        time.sleep(0.3)
        subprocess.run(["sync", "-f", self.where], check=True)

    def used(self):
        fs = os.statvfs(self.where)
        return (fs.f_blocks - fs.f_bfree) * fs.f_frsize

    def sectors(self):
        with open(f"/sys/class/block/{os.path.basename(self.loop)}/stat") as f:
            return int(f.read().split()[6]) * 512

    def measure(self, action):
        self.settle()
        used, sectors = self.used(), self.sectors()
        action()
        self.settle()
        return self.used() - used, self.sectors() - sectors

    def close(self):
        for command in (["umount", self.where], ["losetup", "-d", self.loop]):
            subprocess.run(command, capture_output=True)
        os.unlink(self.image)


def writes_in(trace, staging):
    """Octets that the traced process wrote: all, and those into files below staging."""
    total = content = 0
    with open(trace, errors="replace") as f:
        for line in f:
            found = re.search(r"^(?:\d+ +)?\w+\((?:\d+)<([^>]*)>.* = (\d+)$", line.rstrip())
            if found and not found.group(1).startswith(("pipe:", "socket:", "/dev/")):
                total += int(found.group(2))
                content += int(found.group(2)) if found.group(1).startswith(staging) else 0
    return total, content


def upgrade(t, name, packages):
    """@return a row of the table for fussy on this file system"""
    disk = Disk(t, name)
    try:
        t.target = os.path.join(disk.where, "target")
        os.mkdir(t.target)
        t.must_install(packages[0])
        trace = t.at("trace")

        def act():
            t.must("strace", "-f", "-qq", "-y", "-o", trace, "-e", "trace=" + WRITES,
                   os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, packages[1],
                   env={"ASAN_OPTIONS": "detect_leaks=0"})

        added, sectors = disk.measure(act)
        check(t.current() == "app-2", t.current())
        check(t.litter() == [], t.litter())
        total, content = writes_in(trace, os.path.join(t.target, ".fussy/staging"))
        return {"what": f"fussy on {name}", "written": total, "content": content, "added": added, "sectors": sectors,
                "hidden": t.hidden_size()}
    finally:
        disk.close()


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def recoveries(t, name, packages):
    """@return (place where it was killed, ms that fussy-recover took, ms of processor time), for each sync and rename of a first install beside
    a version that shares nothing with it"""
    disk = Disk(t, name)
    try:
        t.target = os.path.join(disk.where, "target")
        os.mkdir(t.target)
        t.must_install(t.package("other", {"app": "x"}, name="other.gpg"))
        seen = []
        for call in ("syncfs", "renameat2", "fsync"):
            for n in range(1, 30):
                killed = t.run("strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}",
                               os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, packages[0],
                               env={"ASAN_OPTIONS": "detect_leaks=0"})
                if killed.code == 0:
                    break
                begin, busy = time.monotonic(), cpu_of_children()
                t.must("fussy-recover", "-t", t.target)
                seen.append((f"{call} {n}", 1000 * (time.monotonic() - begin), 1000 * (cpu_of_children() - busy)))
                check(t.litter() == [], t.litter())
                t.must("fussy-install", "-t", t.target, "-u", os.path.join(t.target, "other"))
                t.must("fussy-clean", "-t", t.target)
                disk.settle()
        return seen
    finally:
        disk.close()


def tar_upgrade(t, name):
    disk = Disk(t, name)
    try:
        subprocess.run(["cp", "-a", t.at("app-1"), disk.where], check=True)
        added, sectors = disk.measure(lambda: subprocess.run(["cp", "-a", t.at("app-2"), disk.where], check=True))
        return {"what": f"plain copy on {name}", "added": added, "sectors": sectors}
    finally:
        disk.close()


def ostree(repository, *arguments):
    subprocess.run(["ostree", f"--repo={repository}", *arguments], check=True, capture_output=True)


def ostree_upgrade(t, name):
    """Two rows: the objects of the second commit alone, and with the tree of links that a program would run from."""
    source = t.at("ostree-source")
    if not os.path.isdir(source):
        ostree(source, "init", "--mode=bare")
        for v in ("1", "2"):
            ostree(source, "commit", f"--branch=v{v}", f"--tree=dir={t.at('app-' + v)}", "--timestamp=@1700000000")
    disk = Disk(t, name)
    try:
        repo = os.path.join(disk.where, "repo")
        ostree(repo, "init", "--mode=bare")
        ostree(repo, "pull-local", source, "v1")
        ostree(repo, "checkout", "-H", "v1", os.path.join(disk.where, "v1"))
        objects = disk.measure(lambda: ostree(repo, "pull-local", source, "v2"))
        tree = disk.measure(lambda: ostree(repo, "checkout", "-H", "v2", os.path.join(disk.where, "v2")))
        return [{"what": f"OSTree on {name}, objects only", "added": objects[0], "sectors": objects[1]},
                {"what": f"OSTree on {name}, with its checkout", "added": objects[0] + tree[0],
                 "sectors": objects[1] + tree[1]}]
    finally:
        disk.close()


def available(name):
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control") and shutil.which(FILE_SYSTEMS[name][0][0])


def packages_of(t):
    """Signed archives of the two versions."""
    made = []
    for name in ("app-1", "app-2"):
        archive = subprocess.run(["tar", "-C", t.path, "--sort=name", "-cf", "-", name], check=True, capture_output=True).stdout
        packed = subprocess.run(["gzip", "-1"], input=archive, check=True, capture_output=True).stdout
        made.append(t.sign(packed, name=name + ".gpg"))
    return made


def measure(t, packages, peers):
    rows = []
    for name in filter(available, FILE_SYSTEMS):
        rows.append(upgrade(t, name, packages))
        if peers:
            rows.append(tar_upgrade(t, name))
            if shutil.which("ostree"):
                rows += ostree_upgrade(t, name)
    return rows


def show(changed, directories, rows):
    print(f"{TOTAL / 1e6:.0f} MB in {FILES} files, {directories} directories that hold files; changed: {changed:,}")
    columns = ("written", "content", "added", "sectors", "hidden")
    print(" " * 40 + "".join(f"{c:>12}" for c in columns))
    for row in rows:
        print(f"{row['what']:40}" + "".join(f"{row[c]:>12,}" if c in row else " " * 12 for c in columns))


def promised(changed, unshared, rows):
    """What must hold whatever the machine is busy with."""
    for row in rows:
        if row["what"] in ("fussy on ext4", "fussy on xfs"):
            # The journal of fussy, and what the file system notes about it, is all there is beside.
            check(row["added"] <= unshared + 32768, f"{row['what']}: {row['added']} octets added, {unshared} cannot be shared")
            if unshared <= MAY_ADD - 32768:
                check(row["added"] <= MAY_ADD, f"{row['what']}: {row['added']} octets added")
        if row["what"].startswith("fussy"):
            # Less where the file system shares the blocks of the part that is the same.
            check(row["content"] <= changed, f"{row['what']}: {row['content']} octets of content, {changed} have changed")
            check(row["written"] <= changed * 1.1, f"{row['what']}: {row['written']} octets written, {changed} have changed")
            check(row["hidden"] <= 16384, f"{row['what']}: {row['hidden']} octets hidden")


def run(t, directories, peers):
    changed, unshared = make_versions(t, directories)
    packages = packages_of(t)
    rows = measure(t, packages, peers)
    show(changed, directories, rows)
    print(f"cannot be shared, in blocks of 4 KiB, with a block for each directory: {unshared:,}")
    promised(changed, unshared, rows)
    for name in filter(available, FILE_SYSTEMS if peers else ["ext4"]):
        times = recoveries(t, name, packages)
        middle = lambda column: sorted(row[column] for row in times)[len(times) // 2]  # noqa: E731
        print(f"recovery on {name}: {len(times)} kills, median {middle(1):.0f} ms, of the processor {middle(2):.0f} ms, longest "
              + ", ".join(f"{ms:.0f} ms ({where})" for where, ms, _ in sorted(times, key=lambda row: -row[1])[:3]))


def main():
    if not any(map(available, FILE_SYSTEMS)):
        print("skipped: needs root, loop devices and a program that makes file systems")
        sys.exit(77)
    count = int(sys.argv[sys.argv.index("--directories") + 1]) if "--directories" in sys.argv else 12
    device = Device()
    try:
        run(device, count, "--peers" in sys.argv)
    finally:
        device.close()
        Keys.close()


if __name__ == "__main__":
    main()
