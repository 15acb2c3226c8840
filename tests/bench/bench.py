#!/usr/bin/env python3
"""Runs fussy and the peers found on this machine on the same payloads, in turn, and says how they compare.

    tests/bench/bench.py --build build-release             # everything: an hour or so
    tests/bench/bench.py --build build-release --quick     # a tenth of the payloads, two runs: some minutes
    tests/bench/bench.py --build build-release --build build-zlib --only 'first install' --payloads app --seconds 300 --out a
    tests/bench/bench.py --merge a/bench.json b/bench.json --out both

As root it uses a fresh ext4 on a loop device for every single run, else the working directory. Medians of wall seconds and,
what counts, medians of the ratios to the baseline of the same round: A B A B, so that what disturbs one disturbs both.
Writes bench.json, bench.md and bench.svg into the output directory.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import payload as payloads
import peers
import plot
import report


class Measured:
    """Runs shell commands and says what they took."""

    def __init__(self, build, work):
        self.program = os.path.join(build, "tests", "bench", "measured")
        self.report = os.path.join(work, "measured")

    def run(self, command, environment, disk):
        """Wall and CPU seconds, cores that others used meanwhile, peak memory of the largest process, peak on the disk."""
        before, peak = used(disk), [0]
        stop = threading.Event()

        def watch():
            while not stop.wait(0.02):
                peak[0] = max(peak[0], used(disk) - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        busy = busy_seconds()
        done = subprocess.run([self.program, self.report, "bash", "-c", "set -e -o pipefail\n" + command], check=False,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        busy = busy_seconds() - busy
        stop.set()
        watcher.join()
        final = used(disk) - before
        if done.returncode != 0:
            raise RuntimeError(f"{command}\nended with {done.returncode}:\n{done.stdout.decode(errors='replace')[-2000:]}")
        with open(self.report, encoding="utf-8") as file:
            wall, user, system, rss = (float(word) for word in file.read().split())
        return {"wall": wall, "cpu": user + system, "others": max(busy - user - system, 0) / wall, "rss_mib": rss / 1024,
                "disk_peak_mb": max(peak[0], final) / 1e6, "disk_mb": final / 1e6}


def busy_seconds():
    """Of all processors, since the start of the machine; waiting for disks is not busy."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, soft, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def used(path):
    fs = os.statvfs(path)
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize


class Disk:
    """A fresh file system for each run where that is possible; else a directory."""

    def __init__(self, work, size_mb):
        self.path = os.path.join(work, "disk")
        self.image = os.path.join(work, "disk.img")
        os.makedirs(self.path, exist_ok=True)
        self.loop = self.attach(size_mb) if os.geteuid() == 0 and shutil.which("mkfs.ext4") else None

    def attach(self, size_mb):
        """One loop device for all runs, formatted through itself: formatting the image behind it would leave its cache stale."""
        try:
            subprocess.run(["fallocate", "-l", f"{size_mb}M", self.image], check=True)
            return subprocess.run(["losetup", "--find", "--show", self.image], check=True, capture_output=True,
                                  text=True).stdout.strip()
        except subprocess.CalledProcessError:
            return None

    def fresh(self):
        self.unmount()
        if self.loop:
            self.format()
            subprocess.run(["mount", self.loop, self.path], check=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            os.makedirs(self.path)
        subprocess.run(["sync", "-f", self.path], check=True)

    def format(self):
        """Tried again for a minute: another process may hold a copy of the mount in a name space of its own."""
        for _ in range(60):
            made = subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.loop],
                                  capture_output=True, text=True)
            if made.returncode == 0:
                return
            time.sleep(1)
        raise RuntimeError(f"cannot format {self.loop}: {made.stderr}")

    def unmount(self):
        """Tried again for a while: who looks through all mounts keeps one busy for a moment."""
        for left in reversed(range(20)):
            if not self.loop or not os.path.ismount(self.path):
                return
            done = subprocess.run(["umount", self.path], capture_output=True, text=True)
            if done.returncode != 0 and left == 0:
                raise RuntimeError(f"cannot unmount {self.path}: {done.stderr}")
            time.sleep(0 if done.returncode == 0 else 0.5)

    def release(self):
        self.unmount()
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=True)
            os.unlink(self.image)  # the next run makes its own: a device that somebody still holds must not be under it

    def describe(self):
        return "a fresh ext4 on a preallocated loop image for each run" if self.loop else "a directory"


def make_ready(work):
    for contender in work.contenders:
        if contender.before:
            contender.before()


def without(work, skipped):
    """The baseline stays in any case."""
    work.contenders[1:] = [c for c in work.contenders[1:] if not any(word in c.name for word in skipped)]


def run_work(work, disk, measured, options, environment):
    """All contenders of one work in turn, round after round, until there are enough or the time is over."""
    make_ready(work)
    contenders = [{"name": c.name, "ours": c.ours, "goal": c.goal, "rival": c.rival,
                   "against_best": c.against_best} for c in work.contenders]
    rounds = []
    start = time.monotonic()
    while len(rounds) < options.runs:
        took = (time.monotonic() - start) / max(len(rounds), 1)
        if rounds and options.seconds and time.monotonic() + took > options.deadline:
            break
        rounds.append({})
        for contender in work.contenders:
            disk.fresh()
            if contender.prepare:
                subprocess.run(["bash", "-c", "set -e -o pipefail\n" + contender.prepare], env=environment, check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                subprocess.run(["sync", "-f", disk.path], check=True)
            figure = rounds[-1][contender.name] = measured.run(contender.command, environment, disk.path)
            print(f"  {len(rounds)}/{options.runs} {work.name}: {contender.name}: {figure['wall']:.2f} s, cpu"
                  f" {figure['cpu']:.2f} s, others {figure['others']:.1f}", file=sys.stderr, flush=True)
    return report.summarise({"name": work.name, "contenders": contenders}, rounds, work.memory_goal)


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"


def measure_all(options):
    bench = peers.Bench(options.build, options.work, options.scale)
    disk = Disk(options.work, int(5200 * options.scale) + 300)
    measured = Measured(bench.first, options.work)
    results = []

    def run(works):
        for work in works:
            if not work.contenders or not any(word in work.name for word in options.only or [""]):
                continue
            without(work, options.skip)
            if options.prepare:
                make_ready(work)
            else:
                results.append(run_work(work, disk, measured, options, bench.environment))

    try:
        bench.make_keys()
        for name in filter(None, options.payloads.split(",")):
            payloads.make(name, os.path.join(options.work, name), options.scale)
            bench.make_packages(name)
            run(bench.works(name, disk.path))
        run(bench.works_without_payload(disk.path))
    finally:
        disk.release()
        bench.close()
    return {"machine": machine(), "disk": disk.describe(), "scale": options.scale, "results": results, "absent": bench.absent}


def write(found, folder):
    os.makedirs(folder, exist_ok=True)
    for name, text in (("bench.json", json.dumps(found, indent=1)), ("bench.md", report.markdown(found)),
                       ("bench.svg", plot.bars(found))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            out.write(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="append", help="build directory with the fussy-* commands (a release build);"
                        " a second one, set up with -Disal=disabled, for figures with zlib")
    parser.add_argument("--work", default="/var/tmp/fussy-bench", help="payloads, packages and the disk image (15 GB)")
    parser.add_argument("--out", default=".", help="where the report goes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0, help="start no further round when these would be exceeded")
    parser.add_argument("--scale", type=float, default=1.0, help="of the payloads")
    parser.add_argument("--payloads", default=",".join(payloads.MAKERS))
    parser.add_argument("--only", action="append", help="only works with this in their names, e.g. 'first install, app'; may be repeated")
    parser.add_argument("--skip", action="append", default=[], help="leave out contenders with this in their names, e.g. RAUC; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the payloads, two runs")
    parser.add_argument("--prepare", action="store_true", help="make payloads and packages, measure nothing")
    parser.add_argument("--merge", nargs="+", metavar="JSON", help="put reports of several runs together, measure nothing")
    options = parser.parse_args()
    if options.quick:
        options.scale, options.runs, options.work = 0.1, 2, options.work + "-quick"
    options.build = options.build or ["build"]
    return options


def read(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def main():
    options = arguments()
    if options.merge:
        found = report.merge([read(name) for name in options.merge])
    else:
        os.makedirs(options.work, exist_ok=True)
        options.deadline = time.monotonic() + options.seconds
        found = measure_all(options)
    write(found, options.out)
    print(report.markdown(found))


if __name__ == "__main__":
    main()
