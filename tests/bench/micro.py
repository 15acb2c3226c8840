#!/usr/bin/env python3
"""Small benchmarks of single pieces: seconds (best of five) and, with valgrind installed, instructions, which do not depend
on what else the machine does.

    tests/bench/micro.py BUILD [OUT.json]
"""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time


def run(command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)


def best_of(command, times=5, before=lambda: None):
    best = float("inf")
    for _ in range(times):
        before()
        start = time.monotonic()
        run(command)
        best = min(best, time.monotonic() - start)
    return best


def instructions(command, before=lambda: None):
    if not shutil.which("valgrind"):
        return None
    before()
    with tempfile.NamedTemporaryFile() as out:
        result = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", *command], check=False,
                                capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", result.stderr)
    # An instruction that valgrind does not know (AVX-512) ends it: no count then.
    return int(found.group(1)) if found and result.returncode == 0 else None


def make_inputs(work):
    """A tree of 400 files of 8 MB in all, packed in every way that the pieces need."""
    rng = random.Random(1)
    words = [bytes(rng.randrange(97, 123) for _ in range(rng.randrange(2, 9))) for _ in range(3000)]
    tree = os.path.join(work, "tree")
    for i in range(400):
        path = f"{tree}/{i % 20:02}/{i:03}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b" ".join(rng.choice(words) for _ in range(3500)))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    environment = dict(os.environ, GNUPGHOME=os.path.join(work, "gnupg"))
    os.makedirs(environment["GNUPGHOME"], mode=0o700)
    run(["bash", "-c", f"""set -e; cd {work}
        tar --sort=name -cf p.tar tree; gzip -nk p.tar; zstd -q p.tar
        gpg --batch -q --passphrase '' --quick-gen-key bench@example.org ed25519 sign never
        F=$(gpg --list-keys --with-colons | awk -F: '/^fpr/{{print $10; exit}}')
        gpg --batch -q --passphrase '' --quick-add-key $F cv25519 encr never
        gpg --batch -q -z0 -o signed.gpg --sign p.tar
        gpg --batch -q -z0 --trust-model always -r bench@example.org -o encrypted.gpg -se p.tar
        gpgconf --kill all"""], env=environment)


def main():
    build = os.path.abspath(sys.argv[1])
    pieces = os.path.join(build, "tests", "bench", "pieces")
    with tempfile.TemporaryDirectory(prefix="fussy-micro-") as work:
        make_inputs(work)
        p = lambda name: os.path.join(work, name)
        fresh = lambda: shutil.rmtree(p("new"), ignore_errors=True)
        run([pieces, "unpack", p("p.tar.gz"), p("old")])
        works = {
            "verify a signature (hash)": ([pieces, "verify", p("gnupg"), p("signed.gpg")], None),
            "verify and decrypt": ([pieces, "verify", p("gnupg"), p("encrypted.gpg")], None),
            "inflate": ([pieces, "inflate", p("p.tar.gz")], None),
            "zstd, decompress": ([pieces, "inflate", p("p.tar.zst")], None),
            "unpack": ([pieces, "unpack", p("p.tar.gz"), p("new")], fresh),
            "unpack, all shared (link)": ([pieces, "unpack", p("p.tar.gz"), p("new"), p("old/tree")], fresh),
            "gzip, compress": ([pieces, "compress", "gzip", p("p.tar")], None),
        }
        size = os.path.getsize(p("p.tar"))
        results = []
        for name, (command, before) in works.items():
            seconds = best_of(command, before=before or (lambda: None))
            results.append({"piece": name, "seconds": round(seconds, 5), "bytes": size,
                            "instructions": instructions(command, before or (lambda: None))})
            count = results[-1]["instructions"]
            print(f"{name:30} {seconds * 1000:8.1f} ms" + (f" {count / 1e6:10.1f} M instructions" if count else ""))
        if len(sys.argv) > 2:
            with open(sys.argv[2], "w", encoding="utf-8") as out:
                json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
