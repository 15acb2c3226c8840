"""fussy-keys: for people, and in the format of gpg's listing, compared with gpg."""
import atexit
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from gnupg import Gnupg  # noqa: E402
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402

SECRET = "secret"


class Ring:
    """A key ring with a key of every kind and fate, made once."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.made = cls()
        return cls.made

    def __init__(self):
        self.space = Workspace()
        atexit.register(self.space.close)
        self.gpg = gpg = Gnupg(self.space.at("ring"))
        self.ed = gpg.make("Vendor One <one@example.com>", "ed25519", "cert,sign", "2036-01-01")
        gpg.add(self.ed, "cv25519", "encr", "2035-01-01")
        gpg.add(self.ed, "rsa2048", "sign")
        gpg.add(self.ed, "ed25519", "auth")
        self.rsa = gpg.make("r@example.com", "rsa3072", "cert")
        gpg.add(self.rsa, "nistp256", "encr")
        self.dsa = gpg.make("d@example.com", "dsa2048", "sign,cert")
        gpg.add(self.dsa, "elg2048", "encr")
        self.brainpool = gpg.make("bp@example.com", "brainpoolP384r1", "sign")
        self.expired = gpg.make("expired@example.com", "ed25519", "sign,cert", "2020-02-01", at="20200101T000000!")
        self.old_subkey = gpg.make("oldsub@example.com", "ed25519", "cert", at="20200101T000000!")
        gpg.add(self.old_subkey, "ed25519", "sign", "2020-02-01", at="20200101T000000!")
        gpg.add(self.old_subkey, "ed25519", "sign", at="20200101T000000!")
        self.revoked = gpg.make("revoked@example.com", "ed25519", "sign")
        gpg.revoke(self.revoked)
        self.names = gpg.make("Se\u00e4n: \\o/ <s@example.com>", "ed25519", "sign")
        gpg.must("--quick-add-uid", self.names, "second@example.com")
        gpg.must("--quick-add-uid", self.names, "third@example.com")
        gpg.must("--quick-revoke-uid", self.names, "third@example.com")
        self.locked = gpg.make("locked@example.com", "ed25519", "sign", passphrase=SECRET)


def fields_of_gpg(ring, *more):
    listing = ring.gpg.must("--with-colons", "--with-subkey-fingerprint", "--fixed-list-mode", *more).decode("utf-8", "surrogateescape")
    return [line.split(":") for line in listing.splitlines()]


def colons(t, *argv):
    done = t.must("fussy-keys", "--with-colons", *argv)
    return [line.split(":") for line in done.out.splitlines()]


def blocks(records):
    """Records per certificate, by its fingerprint."""
    found, block = {}, []
    for record in records:
        if record[0] in ("pub", "sec"):
            block = []
        if record[0] == "fpr" and len(block) == 1:
            found[record[9]] = block
        block.append(record)
    return found


def without_trust(validity):
    """What a key is: revoked, expired, invalid, or good. How far gpg's owner trusts it is another matter."""
    return validity if validity in ("r", "e", "i") else "f"


def expiry(record, primary):
    """When the key stops to be of use: gpg 2.4 shows that, 2.2 and we what is written for a subkey itself."""
    return min((r[6] for r in (record, primary) if r[6]), key=int, default="")


@sentence("--with-colons has gpg's records, and the fields that apply are gpg's, for keys of every kind and fate")
def _(t):
    ring = Ring.get()
    theirs, ours = blocks(fields_of_gpg(ring, "--list-keys")), blocks(colons(t, "-k", ring.gpg.home))
    equal(sorted(ours), sorted(theirs))
    compared = 0
    for fingerprint, block in theirs.items():
        wanted = [r for r in block if r[0] in ("pub", "sub", "fpr")]
        got = [r for r in ours[fingerprint] if r[0] in ("pub", "sub", "fpr")]
        equal([r[0] for r in got], [r[0] for r in wanted])
        for g, w in zip(got, wanted):
            if w[0] == "fpr":
                equal(g[9], w[9])
                continue
            equal(without_trust(g[1]), without_trust(w[1]), f"validity of {fingerprint}: {g} {w}")
            for number, what in ((3, "length"), (4, "algorithm"), (5, "key ID"), (6, "created"), (17, "curve")):
                equal(g[number - 1], w[number - 1], f"{what} of {fingerprint}: {g} {w}")
            equal(expiry(g, got[0]), expiry(w, wanted[0]), f"expires of {fingerprint}: {g} {w}")
            equal(sorted(g[11]), sorted(w[11]), f"capabilities of {fingerprint}: {g} {w}")
            compared += 1
        user_ids = [[(r[9], r[5], without_trust(r[1])) for r in b if r[0] == "uid"] for b in (ours[fingerprint], block)]
        equal(sorted(user_ids[0]), sorted(user_ids[1]))
    equal(compared, 16)


@sentence("--with-colons says where a secret key is: + as gpg does, # where it cannot be used")
def _(t):
    ring = Ring.get()
    stubs = t.write("stubs.gpg", ring.gpg.must("--export-secret-subkeys", ring.ed))
    for keyring, fingerprint, wanted in ((ring.gpg.home, ring.ed, "+"), (ring.gpg.home, ring.locked, "#"), (stubs, ring.ed, "#")):
        equal(blocks(colons(t, "-k", keyring))[fingerprint][0][14], wanted)
    theirs = blocks(fields_of_gpg(ring, "--list-secret-keys"))[ring.ed][0][14]
    equal(theirs, "+")
    public = t.write("public.gpg", ring.gpg.must("--export", ring.ed))
    equal(blocks(colons(t, "-k", public))[ring.ed][0][14], "")


def paragraphs(t, *argv):
    """What is said about each certificate, by its fingerprint."""
    done = t.must("fussy-keys", *argv)
    equal(done.err, "")
    return {p.split()[1]: p.splitlines() for p in done.out.strip().split("\n\n")}


@sentence("for people: fingerprint, algorithm, dates, user IDs, what each key may do, and why not")
def _(t):
    ring = Ring.get()
    said = paragraphs(t, "-k", ring.gpg.home)
    equal(len(said), 9)

    def about(fingerprint, *wanted):
        for line in wanted:
            check(any(line in s for s in said[fingerprint]), f"no {line!r} in {said[fingerprint]}")

    about(ring.ed, "EdDSA ed25519, created 20", "expires 2036-01-01", "its signatures count: yes", "Vendor One <one@example.com>",
          "ECDH cv25519", "can be encrypted for: yes", "decrypts here: yes", "RSA 2048", "signs here: yes")
    about(ring.rsa, "RSA 3072", "does not expire", "its signatures count: no, its key flags do not permit signing data", "ECDH nistp256")
    about(ring.dsa, "DSA 2048", "ElGamal 2048", "its signatures count: yes")
    about(ring.expired, "expired 2020-02-01", "its signatures count: no, its primary key expired on 2020-02-01")
    about(ring.old_subkey, "its signatures count: no, the subkey expired on 2020-02-01", "its signatures count: yes")
    about(ring.revoked, "revoked", "its signatures count: no, its primary key was revoked on ")
    about(ring.names, "Se\u00e4n: \\o/ <s@example.com>", "second@example.com", "third@example.com (revoked)")
    about(ring.locked, "signs here: no, it is protected by a passphrase")
    about(ring.brainpool, "ECDSA brainpoolP384r1", "its signatures count: yes", "signs here: yes")
    said = paragraphs(t, "-k", ring.gpg.home, "--ignore-expiry")
    about(ring.expired, "its signatures count: yes")


@sentence("a key that signs and decrypts says both, whether its secret part can be used or not")
def _(t):
    gpg = Gnupg(t.at("both"))
    both = gpg.make("both@example.com", "rsa2048", "cert,sign,encr")
    locked = gpg.make("locked@example.com", "rsa2048", "cert,sign,encr", passphrase=SECRET)
    said = paragraphs(t, "-k", gpg.home)
    for key, answer in ((both, "yes"), (locked, "no, it is protected by a passphrase")):
        equal([line.strip() for line in said[key] if " here: " in line], ["signs here: " + answer, "decrypts here: " + answer])


@sentence("a revoked user ID is revoked for gpg and for us, also in an export without anything that is not needed")
def _(t):
    ring = Ring.get()
    minimal = t.write("minimal.gpg", ring.gpg.must("--export-options", "export-minimal", "--export", ring.names))
    packets = ring.gpg.must("--list-packets", minimal).decode()
    equal((packets.count(":user ID packet:"), packets.count("sigclass 0x13"), packets.count("sigclass 0x30")), (3, 2, 1))
    theirs = ring.gpg.must("--no-default-keyring", "--keyring", minimal, "--with-colons", "--list-keys").decode("utf-8", "surrogateescape")
    theirs = [line.split(":") for line in theirs.splitlines()]
    wanted, got = ({r[9]: without_trust(r[1]) for r in records if r[0] == "uid"} for records in (theirs, colons(t, "-k", minimal)))
    equal(wanted["third@example.com"], "r")
    equal(got, wanted)
    text = "\n".join(paragraphs(t, "-k", minimal)[ring.names])
    check("third@example.com (revoked)" in text and "not self-signed" not in text, text)


@sentence("a public certificate alone: nothing is said to decrypt or sign here")
def _(t):
    ring = Ring.get()
    said = paragraphs(t, "-k", t.write("one.gpg", ring.gpg.must("--export", ring.ed)))
    text = "\n".join(said[ring.ed])
    check("decrypts here: no, its secret part is not here" in text and "signs here" not in text, text)


@sentence("what is skipped is said on stderr, and the rest is listed")
def _(t):
    ring = Ring.get()
    os.makedirs(t.at("folder"))
    t.write("folder/good.asc", ring.gpg.must("--armor", "--export", ring.ed))
    t.write("folder/bad.gpg", "no keys")
    t.write("folder/cut.gpg", ring.gpg.must("--export", ring.rsa)[:-10])
    done = t.must("fussy-keys", "-k", t.at("folder"))
    check(ring.ed in done.out, done.out)
    check("bad.gpg" in done.err and "cut.gpg" in done.err, done.err)


@sentence("control characters in a user ID reach no terminal")
def _(t):
    gpg = Gnupg(t.at("odd"))
    gpg.make("esc\x1b[31m red <x@example.com>")
    for argv in ([], ["--with-colons"]):
        done = t.must("fussy-keys", "-k", gpg.home, *argv)
        check("\x1b" not in done.out and "\\x1b" in done.out, repr(done.out))


@sentence("a ring that is missing, empty, or kept by keyboxd is exit 40 and says why")
def _(t):
    os.makedirs(t.at("empty"))
    os.makedirs(t.at("keyboxd", "public-keys.d"))
    t.write("keyboxd/public-keys.d/pubring.db", "SQLite format 3")
    for ring, words in (("missing", "does not exist"), ("empty", "no usable key"), ("keyboxd", "keyboxd")):
        done = t.run("fussy-keys", "-k", t.at(ring))
        equal(done.code, 40, repr(done))
        check(words in done.err and "gpg --export" in done.err or ring == "missing", done.err)
        equal(done.out, "")


@sentence("a home that gpg 2.4 keeps by keyboxd is refused, and what to do works")
def _(t):
    gpg = Gnupg(t.at("keyboxd"))
    with open(os.path.join(gpg.home, "common.conf"), "w") as f:
        f.write("use-keyboxd\n")
    key = gpg.make("v@example.com")
    if not os.path.exists(os.path.join(gpg.home, "public-keys.d", "pubring.db")):
        gpg.stop()
        raise Skipped("this gpg has no keyboxd")
    done = t.run("fussy-keys", "-k", gpg.home)
    equal(done.code, 40, repr(done))
    check("keyboxd" in done.err and "gpg --export KEY >" in done.err, done.err)
    with open(os.path.join(gpg.home, "vendor.gpg"), "wb") as f:
        f.write(gpg.must("--export", key))
    gpg.stop()
    check(key in t.must("fussy-keys", "-k", gpg.home).out)


@sentence("listing starts no program, asks for nothing and changes nothing in the ring")
def _(t):
    ring = Ring.get()
    shutil.copytree(ring.gpg.home, t.at("copy"), ignore=shutil.ignore_patterns("S.*"))
    before = sorted((d, tuple(n), os.stat(d).st_mtime_ns) for d, _, n in os.walk(t.at("copy")))
    done = t.must("strace", "-f", "-o", t.at("trace"), os.path.join(t.commands, "fussy-keys"), "-k", t.at("copy"),
                  env={"ASAN_OPTIONS": "detect_leaks=0"})
    check("Passphrase" not in done.err, done.err)
    with open(t.at("trace"), errors="replace") as f:
        calls = f.read()
    equal(calls.count("execve("), 1)
    check("O_WRONLY" not in calls and "O_RDWR" not in calls, "it opened something for writing")
    equal(sorted((d, tuple(n), os.stat(d).st_mtime_ns) for d, _, n in os.walk(t.at("copy"))), before)


main()
