"""Packages by gpg, gpg 1.4, rnp, sq and gosop, right and wrong ones, through fussy-install and the C library: 0 or 20,
as docs/openpgp.md says. gpg itself ends well on most of what is refused here."""
import atexit
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from gnupg import Gnupg  # noqa: E402
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402

AGENT = os.environ["FUSSY_C_INSTALL"]  # examples/agent-c/install
VENDOR, OTHER = "vendor@example.com", "other@example.com"


class Kit:
    """A vendor's home whose key ring is the device's as well, and an archive to sign; made once."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.made = cls()
        return cls.made

    def __init__(self):
        self.space = space = Workspace()
        atexit.register(space.close)
        self.vendor, self.stranger = Gnupg(space.at("vendor")), Gnupg(space.at("stranger"))
        self.key = self.vendor.make(VENDOR, "rsa2048", "sign,cert")
        self.vendor.add(self.key, "cv25519", "encr")
        self.other = self.vendor.make(OTHER, "ed25519", "sign,cert")
        self.vendor.add(self.other, "rsa2048", "encr")
        self.stranger.make("stranger@example.com", "ed25519")
        self.vendor.must("--import", stdin=self.stranger.must("--export"))  # sq and others need it; no anchor of the device
        space.write("firmware-1/app", os.urandom(20_000))
        subprocess.run(["tar", "-C", space.path, "-czf", space.at("plain"), "firmware-1"], check=True)
        with open(space.at("plain"), "rb") as f:
            self.plain = f.read()
        self.vendor.must("--delete-keys", "stranger@example.com")

    def signed(self, *argv, key=VENDOR, home=None):
        return (home or self.vendor).must(*argv, "-u", key, "--sign", stdin=self.plain)

    def encrypted(self, *argv, key=VENDOR, recipient=VENDOR):
        return self.vendor.must(*argv, "-u", key, "-r", recipient, "--sign", "--encrypt", stdin=self.plain)


def verdict(t, package, wanted, ring=None, what=""):
    """The command and the C library agree; what is refused leaves no trace and says why."""
    path = t.write("package.gpg", package)
    ring = ring or Kit.get().vendor.home
    for runs in (["fussy-install", "-k", ring, "-t"], None):
        target = t.at("target")
        shutil.rmtree(target, ignore_errors=True)
        os.mkdir(target)
        done = t.run(*runs, target, path) if runs else t.run(AGENT, path, ring, target, env={"PATH": t.at("no-programs")})
        equal(done.code, wanted, f"{what} {done}")
        left = [n for n in os.listdir(target) if n != ".fussy"]
        if wanted == 0:
            check("current" in left, repr(left))
        else:
            equal(left, [], what)
            check(done.err.strip(), "no reason on stderr")


def accepted(t, package, **named):
    verdict(t, package, 0, **named)


def refused(t, package, **named):
    verdict(t, package, 20, **named)


# ---- Packets, for what no program writes -------------------------------------------------------------------------------


def packets(message):
    """(type, whole packet) of a message without partial lengths."""
    found, at = [], 0
    while at < len(message):
        head = message[at]
        if head & 0x40:
            kind, first = head & 0x3F, message[at + 1]
            if first < 192:
                size, start = first, at + 2
            elif first < 224:
                size, start = ((first - 192) << 8) + message[at + 2] + 192, at + 3
            else:
                check(first == 255, "a partial length")
                size, start = int.from_bytes(message[at + 2:at + 6], "big"), at + 6
        else:
            kind, width = head >> 2 & 15, 1 << (head & 3)
            check(head & 3 != 3, "an indeterminate length")
            size, start = int.from_bytes(message[at + 1:at + 1 + width], "big"), at + 1 + width
        found.append((kind, message[at:start + size]))
        at = start + size
    return found


def of_known_size(kit, *argv, key=VENDOR):
    """A signed message whose packets can be taken apart: gpg knows the size of a file."""
    return packets(kit.vendor.must("-z", "0", *argv, "-u", key, "--output", "-", "--sign", kit.space.at("plain")))


# ---- The table ---------------------------------------------------------------------------------------------------------


@sentence("what the programs make is accepted: hidden recipients, many recipients, every compression, armor, two signers")
def _(t):
    kit = Kit.get()
    for argv in ([], ["-z", "0"], ["--compress-algo", "zlib"], ["--compress-algo", "bzip2"], ["--armor"], ["--armor", "--comment", "x" * 300],
                 ["--digest-algo", "SHA224"], ["--digest-algo", "SHA384"], ["-u", OTHER], ["--set-filename", "../../x"], ["--for-your-eyes-only"]):
        accepted(t, kit.signed(*argv), what=argv)
        accepted(t, kit.encrypted(*argv), what=argv)
    for argv in (["--throw-keyids"], ["-r", OTHER], ["-r", OTHER, "--throw-keyids"], ["--cipher-algo", "CAMELLIA192"]):
        accepted(t, kit.encrypted(*argv), what=argv)
    no_checksum = [line for line in kit.signed("--armor").decode().splitlines() if not line.startswith("=")]
    accepted(t, "\r\n".join(no_checksum) + "\r\n")


@sentence("gpg ends well, fussy refuses: no signature, encrypted only, the signature cut off, session keys alone")
def _(t):
    kit = Kit.get()
    refused(t, kit.vendor.must("--store", stdin=kit.plain))
    refused(t, kit.vendor.must("-r", VENDOR, "--encrypt", stdin=kit.plain))
    parts = of_known_size(kit)
    equal([kind for kind, _ in parts], [4, 11, 2])
    cut = parts[0][1] + parts[1][1]
    equal(kit.vendor.run("--decrypt", stdin=cut).returncode, 0)
    refused(t, cut)
    session_key = packets(kit.vendor.must("-r", OTHER, "--encrypt", "--output", "-", kit.space.at("plain")).split(b"\xd2", 1)[0])
    refused(t, b"".join(p for kind, p in session_key if kind == 1))


@sentence("broken hashes on packages are refused, though gpg takes them: SHA-1, RIPEMD-160")
def _(t):
    kit = Kit.get()
    for hash_name in ("SHA1", "RIPEMD160"):
        made = kit.signed("--digest-algo", hash_name)
        equal(kit.vendor.run("--decrypt", stdin=made).returncode, 0)
        refused(t, made, what=hash_name)


@sentence("keys below 2048 bits sign nothing: RSA and DSA")
def _(t):
    kit = Kit.get()
    home = Gnupg(t.at("home"))
    for algorithm, wanted in (("rsa1024", 20), ("dsa1024", 20), ("rsa2048", 0), ("dsa2048", 0)):
        home.make(f"{algorithm}@example.com", algorithm, "sign,cert")
        verdict(t, kit.signed(key=f"{algorithm}@example.com", home=home), wanted, ring=home.home, what=algorithm)


@sentence("a key of 2012, whose self-signatures are SHA-1, is accepted")
def _(t):
    kit = Kit.get()
    home = Gnupg(t.at("home"))
    home.must("--cert-digest-algo", "SHA1", "--faked-system-time", "20120101T000000!", "--quick-generate-key", "old@example.com", "rsa2048",
              "sign,cert", "0")
    accepted(t, kit.signed(key="old@example.com", home=home), ring=home.home)


@sentence("revoked and expired keys: refused, and what was signed while the key was good accepted")
def _(t):
    kit = Kit.get()
    home = Gnupg(t.at("home"))
    lost = home.make("lost@example.com", "ed25519", "sign")
    before = kit.signed(key=lost, home=home)
    accepted(t, before, ring=home.home)
    home.revoke(lost)
    refused(t, before, ring=home.home)
    home.make("short@example.com", "ed25519", "sign", "2020-03-01", at="20200101T000000!")
    good = kit.signed("--faked-system-time", "20200201T000000!", key="short@example.com", home=home)
    accepted(t, good, ring=home.home)
    # gpg does not sign with an expired key: the key was renewed for that, and the device has the old copy.
    old_copy = t.write("ring/old.gpg", home.must("--export", "short@example.com"))
    home.must("--quick-set-expire", home.fingerprint("short@example.com"), "0")
    late = kit.signed(key="short@example.com", home=home)
    refused(t, late, ring=old_copy)
    t.write("ring/new.gpg", home.must("--export", "short@example.com"))
    accepted(t, late, ring=t.at("ring"))  # split over two files: the renewal counts


@sentence("a package signed to expire, and expired, is refused")
def _(t):
    kit = Kit.get()
    home = Gnupg(t.at("home"))
    home.make("v@example.com", "ed25519", "sign", at="20200101T000000!")
    refused(t, kit.signed("--faked-system-time", "20200601T000000!", "--default-sig-expire", "5d", key="v@example.com", home=home), ring=home.home)


@sentence("strangers: refused alone, harmless beside a known signer")
def _(t):
    kit = Kit.get()
    refused(t, kit.signed(key="stranger@example.com", home=kit.stranger))
    both = Gnupg(t.at("both"))
    for home in (kit.vendor, kit.stranger):
        both.must("--import", stdin=home.must("--export-secret-keys"))
    for signers in ((VENDOR, "stranger@example.com"), ("stranger@example.com", VENDOR)):
        accepted(t, both.must("-u", signers[0], "-u", signers[1], "--sign", stdin=kit.plain))
    one_of_two = kit.space.at("public.gpg")
    with open(one_of_two, "wb") as f:
        f.write(kit.vendor.must("--export", OTHER))
    accepted(t, kit.signed("-u", OTHER), ring=one_of_two)
    refused(t, kit.signed(), ring=one_of_two)


@sentence("signatures in front (PGP) are accepted, behind without a header (PGP 2) refused")
def _(t):
    header, literal, signature = (p for _, p in of_known_size(Kit.get()))
    accepted(t, header + literal + signature)
    accepted(t, signature + literal)
    refused(t, literal + signature)
    refused(t, header + literal)
    refused(t, header + signature)
    refused(t, signature)


@sentence("exactly one content: nothing before it, between or behind")
def _(t):
    kit = Kit.get()
    header, literal, signature = (p for _, p in of_known_size(kit))
    good = header + literal + signature
    sealed = kit.encrypted()
    for wrong in (good + literal, literal + good, good + good, header + literal + literal + signature, sealed + literal, sealed + good,
                  good + b"x", good + b"\n\n", header + header + literal + signature):
        refused(t, wrong)
    accepted(t, good + b"\n")  # gosop
    # Behind the end of compressed data everything is padding, as sq pads, and nobody reads it. gpg lets it begin anywhere.
    accepted(t, kit.signed("-z", "6") + literal)  # asked for: gpg 2.4 leaves a tar.gz as it is
    marker, padding, unknown = b"\xca\x03PGP", b"\xd5\x10" + bytes(16), b"\xfc\x02xx"
    accepted(t, marker + padding + unknown + header + marker + literal + padding + signature + unknown)
    refused(t, b"\xe7\x02xx" + good)  # type 39: critical


@sentence("what is no package: clear-signed text, a detached signature, a key, an archive, nothing, noise, a message in a literal")
def _(t):
    kit = Kit.get()
    vendor = kit.vendor
    for wrong in (vendor.must("-u", VENDOR, "--clearsign", stdin=b"text\n"), vendor.must("-u", VENDOR, "--detach-sign", stdin=kit.plain),
                  vendor.must("-u", VENDOR, "--armor", "--detach-sign", stdin=kit.plain), vendor.must("--export", VENDOR),
                  vendor.must("--armor", "--export", VENDOR), kit.plain, b"", os.urandom(5000),
                  vendor.must("--store", stdin=kit.signed()), vendor.must("--passphrase", "x", "--symmetric", stdin=kit.plain)):
        refused(t, wrong)


@sentence("what is signed and no archive is exit 21")
def _(t):
    kit = Kit.get()
    for content in (b"", b"text\n", kit.plain[:-500], b"\x1f\x8b" + os.urandom(500)):
        verdict(t, kit.vendor.must("-u", VENDOR, "--sign", stdin=content), 21, what=content[:10])


@sentence("a passphrase beside public keys does no harm")
def _(t):
    kit = Kit.get()
    accepted(t, kit.vendor.must("--passphrase", "x", "--symmetric", "-r", VENDOR, "-u", VENDOR, "--sign", "--encrypt", stdin=kit.plain))


@sentence("expired and revoked encryption keys still decrypt; locked ones beside them do not disturb, hidden or named")
def _(t):
    kit = Kit.get()
    device = Gnupg(t.at("device"))
    locked = device.make("locked@example.com", "rsa2048", "cert", passphrase="secret")
    device.add(locked, "cv25519", "encr", passphrase="secret")
    key = device.make("device@example.com", "ed25519", "cert,sign", at="20200101T000000!")
    device.add(key, "cv25519", "encr", at="20200101T000000!")
    device.must("--import", stdin=kit.vendor.must("--export", VENDOR))
    vendor = Gnupg(t.at("vendor"))
    vendor.must("--import", stdin=kit.vendor.must("--export-secret-keys", VENDOR))
    vendor.must("--import", stdin=device.must("--export"))
    made = []
    for hidden in ([], ["--throw-keyids"]):
        sign = [*hidden, "-u", VENDOR, "--sign", "--encrypt", "-r", "locked@example.com"]
        refused(t, vendor.must(*sign, stdin=kit.plain), ring=device.home)
        made.append(vendor.must(*sign, "-r", "device@example.com", stdin=kit.plain))

    def decrypts():
        for sealed in made:
            accepted(t, sealed, ring=device.home)

    decrypts()
    for which in ([], ["*"]):
        device.must("--faked-system-time", "20200201T000000!", "--quick-set-expire", key, "20200301T000000", *which)
    check(b":e:" in device.must("--with-colons", "--list-keys", key), "it has not expired")
    decrypts()
    device.revoke(key)
    decrypts()


@sentence("gpg 1.4: version 3 signatures and encryption without integrity protection are refused, its defaults accepted")
def _(t):
    kit = Kit.get()
    home = t.at("gpg1")
    os.mkdir(home, 0o700)

    def gpg1(*argv, stdin=b""):
        done = subprocess.run(["gpg1", "--homedir", home, "--batch", "--quiet", "--no-tty", "--trust-model", "always", *argv], input=stdin,
                              capture_output=True)
        equal(done.returncode, 0, done.stderr.decode())
        return done.stdout

    maker = Gnupg(t.at("maker"))
    key = maker.make("v@example.com", "rsa2048", "sign,cert")
    maker.add(key, "rsa2048", "encr")
    gpg1("--import", stdin=maker.must("--export-secret-keys"))
    sign = ["-u", "v@example.com", "--sign"]
    both = [*sign, "-r", "v@example.com", "--encrypt"]
    for argv in (sign, both, ["--digest-algo", "SHA512", *both], ["-z", "0", *both]):
        accepted(t, gpg1(*argv, stdin=kit.plain), ring=home)
    refused(t, gpg1("--force-v3-sigs", *sign, stdin=kit.plain), ring=home)
    refused(t, gpg1("--disable-mdc", *both, stdin=kit.plain), ring=home)
    refused(t, gpg1("--digest-algo", "SHA1", *sign, stdin=kit.plain), ring=home)


@sentence("rnp: GnuPG's AEAD packet and its defaults are accepted")
def _(t):
    kit = Kit.get()
    home = t.at("rnp")
    os.mkdir(home)
    secret = t.write("secret.pgp", kit.vendor.must("--export-secret-keys"))
    t.must("rnpkeys", "--homedir", home, "--notty", "--import-keys", secret)
    plain = t.write("plain", kit.plain)
    for argv in ([], ["--encrypt", "-r", VENDOR], ["--encrypt", "-r", VENDOR, "--aead=OCB"], ["--encrypt", "-r", OTHER, "--aead=EAX"],
                 ["--hash", "SHA3-256"], ["--zlib"]):
        t.must("rnp", "--homedir", home, "--notty", "--password", "", "--overwrite", "--output", t.at("made"), "-u", VENDOR, "--sign", *argv, plain)
        with open(t.at("made"), "rb") as f:
            accepted(t, f.read(), what=argv)


@sentence("sq and gosop: their defaults are accepted, padding, notarization and line feed included")
def _(t):
    kit = Kit.get()
    plain = t.write("plain", kit.plain)
    if not t.run("sq", "--version").out.startswith("sq 0."):
        raise Skipped("sq 1 has another command line than Debian 12's")
    os.mkdir(t.at("ring"))
    t.must("sq", "key", "generate", "--userid", "<s@example.com>", "--export", t.at("ring", "sq.asc"))
    t.must("sq", "key", "extract-cert", "--output", t.at("sq.cert"), t.at("ring", "sq.asc"))
    made = []
    for argv in (["sign", "--signer-key", t.at("ring", "sq.asc")],
                 ["encrypt", "--signer-key", t.at("ring", "sq.asc"), "--recipient-cert", t.at("sq.cert")]):
        t.must("sq", argv[0], "--output", t.at("made"), *argv[1:], plain)
        with open(t.at("made"), "rb") as f:
            made.append(f.read())
        os.unlink(t.at("made"))
    with open(t.at("ring", "gosop.asc"), "wb") as f:
        f.write(t.must("gosop", "generate-key", "<g@example.com>").out.encode())
    t.write("gosop.cert", t.must("gosop", "extract-cert", stdin=open(t.at("ring", "gosop.asc"), "rb").read()).out)
    with open(t.at("plain"), "rb") as f:
        made.append(subprocess.run(["gosop", "encrypt", "--no-armor", "--sign-with", t.at("ring", "gosop.asc"), t.at("gosop.cert")], stdin=f,
                                   capture_output=True, check=True).stdout)
    for message in made:
        accepted(t, message, ring=t.at("ring"))


main()
