#!/usr/bin/env python3
"""Runs fussy and the peers found on this machine on the same payloads, in turn, and says how they compare.

    tests/bench/bench.py --build build-release             # everything: an hour or so
    tests/bench/bench.py --build build-release --quick     # a tenth of the payloads, two runs: some minutes

As root it uses a fresh ext4 on a loop device for every single run, else the working directory. Medians of wall seconds and,
what counts, medians of the ratios to the baseline that ran just before: A B A B, so that what disturbs one disturbs both.
Writes bench.json, bench.md and bench.svg into the output directory.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import payload as payloads
import peers
import plot


def measure(command, environment, disk):
    """Runs a shell command. Wall and CPU seconds, peak memory of its largest process, peak of what it used on the disk."""
    before = used(disk)
    peak = [0]
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            peak[0] = max(peak[0], used(disk) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    process = subprocess.Popen(["bash", "-c", "set -e -o pipefail\n" + command], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    stop.set()
    watcher.join()
    final = used(disk) - before
    if process.returncode != 0:
        raise RuntimeError(f"{command}\nended with {process.returncode}:\n{output.decode(errors='replace')[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss_mib": usage.ru_maxrss / 1024,
            "disk_peak_mb": max(peak[0], final) / 1e6, "disk_mb": final / 1e6}


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
        if self.loop and os.path.ismount(self.path):
            subprocess.run(["umount", self.path], check=True)

    def release(self):
        self.unmount()
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=True)

    def describe(self):
        return "a fresh ext4 on a preallocated loop image for each run" if self.loop else "a directory"


def run_work(work, disk, runs, environment):
    """All contenders of one work in turn, `runs` times. @return their figures, ratios to the first (the baseline)."""
    figures = {c.name: [] for c in work.contenders}
    for number in range(runs):
        for contender in work.contenders:
            disk.fresh()
            if contender.prepare:
                subprocess.run(["bash", "-c", "set -e -o pipefail\n" + contender.prepare], env=environment, check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                subprocess.run(["sync", "-f", disk.path], check=True)
            figure = measure(contender.command, environment, disk.path)
            figures[contender.name].append(figure)
            print(f"  {number + 1}/{runs} {work.name}: {contender.name}: {figure['wall']:.2f} s, cpu {figure['cpu']:.2f} s",
                  file=sys.stderr)
    base = figures[work.contenders[0].name]
    rows = []
    for contender in work.contenders:
        mine = figures[contender.name]
        median = {key: statistics.median(f[key] for f in mine) for key in mine[0]}
        median["min_wall"] = min(f["wall"] for f in mine)
        rows.append({"name": contender.name, "ours": contender.ours, **{k: round(v, 4) for k, v in median.items()},
                     "ratio": round(statistics.median(m["wall"] / b["wall"] for m, b in zip(mine, base)), 3),
                     "cpu_ratio": round(statistics.median(m["cpu"] / b["cpu"] for m, b in zip(mine, base)), 3),
                     "runs": mine})
    return {"work": work.name, "payload": work.payload, "goal": work.goal, "rows": rows}


def markdown(report):
    lines = [f"Machine: {report['machine']}; {report['disk']}; {report['runs']} runs; inflate by {report['inflate']}.",
             "Ratios are medians of run-by-run ratios of wall seconds to the first line of each table.", ""]
    for result in report["results"]:
        lines += [f"**{result['work']}**" + (f" (goal: {result['goal']})" if result["goal"] else ""), "",
                  "| what | wall s, median (min) | ratio | CPU s | CPU ratio | peak memory MiB | disk peak (final) MB |",
                  "|---|---|---|---|---|---|---|"]
        for r in result["rows"]:
            lines.append(f"| {'**' + r['name'] + '**' if r['ours'] else r['name']} | {r['wall']:.2f} ({r['min_wall']:.2f}) "
                         f"| {r['ratio']:.2f} | {r['cpu']:.2f} | {r['cpu_ratio']:.2f} | {r['rss_mib']:.0f} "
                         f"| {r['disk_peak_mb']:.0f} ({r['disk_mb']:.0f}) |")
        lines.append("")
    if report["absent"]:
        lines += ["Not compared:", ""] + [f"* {name}: {why}" for name, why in sorted(report["absent"].items())]
    return "\n".join(lines) + "\n"


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"


def inflate_engine(build):
    """What the build chose at set-up, from its own record."""
    out = subprocess.run(["meson", "introspect", "--dependencies", build], capture_output=True, text=True)
    if out.returncode != 0:
        return "?"
    return "ISA-L" if "libisal" in [d["name"] for d in json.loads(out.stdout)] else "zlib"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build directory with the fussy-* commands (a release build)")
    parser.add_argument("--work", default="/var/tmp/fussy-bench", help="payloads, packages and the disk image (10 GB)")
    parser.add_argument("--out", default=".", help="where the report goes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the payloads")
    parser.add_argument("--payloads", default=",".join(payloads.MAKERS))
    parser.add_argument("--only", default="", help="only works with this in their name")
    parser.add_argument("--quick", action="store_true", help="a tenth of the payloads, two runs")
    args = parser.parse_args()
    if args.quick:
        args.scale, args.runs, args.work = 0.1, 2, args.work + "-quick"
    os.makedirs(args.work, exist_ok=True)
    os.makedirs(args.out, exist_ok=True)

    bench = peers.Bench(args.build, args.work)
    disk = Disk(args.work, int(5200 * args.scale) + 300)
    results = []
    try:
        bench.make_keys()
        for name in args.payloads.split(","):
            payloads.make(name, os.path.join(args.work, name), args.scale)
            bench.make_packages(name)
            for work in bench.works(name, disk.path):
                if args.only in work.name:
                    results.append(run_work(work, disk, args.runs, bench.environment))
    finally:
        disk.release()
        bench.close()
    report = {"machine": machine(), "disk": disk.describe(), "runs": args.runs, "scale": args.scale,
              "inflate": inflate_engine(args.build), "results": results, "absent": bench.absent}
    with open(os.path.join(args.out, "bench.json"), "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
    with open(os.path.join(args.out, "bench.md"), "w", encoding="utf-8") as out:
        out.write(markdown(report))
    with open(os.path.join(args.out, "bench.svg"), "w", encoding="utf-8") as out:
        out.write(plot.bars(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
