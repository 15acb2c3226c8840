"""What the benchmark installs: trees of real files, the same on every run on one machine.

app         about 300 MB of programs, libraries, Python code and documentation
many-small  60,000 files of some KB each, in 6,400 directories
few-big     three files, together 1 GB

Each has a second version in which one file in ten changed (of few-big one of three).
"""
import os
import random
import shutil

SOURCES = ("/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.13", "/usr/bin", "/usr/lib/x86_64-linux-gnu",
           "/usr/lib/aarch64-linux-gnu", "/usr/share/doc", "/usr/include", "/usr/lib/gcc", "/usr/share")


def regular_files():
    """Paths of regular files of the system, in an order that does not depend on the file system."""
    seen = set()
    for top in SOURCES:
        for folder, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path) or path in seen:
                    continue
                seen.add(path)
                yield path, os.path.getsize(path)


def write(path, content, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Stock:
    """An endless supply of real content, in slices."""

    def __init__(self, wanted):
        self.data = bytearray()
        for path, size in regular_files():
            if size < 50_000_000:
                self.data += read(path)
            if len(self.data) >= wanted:
                break
        self.at = 0

    def take(self, size):
        if self.at + size > len(self.data):
            self.at = (self.at * 7 + 13) % 4096  # not the same slices again
        piece = bytes(self.data[self.at:self.at + size])
        self.at += len(piece)
        return piece


def make_app(top, scale):
    wanted, total = int(298_000_000 * scale), 0
    for path, size in regular_files():
        if size > 30_000_000:
            continue
        write(top + path.removeprefix("/usr"), read(path), 0o755 if os.access(path, os.X_OK) else 0o644)
        total += size
        if total >= wanted:
            return


def make_many_small(top, scale):
    stock, rng = Stock(int(300_000_000 * scale)), random.Random(1)
    for i in range(int(60_000 * scale)):
        size = min(int(rng.lognormvariate(7.7, 1.2)), 200_000)
        write(f"{top}/{i % 80:02}/{i // 80 % 80:02}/{i:05}.dat", stock.take(size))


def make_few_big(top, scale):
    stock = Stock(int(1_030_000_000 * scale))
    for i, size in enumerate((500_000_000, 330_000_000, 200_000_000)):
        path = f"{top}/part{i}.bin"
        left = int(size * scale)
        os.makedirs(top, exist_ok=True)
        with open(path, "wb") as file:
            while left > 0:
                left -= file.write(stock.take(min(left, 10_000_000)))
        os.utime(path, (1_700_000_000, 1_700_000_000))


MAKERS = {"app": make_app, "many-small": make_many_small, "few-big": make_few_big}


def change(top):
    """Every tenth file, or the first of few: one octet in its middle, the same size, a new time."""
    files = sorted(os.path.join(d, f) for d, _, names in os.walk(top) for f in names)
    for path in files[::10]:
        if (size := os.path.getsize(path)) == 0:
            continue
        with open(path, "r+b") as file:
            file.seek(size // 2)
            octet = file.read(1)
            file.seek(size // 2)
            file.write(bytes([octet[0] ^ 0xff]))
        os.utime(path, (1_800_000_000, 1_800_000_000))


def settle_directories(top):
    for folder, _, _ in os.walk(top, topdown=False):
        os.chmod(folder, 0o755)
        os.utime(folder, (1_700_000_000, 1_700_000_000))


def make(name, into, scale=1.0):
    """Makes INTO/v1/NAME and INTO/v2/NAME, unless they are there."""
    done = os.path.join(into, "complete")
    if os.path.exists(done):
        return
    shutil.rmtree(into, ignore_errors=True)
    first, second = os.path.join(into, "v1", name), os.path.join(into, "v2", name)
    MAKERS[name](first, scale)
    shutil.copytree(first, second, copy_function=shutil.copy2)
    change(second)
    for top in (first, second):
        settle_directories(top)
    open(done, "w").close()
