"""fussy-pack and fussy-sign: passphrases, further signatures, and signing by gpg."""
import atexit
import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from gnupg import Gnupg  # noqa: E402
from sentences import Workspace, check, equal, main, sentence  # noqa: E402

ONE, TWO, LOCKED, DEVICE = "one@example.com", "two@example.com", "locked@example.com", "device@example.com"
SECRET = "correct horse: \u00e4"  # neither short nor ASCII


class Homes:
    """Key rings, made once: keys take time."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.made = cls()
        return cls.made

    def __init__(self):
        self.space = Workspace()
        atexit.register(self.space.close)
        self.vendor, self.locked, self.stranger = (Gnupg(self.space.at(n)) for n in ("vendor", "locked", "stranger"))
        self.one = self.vendor.make(ONE)
        self.two = self.vendor.make(TWO, "rsa2048")
        self.device = self.vendor.make(DEVICE, "rsa2048", "cert")
        self.vendor.add(self.device, "cv25519", "encr")
        self.locked_key = self.locked.make(LOCKED, passphrase=SECRET)
        self.stranger.make("stranger@example.com")
        self.locked.stop()  # an agent would remember the passphrase


def sample(t):
    t.write("firmware-1/bin/app", "#!/bin/sh\necho one\n", 0o755)
    t.write("firmware-1/share/noise", os.urandom(300_000))
    return t.at("firmware-1")


def archive(t):
    return t.must("fussy-pack", "-r", sample(t), "-u").out.strip()


def package(t, *argv, home=None):
    return t.must("fussy-pack", "-r", sample(t), *argv, env={"GNUPGHOME": (home or Homes.get().vendor).home}).out.strip()


def content(path):
    with open(path, "rb") as f:
        return f.read()


def seen_by_gpg(path, home=None):
    """What gpg decrypts, and the fingerprints whose signatures it finds valid."""
    home = home or Homes.get().vendor
    done = home.run("--status-fd", "2", "--decrypt", path)
    equal(done.returncode, 0, done.stderr.decode())
    signers = [line.split()[2] for line in done.stderr.decode().splitlines() if line.startswith("[GNUPG:] VALIDSIG")]
    return done.stdout, sorted(signers)


def only(t, path):
    """Nothing is left but this file, beside the workspace's own."""
    found = [os.path.join(d, n) for d, _, names in os.walk(t.temporary) for n in names]
    equal(found, [path] if path else [])


@sentence("with SOURCE_DATE_EPOCH the same files give the same signed octets, by every kind of key; an encrypted package is never the same")
def _(t):
    home = Gnupg(t.at("home"))
    for algorithm in ("rsa2048", "ed25519", "nistp256", "dsa2048"):
        home.make(f"{algorithm}@example.com", algorithm, at="20200101T000000!")
    reader = home.make("reader@example.com", "ed25519", "cert", at="20200101T000000!")
    home.add(reader, "cv25519", "encr", at="20200101T000000!")
    root = sample(t)
    env = {"GNUPGHOME": home.home, "SOURCE_DATE_EPOCH": "1600000000"}
    for algorithm in ("rsa2048", "ed25519", "nistp256", "dsa2048"):
        argv = ["fussy-pack", "-r", root, "--root-owner", "-k", f"{algorithm}@example.com"]
        first, second = (content(t.must(*argv, env=env).out.strip()) for _ in range(2))
        equal(first == second, True, algorithm)
        sealed, again = (content(t.must(*argv, "-e", reader, env=env).out.strip()) for _ in range(2))
        check(sealed != again, "the same session key twice")
    done = t.run("fussy-pack", "-r", root, "-k", "ed25519@example.com", env={**env, "SOURCE_DATE_EPOCH": "1500000000"})
    equal(done.code, 20)
    check("made after the time that the signature is to have" in done.err, done.err)
    for milliseconds in ("1600000000000", "4294967296"):
        done = t.run("fussy-pack", "-r", root, "-k", "ed25519@example.com", env={**env, "SOURCE_DATE_EPOCH": milliseconds})
        equal(done.code, 2)
        check("beyond 2106" in done.err, done.err)


# ---- Passphrases -------------------------------------------------------------------------------------------------------


def locked_signing(t, *argv, **named):
    return t.run("fussy-sign", "-k", LOCKED, *argv, env={"GNUPGHOME": Homes.get().locked.home}, **named)


@sentence("a passphrase file opens the key: its first line, with either line end or none, and nothing else of it")
def _(t):
    for text in (SECRET + "\n", SECRET + "\r\nmore\n", SECRET):
        unsigned = archive(t)
        done = locked_signing(t, "--passphrase-file", t.write("secret", text), unsigned)
        equal(done.code, 0, repr(done))
        equal(seen_by_gpg(unsigned + ".gpg", Homes.get().locked)[1], [Homes.get().locked_key])
        check(SECRET not in done.out + done.err)


@sentence("a passphrase from a descriptor opens the key, for pack as for sign")
def _(t):
    for command in ("sign", "pack"):
        reading, writing = os.pipe()
        os.write(writing, SECRET.encode() + b"\n")
        os.close(writing)
        argv = ["fussy-sign", archive(t)] if command == "sign" else ["fussy-pack", "-r", sample(t)]
        argv[0] = os.path.join(Workspace.commands, argv[0])
        done = subprocess.run([*argv, "-k", LOCKED, "--passphrase-fd", str(reading)], pass_fds=[reading], capture_output=True,
                              stdin=subprocess.DEVNULL, env={**os.environ, "GNUPGHOME": Homes.get().locked.home, "TMPDIR": t.temporary})
        os.close(reading)
        equal(done.returncode, 0, done.stderr.decode())
        equal(seen_by_gpg(done.stdout.decode().strip(), Homes.get().locked)[1], [Homes.get().locked_key])


@sentence("a wrong passphrase, an empty one and a missing file are refused, and the archive stays")
def _(t):
    unsigned = archive(t)
    for text in ("wrong\n", "", "\n" + SECRET):
        done = locked_signing(t, "--passphrase-file", t.write("secret", text), unsigned)
        equal(done.code, 20, repr(done))
        check("passphrase" in done.err, done.err)
        only(t, unsigned)
        told = locked_signing(t, "--json", "--passphrase-file", t.at("secret"), unsigned)
        equal(json.loads(told.out.splitlines()[-1])["code"], "bad_passphrase")
    equal(locked_signing(t, "--passphrase-file", t.at("missing"), unsigned).code, 2)
    only(t, unsigned)


@sentence("a file of exported secret keys is a ring to sign with, open and protected")
def _(t):
    homes = Homes.get()
    for name, home, passphrase, signer in (("open.pgp", homes.vendor, "", homes.one), ("locked.asc", homes.locked, SECRET, homes.locked_key)):
        form = ["--armor"] if name.endswith(".asc") else []
        secret = t.write(name, home.must(*form, "--export-secret-keys", signer, passphrase=passphrase))
        homes.locked.stop()
        done = t.run("fussy-pack", "-r", sample(t), "--homedir", secret, "--passphrase-file", t.write("secret", SECRET), env={"GNUPGHOME": None})
        equal(done.code, 0, repr(done))
        equal(seen_by_gpg(done.out.strip(), home)[1], [signer])


class Terminal:
    """A command with a terminal of its own, whose standard input and output are something else."""

    def __init__(self, t, *argv):
        argv = [os.path.join(t.commands, argv[0]), *argv[1:]]
        self.result = t.at("stdout")
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(self.result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.execve(argv[0], argv, {**os.environ, "GNUPGHOME": Homes.get().locked.home, "TMPDIR": t.temporary, "TERM": "xterm"})
        self.shown = b""

    def echoes(self):
        return bool(termios.tcgetattr(self.screen)[3] & termios.ECHO)

    def wait_for(self, text, seconds=60):
        until = time.monotonic() + seconds
        while text not in self.shown:
            check(time.monotonic() < until, f"no {text!r} in {self.shown!r}")
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.screen, 1000)
                except OSError:  # it has ended
                    check(text in self.shown, f"no {text!r} in {self.shown!r}")

    def type(self, text):
        os.write(self.screen, text)

    def end(self):
        status = os.waitpid(self.pid, 0)[1]
        while select.select([self.screen], [], [], 0.2)[0]:
            try:
                self.shown += os.read(self.screen, 1000)
            except OSError:
                break
        self.echoes_again = self.echoes()
        os.close(self.screen)
        return os.waitstatus_to_exitcode(status)


@sentence("the passphrase is asked for on the terminal, which does not show it, and names the key")
def _(t):
    unsigned = archive(t)
    terminal = Terminal(t, "fussy-sign", "-k", LOCKED, unsigned)
    terminal.wait_for(b"Passphrase for key " + Homes.get().locked_key.encode() + b": ")
    check(not terminal.echoes(), "what is typed would be shown")
    terminal.type(SECRET.encode() + b"\n")
    terminal.wait_for(b"\r\n")
    code = terminal.end()
    equal(code, 0, terminal.shown.decode())
    check(terminal.echoes_again, "the terminal was left mute")
    check(SECRET.encode() not in terminal.shown, "the passphrase was shown")
    equal(content(terminal.result).decode().strip(), unsigned + ".gpg")
    equal(seen_by_gpg(unsigned + ".gpg", Homes.get().locked)[1], [Homes.get().locked_key])


@sentence("Ctrl-C at the question: exit 2, nothing half-done is left, and the terminal shows again what is typed")
def _(t):
    unsigned = archive(t)
    terminal = Terminal(t, "fussy-sign", "-k", LOCKED, unsigned)
    terminal.wait_for(b"Passphrase for key")
    terminal.type(b"half a pass\x03")
    equal(terminal.end(), 2)
    check(b"cannot open the secret key" in terminal.shown, terminal.shown.decode())
    check(terminal.echoes_again, "the terminal was left mute")
    only(t, unsigned)


@sentence("without terminal and option a protected key is refused and says that it is protected")
def _(t):
    unsigned = archive(t)
    done = subprocess.run(["setsid", "--wait", os.path.join(t.commands, "fussy-sign"), "-k", LOCKED, unsigned], stdin=subprocess.DEVNULL,
                          capture_output=True, env={**os.environ, "GNUPGHOME": Homes.get().locked.home})
    equal(done.returncode, 20)
    check(b"passphrase" in done.stderr and Homes.get().locked_key.encode() in done.stderr, done.stderr.decode())
    only(t, unsigned)


# ---- A further signature -----------------------------------------------------------------------------------------------


def sign(t, *argv, home=None, **named):
    return t.run("fussy-sign", *argv, env={"GNUPGHOME": (home or Homes.get().vendor).home, **named.pop("env", {})}, **named)


@sentence("fussy-sign adds a signature to a signed package, in place: gpg finds both, content and first signature are untouched")
def _(t):
    for form in ([], ["--armor"]):
        path = package(t, "-k", ONE, *form)
        before = content(path)
        plain, signers = seen_by_gpg(path)
        equal(signers, [Homes.get().one])
        done = sign(t, "-k", TWO, path)
        equal(done.code, 0, repr(done))
        equal(done.out.strip(), path)
        only(t, path)
        both, signers = seen_by_gpg(path)
        equal(both, plain)
        equal(signers, sorted([Homes.get().one, Homes.get().two]))
        if form:
            check(content(path).startswith(b"-----BEGIN PGP MESSAGE-----"), "it was armored")
        else:
            check(before[-100:] in content(path), "the first signature is another")
        os.unlink(path)


@sentence("a further signature goes onto what gpg has signed, and several at once")
def _(t):
    homes = Homes.get()
    plain = content(archive(t))
    path = t.write("gpg-made.tar.gz.gpg", homes.vendor.must("--local-user", ONE, "--sign", stdin=plain))
    homes.vendor.make("three@example.com") if b"three@example.com" not in homes.vendor.must("--list-keys") else None
    equal(sign(t, "-k", TWO, "-k", "three@example.com", path).code, 0)
    seen, signers = seen_by_gpg(path)
    equal(seen, plain)
    equal(len(signers), 3)


@sentence("attack: content that was changed after the first signature gets no second one")
def _(t):
    path = package(t, "-k", ONE)
    octets = bytearray(content(path))
    octets[len(octets) // 2] ^= 1
    t.write(path, bytes(octets))
    done = sign(t, "-k", TWO, path)
    equal(done.code, 20, repr(done))
    check("match" in done.err, done.err)
    equal(content(path), bytes(octets))
    only(t, path)


@sentence("no further signature: by the same key, onto a stranger's, an encrypted or an unsigned message, or with recipients")
def _(t):
    homes = Homes.get()
    path = package(t, "-k", ONE)
    before = content(path)
    for argv, code, words in ((["-k", ONE], 2, "already"), (["-k", TWO, "-e", DEVICE], 2, "only be signed"),
                              (["-k", "nobody@example.com"], 20, "no such key")):
        done = sign(t, *argv, path)
        equal(done.code, code, repr(done))
        check(words in done.err, done.err)
        equal(content(path), before)
        only(t, path)
    os.unlink(path)
    plain = b"\x1f\x8b" + bytes(1000)
    for name, made, code, words in (
            ("stranger", homes.stranger.must("--sign", stdin=plain), 20, "unknown key"),
            ("encrypted", homes.vendor.must("-r", DEVICE, "-u", ONE, "-se", stdin=plain), 2, "encrypted"),
            ("stored", homes.vendor.must("--store", stdin=plain), 20, "no signature"),
            ("clear", homes.vendor.must("-u", ONE, "--clearsign", stdin=b"text\n"), 20, ""),
            ("key", homes.vendor.must("--export", ONE), 20, "")):
        path = t.write(name, made)
        done = sign(t, "-k", TWO, path)
        equal(done.code, code, f"{name}: {done}")
        check(words in done.err, done.err)
        equal(content(path), made)
        check(not os.path.exists(path + ".part"), "a part stayed")


@sentence("fussy-sign refuses what is neither archive nor package")
def _(t):
    for text in ("just text\n", ""):
        done = sign(t, "-k", ONE, t.write("file", text))
        equal(done.code, 2, repr(done))


# ---- By gpg ------------------------------------------------------------------------------------------------------------

ALL_PROGRAMS = {"PATH": os.environ["PATH"]}


def pack_by_gpg(t, *argv, home=None, env=None):
    return t.run("fussy-pack", "--signer", "gpg", "-r", sample(t), *argv,
                 env={"GNUPGHOME": (home or Homes.get().vendor).home, **ALL_PROGRAMS, **(env or {})})


def installs(t, path):
    os.makedirs(t.at("target"), exist_ok=True)
    t.must("fussy-install", "-k", Homes.get().vendor.home, "-t", t.at("target"), path)
    equal(content(t.at("target", "current", "share", "noise")), content(t.at("firmware-1", "share", "noise")))


@sentence("--signer gpg: gpg signs, and encrypts; what it makes is read by gpg and installs")
def _(t):
    homes = Homes.get()
    for argv, signers, suffix in (
            (["-k", ONE], [homes.one], ".gpg"),
            (["-k", ONE, "-k", homes.two, "-a"], [homes.one, homes.two], ".asc"),
            (["-k", TWO, "-e", DEVICE], [homes.two], ".gpg"), (["-k", "0x" + homes.one[-16:], "-e", homes.device], [homes.one], ".gpg")):
        done = pack_by_gpg(t, *argv)
        equal(done.code, 0, repr(done))
        path = done.out.strip()
        check(path.endswith("firmware-1.tar.gz" + suffix), path)
        equal(seen_by_gpg(path)[1], sorted(signers))
        equal(content(path)[0] >> 2 == 0x21, "-e" in argv, "a session key packet in front")
        installs(t, path)
        os.unlink(path)


@sentence("--signer gpg: fussy-sign gives an unsigned archive to gpg, and says that gpg cannot add to a package")
def _(t):
    unsigned = archive(t)
    done = sign(t, "--signer", "gpg", "-k", ONE, unsigned, env=ALL_PROGRAMS)
    equal(done.code, 0, repr(done))
    only(t, unsigned + ".gpg")
    installs(t, unsigned + ".gpg")
    done = sign(t, "--signer", "gpg", "-k", TWO, unsigned + ".gpg", env=ALL_PROGRAMS)
    equal(done.code, 2)
    check("cannot add" in done.err, done.err)


@sentence("--signer gpg: a subkey that is named makes the signature, and SOURCE_DATE_EPOCH makes it reproducible")
def _(t):
    home = Gnupg(t.at("home"))
    key = home.make("sub@example.com", "ed25519", "cert", at="20200101T000000!")
    home.add(key, "ed25519", "sign", at="20200102T000000!")
    home.add(key, "ed25519", "sign", at="20200103T000000!")
    listing = home.must("--with-colons", "--with-subkey-fingerprint", "--list-keys").decode().splitlines()
    subkeys = [line.split(":")[9] for line in listing if line.startswith("fpr:")][1:]
    sample(t)
    root = t.at("firmware-1")
    for subkey in subkeys:
        made = set()
        for _ in range(2):
            path = t.must("fussy-pack", "--signer", "gpg", "-r", root, "-k", subkey,
                          env={"GNUPGHOME": home.home, "SOURCE_DATE_EPOCH": "1600000000", **ALL_PROGRAMS}).out.strip()
            made.add(content(path))
            equal(seen_by_gpg(path, home)[1], [subkey])
            os.unlink(path)
        equal(len(made), 1)


def pinentry(t, home, answer):
    """Lets a program of ours answer the agent, as a person at a card reader would."""
    script = t.write("pinentry", f"""#!/bin/sh
echo OK ready
while read -r word rest; do
  case $word in
    GETPIN) echo asked >> {t.at("asked")}; {answer};;
    BYE) echo OK; exit;;
    *) echo OK;;
  esac
done
""", 0o755)
    with open(os.path.join(home.home, "gpg-agent.conf"), "w") as f:
        f.write(f"pinentry-program {script}\n")
    home.stop()


@sentence("--signer gpg: the agent asks for PIN or passphrase, fussy never learns it")
def _(t):
    homes = Homes.get()
    pinentry(t, homes.locked, f"printf 'D %s\\nOK\\n' '{SECRET}'")
    done = pack_by_gpg(t, home=homes.locked)
    homes.locked.stop()
    equal(done.code, 0, repr(done))
    check(os.path.exists(t.at("asked")), "nobody was asked")
    equal(seen_by_gpg(done.out.strip(), homes.locked)[1], [homes.locked_key])


@sentence("--signer gpg: a wrong PIN is exit 20, a person who cancels exit 2, and nothing stays")
def _(t):
    homes = Homes.get()
    for answer, code, words in (("printf 'D wrong\\nOK\\n'", 20, "assphrase"), ("echo ERR 83886179 canceled", 2, "ancel")):
        pinentry(t, homes.locked, answer)
        done = pack_by_gpg(t, home=homes.locked)
        homes.locked.stop()
        equal(done.code, code, repr(done))
        check(words in done.err, done.err)
        only(t, None)


@sentence("--signer gpg without gpg is exit 40 and says what to install; nothing stays")
def _(t):
    done = pack_by_gpg(t, "-k", ONE, env={"PATH": t.at("no-programs")})
    equal(done.code, 40, repr(done))
    check("install GnuPG" in done.err, done.err)
    only(t, None)
    unsigned = archive(t)
    equal(sign(t, "--signer", "gpg", unsigned).code, 40)
    only(t, unsigned)


@sentence("--signer gpg: when gpg fails, its words are told, whether it reads its input or not, and nothing stays")
def _(t):
    for script, words in (("echo 'gpg: card is broken' >&2; exit 2", "card is broken"),
                          ("cat > /dev/null; echo 'gpg: late trouble' >&2; exit 2", "late trouble"),
                          ("head -c 10 > /dev/null; echo half; kill -9 $$", "signal 9")):
        t.write("programs/gpg", "#!/bin/sh\n" + script + "\n", 0o755)
        done = pack_by_gpg(t, env={"PATH": t.at("programs") + ":" + os.environ["PATH"]})
        equal(done.code, 2, repr(done))
        check(words in done.err, done.err)
        only(t, None)


@sentence("--signer gpg: unknown, ambiguous, expired and revoked names are refused before anything is packed")
def _(t):
    home = Gnupg(t.at("home"))
    good = home.make("Vendor <vendor@example.com>", "ed25519", "cert,sign")
    home.add(good, "cv25519", "encr")
    longer = home.make("Other <vendor@example.com.org>", "ed25519", "cert,sign")
    home.add(longer, "cv25519", "encr")
    old = home.make("old@example.com", "ed25519", "cert,sign", "2020-02-01", at="20200101T000000!")
    lost = home.make("lost@example.com", "ed25519", "cert,sign")
    home.add(lost, "cv25519", "encr")
    home.revoke(lost)
    for argv, words in ((["-k", "nobody@example.com"], "no such key"), (["-k", "example.com"], "several keys fit"),
                        (["-k", good, "-e", "Vendor <"], None), (["-k", old], "expired"), (["-k", lost], "revoked"),
                        (["-k", good, "-e", "nobody"], "no such key"), (["-k", good, "-e", old], "expired"),
                        (["-k", good, "-e", lost], "revoked"), (["-k", good, "-e", "example.com"], "several keys fit"),
                        (["-k", "--version"], "no such key")):
        done = pack_by_gpg(t, *argv, home=home)
        if words is None:
            equal(done.code, 0, repr(done))
            os.unlink(done.out.strip())
            continue
        equal(done.code, 20, f"{argv}: {done}")
        check(words in done.err, done.err)
        only(t, None)
    equal(pack_by_gpg(t, "-k", "vendor@example.com", home=home).code, 0)  # the exact address


@sentence("--signer gpg takes no passphrase, and needs a home, not a file of keys")
def _(t):
    equal(pack_by_gpg(t, "--passphrase-file", t.write("secret", SECRET)).code, 2)
    equal(pack_by_gpg(t, "--passphrase-fd", "0").code, 2)
    equal(pack_by_gpg(t, "--homedir", t.write("file")).code, 40)
    equal(t.run("fussy-pack", "--signer", "other", "-r", sample(t)).code, 2)
    only(t, None)


# ---- Signals -----------------------------------------------------------------------------------------------------------


def large(t):
    """What takes seconds to pack, and something to sign."""
    root = sample(t)
    t.write("firmware-1/share/large", os.urandom(12_000_000))
    return root


def told_to_end(t, number, *argv, home=None, begun="packing"):
    """Starts a command, sends it a signal when it says that it packs. @return exit status and last event."""
    running = subprocess.Popen([os.path.join(t.commands, argv[0]), *argv[1:], "--json"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": t.temporary, "GNUPGHOME": (home or Homes.get().vendor).home})
    seen = []
    for line in running.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "progress" and seen[-1]["done"] > 0:
            check(seen[-1]["phase"] == begun, seen[-1])
            running.send_signal(number)
            break
    seen += map(json.loads, running.stdout)
    equal(running.stderr.read(), b"")
    running.stdout.close(), running.stderr.close()
    return running.wait(60), seen


def programs_of(home):
    """Processes that use this home of gpg, without its agent."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                environment = f.read()
            with open(f"/proc/{pid}/comm") as f:
                name = f.read().strip()
        except OSError:  # it has ended
            continue
        if b"GNUPGHOME=" + home.home.encode() + b"\0" in environment and name != "gpg-agent":
            found.append(name)
    return found


def held(t):
    """Every file and directory below TMPDIR, and what is in it."""
    found = {}
    for parent, directories, files in os.walk(t.temporary):
        found.update({os.path.join(parent, d): None for d in directories})
        found.update({path: hashlib.sha256(content(path)).hexdigest() for path in (os.path.join(parent, f) for f in files)})
    return found


def takes_signals_itself(pid):
    """Whether a command has come so far that a signal does not simply end it."""
    with open(f"/proc/{pid}/status") as f:
        blocked = next(line.split()[1] for line in f if line.startswith("SigBlk:"))
    return bool(int(blocked, 16) >> (signal.SIGTERM - 1) & 1)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
for ignored in ENDING:  # as nohup(1) has it: what is ignored stays so in the commands, rightly
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)


@sentence("SIGINT, SIGTERM and SIGHUP end fussy-pack with exit 2, whoever signs; no part, no directory and no gpg stays")
def _(t):
    root = large(t)
    for signer in ("fussy", "gpg"):
        for number in ENDING:
            code, seen = told_to_end(t, number, "fussy-pack", "-r", root, "-c", "bzip2", "-k", ONE, "--signer", signer)
            equal((code, seen[-1]["event"], seen[-1]["code"]), (2, "error", "cancelled"), seen[-1])
            check(any("told to end" in e.get("message", "") for e in seen), seen)
            equal(os.listdir(t.temporary), [], f"{signer}, {number}")
            equal(programs_of(Homes.get().vendor), [])


@sentence("SIGINT and SIGTERM end fussy-sign with exit 2, whoever signs: the archive and an older package of that name stay")
def _(t):
    unsigned = t.must("fussy-pack", "-r", large(t), "-u", "--level", "1").out.strip()
    t.write(unsigned + ".gpg", "older")
    before = held(t)
    for argv in (["-a"], ["--signer", "gpg"], ["-e", DEVICE]):
        for number in (signal.SIGINT, signal.SIGTERM):
            code, seen = told_to_end(t, number, "fussy-sign", "-k", ONE, *argv, unsigned)
            equal((code, seen[-1]["event"], seen[-1].get("code")), (2, "error", "cancelled"), seen[-1])
            equal(held(t), before, f"{argv}, {number}")
            equal(programs_of(Homes.get().vendor), [])


@sentence("SIGINT and SIGTERM while a further signature is added end with exit 2, and the package stays as it was")
def _(t):
    path = t.must("fussy-pack", "-r", large(t), "-k", ONE, "--level", "1", env={"GNUPGHOME": Homes.get().vendor.home}).out.strip()
    before = held(t)
    for number in (signal.SIGINT, signal.SIGTERM):
        code, seen = told_to_end(t, number, "fussy-sign", "-k", TWO, path)
        equal((code, seen[-1]["event"], seen[-1].get("code")), (2, "error", "cancelled"), seen[-1])
        equal(held(t), before, number)


@sentence("--signer gpg: Ctrl-C while the agent waits for a PIN is exit 2; neither part nor gpg stays")
def _(t):
    homes = Homes.get()
    pinentry(t, homes.locked, "sleep 60")
    root = sample(t)
    for argv in (["fussy-pack", "-r", root], ["fussy-sign", archive(t)]):
        left = held(t)
        terminal = Terminal(t, *argv, "--signer", "gpg")
        until = time.monotonic() + 60
        while not os.path.exists(t.at("asked")):
            check(time.monotonic() < until, "nobody is asked")
            time.sleep(0.02)
        terminal.type(b"\x03")
        equal(terminal.end(), 2, terminal.shown.decode())
        check(b"cancelled (207)" in terminal.shown, terminal.shown.decode())
        equal(held(t), left)
        equal([p for p in programs_of(homes.locked) if p not in ("pinentry", "sleep")], [])
        os.unlink(t.at("asked"))
        homes.locked.stop()


@sentence("a signal ends the wait for a passphrase that nobody writes: exit 2, nothing is made")
def _(t):
    reading, writing = os.pipe()
    for number in ENDING:
        running = subprocess.Popen([os.path.join(t.commands, "fussy-pack"), "-r", sample(t), "-k", LOCKED, "--passphrase-fd", str(reading)],
                                   pass_fds=[reading], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   env={**os.environ, "GNUPGHOME": Homes.get().locked.home, "TMPDIR": t.temporary})
        until = time.monotonic() + 60
        while not takes_signals_itself(running.pid):
            check(time.monotonic() < until and running.poll() is None, "it does not wait")
            time.sleep(0.02)
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
        equal((running.returncode, out), (2, b""), err)
        check(b"the caller asked to stop" in err, err)
        equal(os.listdir(t.temporary), [])
    os.close(reading)
    os.close(writing)


main()
