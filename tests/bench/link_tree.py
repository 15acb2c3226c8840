#!/usr/bin/env python3
"""20,000 links in 100 directories: made, and found to be up to date, by fussy-link-tree and its peers.

    tests/bench/link_tree.py BUILD [OUT.json] [--rounds N]

Peers run in turn, five rounds; medians of wall and CPU seconds, and of the ratios to fussy within a round. Each
measurement is told on standard error as it is made. `changed` is how many of the links are another inode after the run
than before. Each run has a target of its own, and nothing is deleted before the end: for some minutes ext4 goes round
inodes that were deleted, one by one, and whoever makes links then waits tens of seconds for that.
"""
import argparse
import json
import os
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
import time

DIRECTORIES, FILES = 100, 200


def measure(command, cwd):
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return {"wall": time.monotonic() - start, "cpu": usage.ru_utime + usage.ru_stime}


def links_below(directory):
    """Inode and time of change of each link."""
    found = {}
    for parent, _, files in os.walk(directory):
        for path in (os.path.join(parent, f) for f in files):
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[path] = (status.st_ino, status.st_ctime_ns)
    return found


def peers(build, work):
    """Name, command line, target, and whether it leaves alone what is up to date."""
    stow = os.path.join(work, "stow")
    package = os.path.join(stow, "package")

    def peer(name, command, may_repeat=True):
        target = tempfile.mkdtemp(prefix="target-", dir=work)
        return name, [word.replace("TARGET", target) for word in command], target, may_repeat

    yield peer("fussy-link-tree", [os.path.join(build, "examples", "cli", "fussy-link-tree"), package, "TARGET"])
    if shutil.which("stow"):
        yield peer("stow --no-folding", ["stow", "--no-folding", "-d", stow, "-t", "TARGET", "package"])
    yield peer("cp -rs", ["cp", "-rs", package + "/.", "TARGET"], may_repeat=False)


def make_distribution(work):
    for d in range(DIRECTORIES):
        os.makedirs(os.path.join(work, "stow", "package", f"{d:03}"))
        for f in range(FILES):
            open(os.path.join(work, "stow", "package", f"{d:03}", f"{f:03}"), "w").close()


def run_round(build, work, runs):
    for name, command, target, may_repeat in peers(build, work):
        before = {}
        for what in ("make", "up to date") if may_repeat else ("make",):
            taken = measure(command, work)
            after = links_below(target)
            if len(after) != DIRECTORIES * FILES:
                raise RuntimeError(f"{name} did not make all links")
            taken["changed"] = sum(before.get(path) != link for path, link in after.items())
            runs.setdefault((name, what), []).append(taken)
            print(f"{name}, {what}: {taken['wall']:.3f} s wall, {taken['cpu']:.3f} s CPU", file=sys.stderr)
            before = after


def summary(runs):
    for (name, what), times in sorted(runs.items(), key=lambda run: run[0][1]):
        base = runs[("fussy-link-tree", what)]
        yield {
            "peer": name, "run": what, "rounds": len(times), "changed": max(t["changed"] for t in times),
            **{k: round(statistics.median(t[k] for t in times), 4) for k in ("wall", "cpu")},
            **{k + "_ratio": round(statistics.median(t[k] / b[k] for t, b in zip(times, base)), 1) for k in ("wall", "cpu")},
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    runs = {}
    with tempfile.TemporaryDirectory(prefix="fussy-bench-") as work:
        make_distribution(work)
        for _ in range(options.rounds):
            run_round(os.path.abspath(options.build), work, runs)
    results = list(summary(runs))
    for r in results:
        print(f"{r['run']:10}  {r['peer']:30} {r['wall']:8.3f} s wall ({r['wall_ratio']:6.1f} x)"
              f"  {r['cpu']:8.3f} s CPU ({r['cpu_ratio']:6.1f} x)  {r['changed']:6} changed")
    if options.out:
        with open(options.out, "w", encoding="utf-8") as out:
            json.dump(results, out, indent=1)


main()
