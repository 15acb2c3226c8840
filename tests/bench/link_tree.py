#!/usr/bin/env python3
"""20,000 links in 100 directories: made, and found to be up to date, by fussy-link-tree and its peers.

    tests/bench/link_tree.py BUILD [OUT.json]

Peers run in turn, seven rounds; medians of wall and CPU seconds, and of the ratios to fussy within a round.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DIRECTORIES, FILES, ROUNDS = 100, 200, 7


def measure(command, cwd):
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return {"wall": time.monotonic() - start, "cpu": usage.ru_utime + usage.ru_stime}


def links_below(directory):
    return sum(os.path.islink(os.path.join(parent, f)) for parent, _, files in os.walk(directory) for f in files)


def peers(build, work):
    stow, target = os.path.join(work, "stow"), os.path.join(work, "target")
    package = os.path.join(stow, "package")
    found = {"fussy-link-tree": [os.path.join(build, "examples", "cli", "fussy-link-tree"), package, target]}
    if shutil.which("stow"):
        found["stow --no-folding"] = ["stow", "--no-folding", "-d", stow, "-t", target, "package"]
    found["cp -rs (makes each link anew)"] = ["cp", "-rsf", package + "/.", target]
    return found


def main():
    build = os.path.abspath(sys.argv[1])
    results = []
    with tempfile.TemporaryDirectory(prefix="fussy-bench-") as work:
        target = os.path.join(work, "target")
        for d in range(DIRECTORIES):
            os.makedirs(os.path.join(work, "stow", "package", f"{d:03}"))
            for f in range(FILES):
                open(os.path.join(work, "stow", "package", f"{d:03}", f"{f:03}"), "w").close()
        runs = {}
        for _ in range(ROUNDS):
            for name, command in peers(build, work).items():
                shutil.rmtree(target, ignore_errors=True)
                os.mkdir(target)
                runs.setdefault((name, "make"), []).append(measure(command, work))
                runs.setdefault((name, "up to date"), []).append(measure(command, work))
                if links_below(target) != DIRECTORIES * FILES:
                    raise RuntimeError(f"{name} did not make all links")
        for (name, what), times in runs.items():
            base = runs[("fussy-link-tree", what)]
            results.append({
                "peer": name, "run": what,
                **{k: round(statistics.median(t[k] for t in times), 4) for k in ("wall", "cpu")},
                **{k + "_ratio": round(statistics.median(t[k] / b[k] for t, b in zip(times, base)), 1) for k in ("wall", "cpu")},
            })
    for r in sorted(results, key=lambda r: r["run"]):
        print(f"{r['run']:10}  {r['peer']:30} {r['wall']:8.3f} s wall ({r['wall_ratio']:6.1f} x)  {r['cpu']:8.3f} s CPU ({r['cpu_ratio']:6.1f} x)")
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as out:
            json.dump(results, out, indent=1)


main()
