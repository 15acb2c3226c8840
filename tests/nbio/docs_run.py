#!/usr/bin/env python3
"""The programs of a page compile without a warning, link nothing of ours, and end well.

usage: docs_run.py PAGE COMPILER [ARGUMENT...]
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs"))
from markdown import blocks  # noqa: E402


def problems_of(compiler, directory, number, code):
    here = os.path.join(directory, str(number))
    os.mkdir(here)
    source = os.path.join(here, "program.cpp")
    with open(source, "w", encoding="utf-8") as out:
        out.write(code)
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-pthread"]
    done = subprocess.run(compiler + flags + [source, "-o", "program"], cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        return "does not compile:\n" + done.stdout[:4000]
    done = subprocess.run(["./program"], cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return "" if done.returncode == 0 else f"ends with {done.returncode}:\n{done.stdout}"


def main():
    page, compiler = sys.argv[1], sys.argv[2:]
    with open(page, encoding="utf-8") as f:
        programs = [b for b in blocks(f.read()) if b.language == "cpp"]
    if not programs:
        sys.exit("no programs")
    failed = 0
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda p: problems_of(compiler, directory, p[0], p[1].code), enumerate(programs))
        for program, problem in zip(programs, results):
            print(f"{page}:{program.line}: {problem or 'ok'}")
            failed += bool(problem)
    sys.exit(1 if failed else 0)


main()
