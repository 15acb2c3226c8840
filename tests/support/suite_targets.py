"""Prints the build targets that the tests of one suite run or need.

usage: suite_targets.py BUILD_DIR SUITE
"""
import json
import os
import subprocess
import sys

build, suite = os.path.abspath(sys.argv[1]), sys.argv[2]
text = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, check=True, text=True).stdout
targets = set()
for test in json.loads(text):
    if suite in {s.split(":")[-1] for s in test["suite"]}:
        paths = map(os.path.normpath, test["cmd"])
        targets |= {os.path.relpath(part, build) for part in paths if part.startswith(build + os.sep)}
# Libraries and helpers that a test is given by its environment are named as its dependencies, by their identifiers.
print(" ".join(sorted(targets)))
