#!/usr/bin/env python3
"""The last line of a run counts what was skipped, whoever skips it."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sentences import equal, main, sentence  # noqa: E402

DOCTEST = """===
../tests/a.cpp:1:
TEST CASE:  one that needs root

../tests/a.cpp:2: MESSAGE: SKIPPED: needs root

===
../tests/a.cpp:1:
TEST CASE:  one that needs root

../tests/a.cpp:2: MESSAGE: SKIPPED: needs root

===
../tests/a.cpp:9:
TEST CASE:  one on every file system

../tests/a.cpp:10: MESSAGE: SKIPPED in part: mkfs.xfs is not installed

../tests/a.cpp:11: MESSAGE: 24 cuts, none skipped

===
[doctest] test cases:  5 |  5 passed | 0 failed | 0 skipped
"""


def summary(t, *tests, failed_steps=0):
    log = t.write("testlog.json", "".join(json.dumps({"name": "unit / a", "result": result, "stdout": out}) + "\n" for result, out in tests))
    done = t.run(sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "summary.py"), str(failed_steps), log)
    return done.code, done.out.replace(log, "LOG").splitlines()


@sentence("a case that skips itself while it runs is counted as skipped, a part of one as well; both are named, once")
def _(t):
    equal(summary(t, ("OK", DOCTEST)), (0, ["skipped: 2 of unit / a in LOG", "    one on every file system: mkfs.xfs is not installed",
                                            "    one that needs root: needs root", "4 passed, 0 failed, 2 skipped"]))


@sentence("a sentence and a program that are skipped are named by their own words")
def _(t):
    out = "skipped: it formats: groff is not installed\ntest cases: 3 | 3 passed | 0 failed | 1 skipped\n"
    equal(summary(t, ("OK", out), ("SKIP", "skipped: no network\n"))[1],
          ["skipped: 1 of unit / a in LOG", "    it formats: groff is not installed", "skipped: 1 of unit / a in LOG", "    no network",
           "3 passed, 0 failed, 2 skipped"])


@sentence("what fails, ends badly, or never ran is a failure")
def _(t):
    equal(summary(t, ("FAIL", "test cases: 2 | 1 passed | 1 failed | 0 skipped"))[0], 1)
    equal(summary(t, ("TIMEOUT", DOCTEST))[0], 1)
    equal(summary(t, ("OK", ""), failed_steps=1)[0], 1)
    equal(summary(t)[0], 1)


main()
