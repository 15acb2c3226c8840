"""Peak resident memory of an install, by the kernel's count of the installer itself: read by a hook, its child."""
import gzip
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from device import BOX, LONG, VENDOR, Device, Keys, directory, file, tar  # noqa: E402
from sentences import Skipped, check, equal, main, sentence  # noqa: E402

LIMIT = 24 * 1024  # KiB
MIB = 1 << 20
HOOK = "#!/bin/sh\ngrep VmHWM /proc/$PPID/status > \"$FUSSY_TARGET/../memory\"\n"


def make(t, megabytes, *argv):
    """A package of about this size: nothing in it can be compressed."""
    block = os.urandom(MIB)
    info, _ = file("app/large")
    info.size = megabytes * MIB
    head = tar([directory("app/"), file("app/.post-install!", HOOK), (info, b"")])[:-1024]
    member = gzip.compress(block, 1, mtime=0)
    package = t.at("package")
    gpg = subprocess.Popen(["gpg", "--homedir", Keys.get().home, "--batch", "--quiet", "--trust-model", "always",
                            "--pinentry-mode", "loopback", "--passphrase", "", "-z", "0", "-u", VENDOR, *argv],
                           stdin=subprocess.PIPE, stdout=open(package, "wb"))
    for data, times in ((gzip.compress(head, 1, mtime=0), 1), (member, megabytes), (gzip.compress(bytes(1024), 1), 1)):
        for _ in range(times):
            gpg.stdin.write(data)
    gpg.stdin.close()
    equal(gpg.wait(), 0, "gpg")
    check(os.path.getsize(package) >= megabytes * MIB, "the package is smaller than it should be")
    return package


def peak(t, package, stream):
    argv = [os.path.join(t.commands, "fussy-install"), "-k", Keys.get().ring, "-t", t.target, "-" if stream else package]
    with open(package, "rb") as f:
        feeder = subprocess.Popen(["cat"], stdin=f, stdout=subprocess.PIPE) if stream else None
        done = subprocess.run(argv, stdin=feeder.stdout if stream else subprocess.DEVNULL, capture_output=True, text=True)
        if feeder:
            feeder.stdout.close()
            feeder.wait()
    equal(done.returncode, 0, done.stderr)
    with open(t.at("memory")) as f:
        return int(f.read().split()[1])


SIZES = (10, 2048) if LONG else (10, 150)

for TITLE, ARGUMENTS in (("signed", ["--sign"]), ("signed and encrypted", ["-r", BOX, "-se"])):
    for STREAM in (False, True):

        @sentence(f"peak memory is below 24 MiB for a 10 MB and a {SIZES[1]} MB package alike, {TITLE}, "
                  + ("from a stream" if STREAM else "from a file"))
        def _(t, arguments=ARGUMENTS, stream=STREAM):
            if os.statvfs(t.path).f_bavail * os.statvfs(t.path).f_frsize < 3 * SIZES[1] * MIB:
                raise Skipped("too little space")
            seen = {}
            for megabytes in SIZES:
                t.target = t.at(f"target-{megabytes}")
                os.mkdir(t.target)
                seen[megabytes] = peak(t, make(t, megabytes, *arguments), stream)
                check(seen[megabytes] < LIMIT, f"{megabytes} MB: {seen[megabytes]} KiB")
            print(f"peak: {', '.join(f'{kib} KiB for {mb} MB' for mb, kib in seen.items())}")
            check(abs(seen[SIZES[1]] - seen[10]) < 4096, f"it grows with the package: {seen}")


try:
    main(Device)
finally:
    Keys.close()
