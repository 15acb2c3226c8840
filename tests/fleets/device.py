"""A device and its vendor in one temporary directory, for tests that update the device in somebody else's way."""
import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile

from sentences import Workspace, snapshot


def need(*programs):
    """Ends the whole test as skipped (77, Meson's number) where a system has no such program to drive."""
    for program in programs:
        if not shutil.which(program):
            print(f"skipped: {program} is not installed")
            sys.exit(77)
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)


def scratch(prefix):
    """A directory that goes away with the process."""
    path = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def keys():
    """Two GNUPGHOMEs made once a run: the vendor's and a stranger's."""
    where = scratch("fussy-keys-")
    for who in ("vendor", "stranger"):
        home = os.path.join(where, who)
        os.mkdir(home, 0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run(gpg + ["--quick-gen-key", f"{who}@example.com", "ed25519", "sign", "never"], check=True)
        exported = subprocess.run(gpg + ["--export"], check=True, capture_output=True).stdout
        with open(os.path.join(where, who + ".pgp"), "wb") as f:
            f.write(exported)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)
    return where


@functools.cache
def signing_certificate():
    """A self-signed X.509 certificate and its key, as RAUC and SWUpdate want them. @return their paths."""
    where = scratch("fussy-cert-")
    certificate, key = os.path.join(where, "certificate.pem"), os.path.join(where, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=vendor", "-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class Device(Workspace):
    def __init__(self):
        super().__init__()
        self.vendor = os.path.join(keys(), "vendor")
        self.stranger = os.path.join(keys(), "stranger")
        self.target = self.at("firmware")
        os.mkdir(self.target)
        self.keyring = self.at("keys")
        os.mkdir(self.keyring)
        shutil.copy(self.vendor + ".pgp", self.keyring)

    def package(self, name, signer=None, pre_install=None, post_install=None, files=None):
        """Packs a version. @return its path."""
        root = self.at("build", name)
        for path, content in (files or {"app": f"I am {name}\n"}).items():
            self.write(os.path.join(root, path), content)
        for hook, script in ((".pre-install", pre_install), (".post-install", post_install)):
            if script:
                self.write(os.path.join(root, hook), script, mode=0o755)
        return self.must("fussy-pack", "-r", root, "--homedir", signer or self.vendor).out.split()[-1]

    def install(self, name, **how):
        return self.must("fussy-install", "-k", self.keyring, "-t", self.target, self.package(name, **how))

    def make_failsafe(self):
        self.write(os.path.join(self.target, "failsafe", "app"), "I am failsafe\n")

    def live(self):
        return os.readlink(os.path.join(self.target, "current"))

    def versions(self):
        return sorted(
            name for name in os.listdir(self.target) if not name.startswith(".") and name not in ("current", "failsafe")
        )

    def snapshot(self):
        """Everything of the target but what fussy keeps for itself."""
        return {path: what for path, what in snapshot(self.target).items() if not path.startswith(".fussy")}
