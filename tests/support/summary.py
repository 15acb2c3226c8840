"""Adds up what the test programs of several Meson runs counted, and prints one line.

usage: summary.py FAILED_STEPS TESTLOG.json...

A program counts its test cases, those it skips too; any other test counts as one. A case that says SKIPPED while it runs
(tests/support/skip.hpp), which its program counts as passed, is counted as skipped here, a part of one as well. What was
skipped is named where its program says its name. Exit status 1 when anything failed, also when a program ended badly after
all its cases had passed, and when nothing ran at all.
"""
import json
import re
import sys

CASES = re.compile(r"test cases:\s+\d+ \|\s+(\d+) passed \|\s+(\d+) failed \|\s+(\d+) skipped")
SKIPPED = re.compile(r"^skipped: (.*)", re.MULTILINE)
SAID = re.compile(r"^TEST CASE: +(?P<case>.*)|^\S+: MESSAGE: SKIPPED(?P<part> in part)?: (?P<why>.*)", re.MULTILINE)


def output(test):
    return re.sub(r"\x1b\[[0-9;]*m", "", test.get("stdout") or "")


def said_while_running(text):
    """{(case, why, whether it is a part)} of what doctest programs skipped; once, however many subcases said so."""
    found, case = set(), ""
    for line in SAID.finditer(text):
        if line["why"] is None:
            case = line["case"]
        else:
            found.add((case, line["why"], bool(line["part"])))
    return found


def count(test):
    """(passed, failed, skipped) of one entry of Meson's log."""
    result = test["result"]
    if result == "SKIP":
        return 0, 0, 1
    passed = failed = skipped = 0
    for good, bad, left_out in CASES.findall(output(test)):
        passed += int(good)
        failed += int(bad)
        skipped += int(left_out)
    good_end = result in ("OK", "EXPECTEDFAIL")
    said = said_while_running(output(test))
    passed -= len({case for case, _, part in said if not part})
    skipped += len(said)
    if passed + failed + skipped == 0:
        return (1, 0, skipped) if good_end else (0, 1, skipped)
    if not good_end and failed == 0:
        failed = 1
    return passed, failed, skipped


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
                    print(f"skipped: {s} of {test['name']} in {path}")
                    said = [f"{case}: {why}" for case, why, _ in sorted(said_while_running(output(test)))]
                    for name in SKIPPED.findall(output(test)) + said:
                        print(f"    {name}")
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return 1 if failed or not passed else 0


sys.exit(main())
