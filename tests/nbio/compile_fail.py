#!/usr/bin/env python3
"""Misuse must not compile. Every case is a pair: a program that has to be refused, with the words the compiler has to say,
and its corrected twin that has to compile, so that a case cannot pass for another reason.

usage: compile_fail.py CASES COMPILER [ARGUMENT...]

A case in CASES reads:
    case: NAME
    says: REGULAR EXPRESSION     (optional)
    bad:  one or more lines of C++ for the body of a function
    good: likewise
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

PROLOGUE = """#pragma once
#include <fussy/nbio.hpp>
#include <deque>
#include <string>
#include <string_view>
#include <vector>
using fussy::nbio::P;
namespace nbio = fussy::nbio;
"""


def cases(path):
    case, key = None, None
    for line in open(path, encoding="utf-8"):
        if line.startswith("#") or not line.strip():
            continue
        head = re.match(r"(case|says|bad|good): ?(.*)", line)
        if head and head[1] == "case":
            if case:
                yield case
            case = {"case": head[2], "says": "", "bad": "", "good": ""}
        elif head:
            key = head[1]
            case[key] = head[2]
        else:
            case[key] += "\n" + line.strip()
    if case:
        yield case


def run(compiler, arguments, program=""):
    done = subprocess.run(compiler + ["-std=c++20", "-Wno-all"] + arguments, input=program, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(os.environ, LC_ALL="C"))
    return done.returncode, done.stdout


def precompile(compiler, directory):
    """The header is parsed once, not for every case."""
    prologue = os.path.join(directory, "prologue.hpp")
    with open(prologue, "w", encoding="utf-8") as out:
        out.write(PROLOGUE)
    is_clang = "clang" in run(compiler, ["--version"])[1]
    status, said = run(compiler, ["-x", "c++-header", prologue, "-o", prologue + (".pch" if is_clang else ".gch")])
    if status != 0:
        sys.exit("the header itself does not compile:\n" + said)
    return compiler + ["-include", prologue]


def compile_body(compiler, body):
    return run(compiler, ["-fsyntax-only", "-x", "c++", "-"], "void test() {\n" + body + "\n}\n")


def check(compiler, case):
    problems = []
    status, said = compile_body(compiler, case["bad"])
    if status == 0:
        problems.append("compiles although it must not:\n" + case["bad"])
    elif case["says"] and not re.search(case["says"], said):
        problems.append("is refused, but not with /" + case["says"] + "/:\n" + said[:3000])
    status, said = compile_body(compiler, case["good"])
    if status != 0:
        problems.append("the corrected twin does not compile:\n" + said[:3000])
    return problems


def main():
    all_cases, compiler = list(cases(sys.argv[1])), sys.argv[2:]
    if not all_cases:
        sys.exit("no cases")
    failed = 0
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(2) as pool:
        compiler = precompile(compiler, directory)
        for case, problems in zip(all_cases, pool.map(lambda c: check(compiler, c), all_cases)):
            print(("FAILED  " if problems else "ok      ") + case["case"])
            for p in problems:
                print("        " + p.replace("\n", "\n        "))
            failed += bool(problems)
    print(f"{len(all_cases)} cases, {failed} failed")
    sys.exit(1 if failed else 0)


main()
