"""A package that is wrong from its start is refused there: nobody has to send or read the rest."""
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Workspace, check, equal, main, sentence  # noqa: E402

HUGE = 1 << 40  # octets: reading them would take minutes
READ_AT_MOST = 4 << 20


class Device(Workspace):
    """A target, a key ring with the vendor's key, and a stranger who signs as well as the vendor does."""

    def __init__(self):
        super().__init__()
        self.target, self.vendor, self.stranger = self.at("target"), self.at("vendor"), self.at("stranger")
        os.mkdir(self.target)
        for home in (self.vendor, self.stranger):
            os.mkdir(home, 0o700)
            self.gpg(home, "--passphrase", "", "--quick-generate-key", "v@example.com", "ed25519", "sign")
        self.gpg(self.stranger, "--passphrase", "", "--quick-generate-key", "second@example.com", "ed25519", "sign")

    @staticmethod
    def gpg(home, *argv, stdin=b""):
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        done = subprocess.run([*gpg, *argv], input=stdin, capture_output=True)
        check(done.returncode == 0, done.stderr.decode())
        return done.stdout

    def starts(self):
        """Name, octets that a package begins with, and a word of the reason."""
        head = lambda *signers: self.gpg(self.stranger, *signers, "-z0", "--sign", stdin=os.urandom(300_000))[:200_000]
        return (
            ("zeros", bytes(100_000), "armor"),
            ("a gzip file", b"\x1f\x8b\x08", "gzip"),
            ("armor with wrong letters", b"-----BEGIN PGP MESSAGE-----\n\n!!!!\n", "armor"),
            ("a key", b"\x99\x01\x0d\x04", "key"),
            ("content without a signature", b"\xcb\xff\xff\xff\xff\xffb\0\0\0\0\0", "not signed"),
            ("a packet that may not be here", b"\xc6\xff\xff\xff\xff\xff", "key"),
            ("a stranger's signature", head("-u", "v@example.com"), "unknown key"),
            ("two strangers' signatures", head("-u", "v@example.com", "-u", "second@example.com"), "unknown key"),
        )

    def command(self):
        return [os.path.join(self.commands, "fussy-install"), "-k", self.vendor, "-t", self.target]


@sentence("a file of a terabyte that is wrong from its start is refused in no time")
def _(t):
    for name, start, reason in t.starts():
        path = t.at("huge.gpg")
        with open(path, "wb") as file:
            file.write(start)
            file.truncate(HUGE)
        done = subprocess.run([*t.command(), path], capture_output=True, timeout=60)
        equal(done.returncode, 20, name)
        check(reason in done.stderr.decode(), f"{name}: {done.stderr.decode()}")
        equal(os.listdir(t.target), [], name)


@sentence("a stream that is wrong from its start is refused while most of it is still to be sent")
def _(t):
    for name, start, reason in t.starts():
        process = subprocess.Popen([*t.command(), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        sent = send(process.stdin, start, limit=8 * READ_AT_MOST)
        error = process.stderr.read().decode()
        equal(process.wait(), 20, name)
        check(reason in error, f"{name}: {error}")
        check(sent <= READ_AT_MOST, f"{name}: {sent} octets were taken")


def send(pipe, start, limit):
    """Sends `start` and then noise until nobody takes any more. @return octets that were taken."""
    block = os.urandom(1 << 16)
    sent = 0
    watchdog = threading.Timer(60, pipe.close)
    watchdog.start()
    try:
        while sent < limit:
            sent += os.write(pipe.fileno(), start if sent == 0 else block)
    except (BrokenPipeError, ValueError, OSError):
        pass
    watchdog.cancel()
    try:
        pipe.close()
    except OSError:
        pass
    return sent


main(Device)
