"""A home of gpg for tests that work through the commands."""
import os
import subprocess

from sentences import check


class Gnupg:
    def __init__(self, home):
        self.home = home
        os.mkdir(home, 0o700)

    def run(self, *argv, stdin=b"", passphrase=""):
        common = ["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--trust-model", "always",
                  "--pinentry-mode", "loopback", "--passphrase", passphrase]
        return subprocess.run([*common, *argv], input=stdin, capture_output=True)

    def must(self, *argv, **named):
        done = self.run(*argv, **named)
        check(done.returncode == 0, f"gpg {argv}: {done.stderr.decode()}")
        return done.stdout

    def make(self, uid, algorithm="ed25519", usage="sign", expires="0", at=None, **named):
        """Makes a primary key. @return its fingerprint."""
        self.must(*faked(at), "--quick-generate-key", uid, algorithm, usage, expires, **named)
        return self.fingerprint("=" + uid)

    def add(self, fingerprint, algorithm, usage, expires="0", at=None, **named):
        self.must(*faked(at), "--quick-add-key", fingerprint, algorithm, usage, expires, **named)

    def fingerprint(self, uid):
        listing = self.must("--with-colons", "--list-keys", uid).decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def revoke(self, fingerprint):
        with open(os.path.join(self.home, "openpgp-revocs.d", fingerprint + ".rev")) as f:
            self.must("--import", stdin=f.read().replace(":-----BEGIN", "-----BEGIN").encode())

    def stop(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], capture_output=True)


def faked(at):
    return ["--faked-system-time", at] if at else []
