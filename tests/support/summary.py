"""Adds up what the test programs of several Meson runs counted, and prints one line.

usage: summary.py FAILED_STEPS TESTLOG.json...

A doctest program counts its test cases; any other test counts as one. Exit status 1 when anything failed, also when a
program ended badly after all its cases had passed, and when nothing ran at all.
"""
import json
import re
import sys

CASES = re.compile(r"test cases:\s+(\d+) \|\s+(\d+) passed \|\s+(\d+) failed")


def count(test):
    """(passed, failed, skipped) of one entry of Meson's log."""
    result = test["result"]
    if result == "SKIP":
        return 0, 0, 1
    passed = failed = 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", test.get("stdout") or "")
    for _, good, bad in CASES.findall(text):
        passed += int(good)
        failed += int(bad)
    good_end = result in ("OK", "EXPECTEDFAIL")
    if passed + failed == 0:
        return (1, 0, 0) if good_end else (0, 1, 0)
    if not good_end and failed == 0:
        failed = 1
    return passed, failed, 0


def main():
    failed = int(sys.argv[1])
    passed = skipped = 0
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as log:
            for line in log:
                test = json.loads(line)
                p, f, s = count(test)
                passed, failed, skipped = passed + p, failed + f, skipped + s
                if f:
                    print(f"FAILED: {test['name']} ({test['result']}) in {path}")
                if s:
                    print(f"skipped: {test['name']} in {path}")
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return 1 if failed or not passed else 0


sys.exit(main())
