"""Keys and packages for tests that work through the commands."""
import os
import subprocess

from sentences import Workspace, check  # noqa: E402

RSA, ED, STRANGER = "rsa@example.com", "ed@example.com", "stranger@example.com"
DEVICE_RSA, DEVICE_CV = "device-rsa@example.com", "device-cv@example.com"


class Keys:
    """Vendor and device key rings, made once: keys take time."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.made = cls()
        return cls.made

    def __init__(self):
        self.space = Workspace()
        self.vendor, self.stranger, self.device = (self.space.at(n) for n in ("vendor", "stranger", "device"))
        for home in (self.vendor, self.stranger, self.device):
            os.mkdir(home, 0o700)
        self.make(self.vendor, RSA, "rsa3072", "sign")
        self.make(self.vendor, ED, "ed25519", "sign")
        self.make(self.stranger, STRANGER, "ed25519", "sign")
        # The device decrypts: one key of each kind.
        self.make(self.device, DEVICE_RSA, "rsa3072", "cert")
        self.gpg(self.device, "--passphrase", "", "--quick-add-key", self.fingerprint(self.device, DEVICE_RSA), "rsa3072", "encr")
        self.make(self.device, DEVICE_CV, "future-default", "default")
        for uid in (RSA, ED):
            self.gpg(self.device, "--import", stdin=self.gpg(self.vendor, "--export", uid))
        for home in (self.vendor, self.stranger):
            for uid in (DEVICE_RSA, DEVICE_CV):
                self.gpg(home, "--import", stdin=self.gpg(self.device, "--export", uid))

    def make(self, home, uid, algorithm, usage):
        self.gpg(home, "--passphrase", "", "--quick-generate-key", uid, algorithm, usage)

    def fingerprint(self, home, uid):
        listing = self.gpg(home, "--with-colons", "--list-keys", uid).decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    @staticmethod
    def gpg(home, *argv, stdin=b""):
        common = ["gpg", "--homedir", home, "--batch", "--quiet", "--trust-model", "always", "--pinentry-mode", "loopback"]
        done = subprocess.run([*common, *argv], input=stdin, capture_output=True)
        check(done.returncode == 0, f"gpg {argv}: {done.stderr.decode()}")
        return done.stdout


def sample(t, name="firmware-1", text="one"):
    """A directory as a vendor has it."""
    t.write(f"{name}/bin/app", f"#!/bin/sh\necho {text}\n", 0o755)
    t.write(f"{name}/etc/settings", "level=3\n" * 500)
    t.write(f"{name}/share/noise", os.urandom(30_000))
    os.symlink("bin/app", t.at(name, "run"))
    return t.at(name)


def tar_gz(t, root):
    package = t.at(os.path.basename(root) + ".tar.gz")
    t.must("tar", "-C", os.path.dirname(root), "-czf", package, os.path.basename(root))
    return package


def make_package(t, root, *argv, home=None):
    """What gpg makes of a tar.gz."""
    keys = Keys.get()
    with open(tar_gz(t, root), "rb") as f:
        made = keys.gpg(home or keys.vendor, *argv, stdin=f.read())
    return t.write(os.path.basename(root) + ".tar.gz.gpg", made)


def signed(t, root):
    return make_package(t, root, "-u", ED, "--sign")


def encrypted(t, root):
    return make_package(t, root, "-u", ED, "-r", DEVICE_CV, "-se")


def target(t):
    os.makedirs(t.at("target"), exist_ok=True)
    return t.at("target")
