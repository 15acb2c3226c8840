"""Prints the build targets that the tests of one suite run or need.

usage: suite_targets.py BUILD_DIR SUITE
"""
import json
import os
import subprocess
import sys

build, suite = os.path.abspath(sys.argv[1]), sys.argv[2]


def introspect(what):
    return json.loads(subprocess.run(["meson", "introspect", what, build], capture_output=True, check=True, text=True).stdout)


made = {target["id"]: target["filename"] for target in introspect("--targets")}
paths = set()
for test in introspect("--tests"):
    if suite in {s.split(":")[-1] for s in test["suite"]}:
        paths |= set(map(os.path.normpath, test["cmd"]))
        # Libraries and helpers that a test is given by its environment are named as its dependencies.
        for needed in test.get("depends", []):
            paths |= set(made.get(needed, []))
targets = {os.path.relpath(path, build) for path in paths if path.startswith(build + os.sep)}
print(" ".join(sorted(targets)))
