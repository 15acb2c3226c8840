"""How the commands behave towards people, programs and logs: on a terminal, in a pipe, with --json, --dry-run, signals."""
import contextlib
import fcntl
import glob
import io
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from packages import DEVICE_CV, ED, RSA, STRANGER, Keys, encrypted, make_package, sample, signed, target  # noqa: E402
from sentences import Skipped, check, equal, main, sentence, snapshot  # noqa: E402

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """A command with stderr on a terminal of so many columns, and stdout there, too, or in a pipe."""

    def __init__(self, t, *argv, columns=80, stdout=None, env=None):
        self.master, slave = pty.openpty()
        self.resize(columns)
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        environment.update({"TERM": "xterm", "TMPDIR": t.temporary, "PATH": t.at("no-programs"), **(env or {})})
        argv = [os.path.join(t.commands, argv[0]), *map(str, argv[1:])]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=slave if stdout is None else stdout, stderr=slave, env=environment,
            start_new_session=True)
        os.close(slave)
        self.text = ""

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_until(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            check(time.monotonic() < end, f"never came: {pattern}; got {self.text!r}")
            if not self.read(0.1):
                break
        return self

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last one has closed it
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def finish(self, seconds=60):
        end = time.monotonic() + seconds
        while self.read(0.1):
            check(time.monotonic() < end, f"does not end; got {self.text!r}")
        os.close(self.master)
        self.code = self.process.wait(seconds)
        return self

    def shown(self):
        """What stands there in the end: lines as they were overwritten and erased."""
        lines, column = [""], 0
        for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\r\n\x1b]+", self.text):
            if piece == "\n":
                lines.append("")
                column = 0
            elif piece == "\r":
                column = 0
            elif piece == "\x1b[K":
                lines[-1] = lines[-1][:column]
            elif not piece.startswith("\x1b"):
                lines[-1] = lines[-1][:column] + piece + lines[-1][column + len(piece):]
                column += len(piece)
        return [line.rstrip() for line in lines if line.strip()]

    def drawings(self):
        """Every state of the line that is redrawn, without colours."""
        return [ESCAPE.sub("", d) for d in re.findall(r"\r([^\r\n]*)\x1b\[K", self.text) if d]


def large(t, name="firmware-1", hooks=(), size=24_000_000):
    """Some megabytes that do not compress, so that there is something to show."""
    root = sample(t, name)
    t.write(f"{name}/share/large", os.urandom(size))
    for hook, script in hooks:
        t.write(f"{name}/{hook}", f"#!/bin/sh\n{script}\n", 0o755)
    return root


def installing(t, package, *more):
    return ["fussy-install", "-k", Keys.get().device, "-t", target(t), package, *more]


def events(text):
    return [json.loads(line) for line in text.splitlines()]


# ---- On a terminal -----------------------------------------------------------------------------------------------------


@sentence("on a terminal a bar shows phase, share, bytes, rate and time left; in the end it is gone, and the path stands alone on stdout")
def _(t):
    package = signed(t, large(t, hooks=[(".post-install", "sleep 1.3")], size=120_000_000))  # a rate needs some time
    with open(t.at("out"), "wb") as out:
        seen = Terminal(t, *installing(t, package), columns=100, stdout=out).finish()
    equal(seen.code, 0, seen.text)
    with open(t.at("out")) as out:
        equal(out.read(), t.at("target", "firmware-1") + "\n", "stdout")
    drawn = seen.drawings()
    bars = [d for d in drawn if re.match(r"(verifying|unpacking) +\[#*-*\] +\d+%  +[\d.]+ \w+/1\d\d\.\d MiB", d)]
    check(len(bars) >= 2, f"bars: {drawn}")
    check(any(re.search(r"[\d.]+ [KMG]iB/s  \d+:\d\d left$", b) for b in bars), f"rate and time left: {bars}")
    check(any(re.match(r"post-install +0:01", d) for d in drawn), f"time goes on in a hook: {drawn}")
    check("\x1b[32m#" in seen.text, "the bar is coloured")
    equal(seen.shown(), [], "what stays on the terminal")


@sentence("the bar keeps to the width of the window, also when that changes")
def _(t):
    package = signed(t, large(t, hooks=[(".pre-install", "sleep 1.2"), (".post-install", "sleep 1.2")]))
    seen = Terminal(t, *installing(t, package), columns=100).read_until("pre-install")
    wide = len(seen.text)
    seen.resize(12)
    seen.finish()
    equal(seen.code, 0, seen.text)
    before, after = ([d for d in re.findall(r"\r([^\r\n]*)\x1b\[K", part)] for part in (seen.text[:wide], seen.text[wide:]))
    longest = max(len(ESCAPE.sub("", d)) for d in before)
    check(40 < longest < 100, f"in 100 columns the longest has {longest}")
    after = [ESCAPE.sub("", d) for d in after[1:]]  # the first may have been drawn before
    check(after and max(map(len, after)) < 12, f"in 12 columns: {after}")


@sentence("in a pipe and on a dumb terminal there are plain lines, one for each step, without any control character")
def _(t):
    package = signed(t, sample(t))
    done = t.run(*installing(t, package))
    equal(done.code, 0, repr(done))
    wanted = ["verifying", "unpacking", "syncing"]
    equal([line.split()[1] for line in done.err.splitlines()], wanted, done.err)
    check(all(line.startswith("fussy-install: ") for line in done.err.splitlines()), done.err)
    with open(t.at("out"), "wb") as out:
        dumb = Terminal(t, *installing(t, package), stdout=out, env={"TERM": "dumb"}).finish()
    equal([line.split()[1] for line in dumb.text.splitlines()], wanted, dumb.text)
    for text in (done.err, dumb.text.replace("\r\n", "\n")):
        check(not re.search(r"[\x00-\x09\x0b-\x1f]", text), repr(text))


@sentence("NO_COLOR takes the colours and leaves the bar; set to nothing it means nothing")
def _(t):
    package = signed(t, large(t))
    plain = Terminal(t, *installing(t, package), env={"NO_COLOR": "1"}).finish()
    check(plain.drawings(), "no bar")
    check(not re.search(r"\x1b\[[0-9;]*m", plain.text), repr(plain.text))
    coloured = Terminal(t, *installing(t, package), env={"NO_COLOR": ""}).finish()
    check(re.search(r"\x1b\[[0-9;]*m", coloured.text), "no colours")


@sentence("fussy-sign shows how far it is: a bar on a terminal that only grows, one line elsewhere, progress with --json")
def _(t):
    vendor = {"GNUPGHOME": Keys.get().vendor}
    archive = t.must("fussy-pack", "-r", large(t, size=60_000_000), "-u", "--level", "1").out.strip()
    first = Terminal(t, "fussy-sign", "-k", ED, archive, columns=100, stdout=subprocess.DEVNULL, env=vendor).finish()
    package = archive + ".gpg"
    further = Terminal(t, "fussy-sign", "-k", RSA, package, columns=100, stdout=subprocess.DEVNULL, env=vendor).finish()
    for seen, total in ((first, os.path.getsize(package)), (further, 3 * os.path.getsize(package))):  # further: three passes
        equal((seen.code, seen.shown()), (0, []), seen.text)
        bars = [re.match(r"signing +\[#*-*\] +(\d+)%  +[\d.]+ \w+/([\d.]+) MiB", d) for d in seen.drawings()]
        check(bars and all(bars), seen.drawings())
        shares = [int(bar[1]) for bar in bars]
        equal(shares, sorted(shares))
        check(abs(float(bars[-1][2]) - total / (1 << 20)) < 0.2, f"{bars[-1][0]}, and it has {total}")
    again = t.must("fussy-pack", "-r", sample(t, "firmware-2"), "-u").out.strip()
    plain = t.must("fussy-sign", "-k", ED, again, env=vendor)
    check(re.fullmatch(r"fussy-sign: signing [\d.]+ KiB\n", plain.err), plain.err)
    equal(t.must("fussy-sign", "-k", RSA, again + ".gpg", "-q", env=vendor).err, "")
    third = make_package(t, t.at("firmware-2"), "-u", RSA, "--sign")
    *steps, result = events(t.must("fussy-sign", "-k", ED, third, "--json", env=vendor).out)
    counts = [(e["phase"], e["done"]) for e in steps if e["event"] == "progress"]
    check(len(counts) >= 3 and counts == sorted(counts) and {p for p, _ in counts} == {"packing"}, counts)
    equal((steps[-1]["done"], result["event"]), (steps[-1]["total"], "result"))


@sentence("an error on a terminal has what, why, hint and code one below the other, in colour; in a pipe it is one line")
def _(t):
    keys = Keys.get()
    package = make_package(t, sample(t), "-u", STRANGER, "--sign", home=keys.stranger)
    seen = Terminal(t, *installing(t, package)).finish()
    equal(seen.code, 20, seen.text)
    lines = seen.shown()
    labels = [re.match(r"fussy-install: error: |  (\s*\w+): ", line).group(0).strip() for line in lines]
    equal(labels, ["fussy-install: error:", "why:", "hint:", "code:"], lines)
    check("unknown_signer (2001)" in lines[3], lines[3])
    check("\x1b[1;31merror:\x1b[0m" in seen.text, repr(seen.text))
    piped = t.run(*installing(t, package))
    last = piped.err.splitlines()[-1]
    what, why, hint = (line.split(": ", 2 if i == 0 else 1)[-1] for i, line in enumerate(lines[:3]))
    equal(last, f"fussy-install: error: {what}: {why}; {hint} [unknown_signer 2001]")
    check("\x1b" not in piped.err, piped.err)


@sentence("attack: names in a package, in errors and in listings, tell a terminal nothing")
def _(t):
    root = sample(t)
    t.write(b"firmware-1/\x1b]0;owned\x07\xc2\x9b2J\xff".decode("utf-8", "surrogateescape"), "x")
    package = signed(t, root)
    seen = Terminal(t, "fussy-inspect", "-k", Keys.get().device, package, "--tree", env={"NO_COLOR": "1"}).finish()
    equal(seen.code, 0, seen.text)
    check("\\x1b]0;owned\\x07\\xc2\\x9b2J\\xff" in seen.text, repr(seen.text))
    check(not re.search("[\x07\x9b]|\x1b\\]", seen.text), repr(seen.text))


@sentence("--quiet says nothing but errors")
def _(t):
    package = signed(t, sample(t))
    done = t.run(*installing(t, package, "--quiet"))
    equal((done.code, done.err), (0, ""))
    seen = Terminal(t, *installing(t, package, "-q"), stdout=subprocess.DEVNULL).finish()
    equal((seen.code, seen.text), (0, ""))
    refused = t.run(*installing(t, t.write("noise", "noise"), "-q"))
    equal((refused.code, len(refused.err.splitlines())), (20, 1), refused.err)


# ---- For programs ------------------------------------------------------------------------------------------------------


@sentence("--json gives an object on each line: progress that only grows, what is logged, and the result in the end")
def _(t):
    package = encrypted(t, large(t, hooks=[(".post-install", "echo from the hook")]))
    done = t.run(*installing(t, package, "--json"))
    equal((done.code, done.err), (0, ""))
    seen = events(done.out)
    equal([e["event"] for e in seen].count("result"), 1)
    result = seen[-1]
    equal((result["event"], result["version"], result["path"], result["previous"], result["encrypted"]),
          ("result", "firmware-1", t.at("target", "firmware-1"), None, True))
    keys = Keys.get()
    equal([s["primary"] for s in result["signers"]], [keys.fingerprint(keys.vendor, ED)])
    equal(result["files"], 5, "files: app, settings, noise, large, hook")
    steps = [(e["phase"], e["done"]) for e in seen if e["event"] == "progress"]
    order = []
    for phase, _ in steps:
        if phase not in order:
            order.append(phase)
    equal(order, [p for p in ("waiting verifying unpacking syncing publishing pre-install switching post-install done").split()
                  if p in order and (p != "waiting" or order[0] == "waiting")], "order of phases")
    check({"verifying", "unpacking", "syncing", "switching", "post-install", "done"} <= set(order), order)
    size = os.path.getsize(package)
    for phase in ("verifying", "unpacking"):
        counts = [n for p, n in steps if p == phase]
        check(counts == sorted(counts) and counts[-1] == size and len(counts) > 5, f"{phase}: {counts}")
    check(all(e["total"] == size for e in seen if e.get("phase") in ("verifying", "unpacking")), "total")
    check(any(e["event"] == "log" and e["message"] == ".post-install: from the hook" and e["level"] == "INFO" for e in seen),
          "the hook's line")
    check(all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["time"]) for e in seen), "times")


@sentence("--json tells a failure with code, number, exit status and parts, and so it does for a bad command line")
def _(t):
    noise = t.write("noise", "noise\n" * 100)
    for argv, code, number in (
        (installing(t, noise), "not_openpgp", 2010),
        (installing(t, t.at("nothing")), "not_found", 210),
        (installing(t, noise, "--no-such-option"), "usage", 201),
        (["fussy-clean", "-t", target(t)], "target_unusable", 4001),
        (["fussy-recover", "-t", t.at("nowhere")], "target_unusable", 4001),
        (["fussy-unpack", "-k", Keys.get().device, noise], "not_openpgp", 2010),
        (["fussy-pack", "-r", t.at("nothing")], "not_found", 210),
        (["fussy-sign", t.at("nothing")], None, None),
    ):
        done = t.run(*argv, "--json", env={"GNUPGHOME": Keys.get().vendor})
        last = events(done.out)[-1]
        equal((last["event"], done.err), ("error", ""), argv)
        equal(last["exit_status"], done.code, argv)
        equal(last["number"] // 100, done.code, argv)
        if code:
            equal((last["code"], last["number"]), (code, number), argv)
        check(last["what"] and last["why"] and last["remedy"] and last["what"] in last["message"], last)


@sentence("--json of a failing hook has its code as the cause, and what it wrote")
def _(t):
    t.must(*installing(t, signed(t, sample(t))))
    root = sample(t, "firmware-2")
    t.write("firmware-2/.post-install", "#!/bin/sh\necho no such luck\nexit 7\n", 0o755)
    done = t.run(*installing(t, signed(t, root), "--json"))
    last = events(done.out)[-1]
    equal((done.code, last["code"], last["cause"]), (3, "reverted", "process_failed"), done.out)
    check("no such luck" in last["output"], last)


@sentence("every command with events ends them with its result")
def _(t):
    keys = Keys.get()
    vendor = {"GNUPGHOME": keys.vendor}
    root = sample(t)
    *steps, packed = events(t.must("fussy-pack", "-r", root, "-k", ED, "--json", env=vendor).out)
    equal({s.get("phase") for s in steps if s["event"] == "progress"}, {"packing"}, steps)
    equal((packed["event"], packed["signed"], packed["size"]), ("result", True, os.path.getsize(packed["path"])))
    archive = events(t.must("fussy-pack", "-r", root, "-u", "--json", env=vendor).out)[-1]
    equal(archive["signed"], False)
    made = events(t.must("fussy-sign", "-k", ED, archive["path"], "--json", env=vendor).out)[-1]
    equal((made["path"], os.path.exists(archive["path"])), (archive["path"] + ".gpg", False))
    looked = events(t.must("fussy-unpack", "-k", keys.device, made["path"], "--json").out)[-1]
    check(os.path.isfile(os.path.join(looked["path"], "bin/app")), looked)
    new = events(t.must("fussy-install-bytes", "-k", keys.device, "-t", target(t), made["path"], "--json").out)[-1]
    equal((new["version"], os.path.lexists(t.at("target", "current"))), ("firmware-1", False))
    live = events(t.must("fussy-install", "-u", "-t", target(t), "firmware-1", "--json").out)[-1]
    equal((live["version"], os.readlink(t.at("target", "current"))), ("firmware-1", "firmware-1"))
    t.must(*installing(t, made["path"]))
    equal(events(t.must("fussy-recover", "-t", target(t), "--json").out)[-1]["recovered"], "nothing")
    equal(events(t.must("fussy-clean", "-t", target(t), "--json").out)[-1]["removed"], ["firmware-1"])


@sentence("a program that stops reading the events does not stop the install")
def _(t):
    package = signed(t, large(t))
    environment = {**os.environ, "TMPDIR": t.temporary}
    argv = installing(t, package, "--json")
    running = subprocess.Popen([os.path.join(t.commands, argv[0]), *argv[1:]], stdout=subprocess.PIPE, env=environment)
    running.stdout.read(1)
    running.stdout.close()
    equal(running.wait(60), 0, "it is live, whether that could be told or not")
    equal(os.readlink(t.at("target", "current")), "firmware-1", "current")


# ---- Logs --------------------------------------------------------------------------------------------------------------


def with_logs(t, argv, journal=None, devices=None):
    """Runs a command where journald's socket, or /dev/log, is one of ours, and nothing else listens."""
    if t.run("unshare", "-m", "true").code != 0:
        raise Skipped("this needs the right to mount")
    mounts = ["mount -t tmpfs none /run"]
    if journal:
        mounts += ["mkdir -p /run/systemd/journal", f"mount --bind '{journal}' /run/systemd/journal"]
    if devices:
        mounts += [f"mount --bind '{devices}' /dev"]
    command = shlex.join([os.path.join(t.commands, argv[0]), *argv[1:]])
    return t.run("unshare", "-m", "sh", "-c", " && ".join([*mounts, f"exec {command}"]))


@contextlib.contextmanager
def listening(path):
    """A datagram socket at this path, and what it gets until nothing more comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        log.bind(path)

        def received():
            log.setblocking(False)
            got = []
            while True:
                try:
                    got.append(log.recv(1 << 20))
                except BlockingIOError:
                    return got

        yield received


def fields_of(entry):
    """Reads an entry as journald does: NAME=value, or NAME, size in 64 bits and value. A name may come once."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = struct.unpack("<Q", rest[:8])[0]
            value, entry = rest[8:8 + size], rest[8 + size:]
            check(entry[:1] == b"\n", f"no line end after {name}")
            entry = entry[1:]
        else:
            entry = rest
        check(re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), f"journald takes no such name: {name}")
        check(name.decode() not in fields, f"{name} twice")
        fields[name.decode()] = value.decode()
    return fields


@sentence("--syslog gives journald each line of the log with fields: what works on what, how far it was, and in the end its result")
def _(t):
    os.mkdir(t.at("journal"))
    root = sample(t)
    t.write("firmware-1/.post-install", "#!/bin/sh\necho hook speaks\n", 0o755)
    package = signed(t, root)
    with listening(t.at("journal", "socket")) as received:
        done = with_logs(t, installing(t, package, "--syslog", "-l", t.at("log.txt")), journal=t.at("journal"))
        equal(done.code, 0, repr(done))
        seen = [fields_of(entry) for entry in received()]
    with open(t.at("log.txt")) as f:
        logged = [line.split(None, 4) for line in f.read().splitlines()]
    equal([e["MESSAGE"] for e in seen], [message for *_, message in logged] + ["done"])
    priority = {"ERROR": "3", "WARNING": "4", "INFO": "6", "DEBUG": "7"}
    equal([e["PRIORITY"] for e in seen], [priority[level] for level, *_ in logged] + ["6"])
    for entry in seen:
        equal((entry["SYSLOG_IDENTIFIER"], entry["SYSLOG_FACILITY"]), ("fussy-install", "3"))
        equal((entry["FUSSY_TARGET"], entry["FUSSY_PACKAGE"]), (target(t), package))
    equal(len({e["SYSLOG_PID"] for e in seen}), 1)
    hook = next(e for e in seen if "hook speaks" in e["MESSAGE"])
    equal(hook["FUSSY_PHASE"], "post-install")
    check("FUSSY_STATUS" not in hook, hook)
    equal((seen[-1]["FUSSY_STATUS"], seen[-1]["FUSSY_VERSION"]), ("0", "firmware-1"))


@sentence("--syslog gives journald a failure with status, code, cause and all lines of the hook's output")
def _(t):
    os.mkdir(t.at("journal"))
    t.must(*installing(t, signed(t, sample(t))))
    root = sample(t, "firmware-2")
    t.write("firmware-2/.post-install", "#!/bin/sh\necho no such luck\necho FUSSY_STATUS=0\nexit 7\n", 0o755)
    odd = os.path.join(t.path, "odd\nFUSSY_ODD=1.gpg")  # a name may hold what would be a field of its own
    os.rename(signed(t, root), odd)
    with listening(t.at("journal", "socket")) as received:
        done = with_logs(t, installing(t, odd, "--syslog"), journal=t.at("journal"))
        equal(done.code, 3, repr(done))
        last = [fields_of(entry) for entry in received()][-1]
    equal([last[f] for f in ("PRIORITY", "FUSSY_STATUS", "FUSSY_ERROR", "FUSSY_CAUSE")], ["3", "3", "reverted", "process_failed"])
    check("no such luck\nFUSSY_STATUS=0" in last["FUSSY_OUTPUT"], last)
    equal((last["FUSSY_PACKAGE"], "FUSSY_ODD" in last), (odd, False))


@sentence("--syslog without a journald sends what the log file gets to /dev/log, with the command's name and a priority")
def _(t):
    os.mkdir(t.at("dev"))
    t.write("dev/null")
    with listening(t.at("dev", "log")) as received:
        noise = t.write("noise", "noise")
        done = with_logs(t, installing(t, noise, "--syslog", "-l", t.at("log.txt")), devices=t.at("dev"))
        equal(done.code, 20, repr(done))
        line = received()[-1].decode()
    check(re.match(r"<27>.* fussy-install\[\d+\]: ", line), line)  # facility daemon (3), severity error (3)
    with open(t.at("log.txt")) as f:
        logged = f.read().splitlines()[-1]
    equal(line.split("]: ", 1)[1].rstrip("\n\0"), re.sub(r"^ERROR fussy-install \S+ \S+ ", "", logged))


# ---- Nothing but looking -----------------------------------------------------------------------------------------------

CHANGES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink",
           "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "truncate", "ftruncate",
           "utimensat", "mknod", "mknodat", "setxattr", "fsetxattr", "lsetxattr", "flock", "fallocate", "pwrite64")


def only_looks(t, *argv, code=0):
    """Runs it, and proves by its system calls and by the tree that nothing was changed."""
    before = snapshot(t.path)
    traced = t.run("strace", "-f", "-qq", "-o", t.at("..", os.path.basename(t.path) + ".trace"), "-e",
                   "trace=open,openat,openat2,creat,execve,fork,vfork," + ",".join(CHANGES),
                   os.path.join(t.commands, argv[0]), *argv[1:], env={"ASAN_OPTIONS": "detect_leaks=0"})
    trace_file = t.path + ".trace"
    with open(trace_file) as f:
        trace = f.read().splitlines()
    os.remove(trace_file)
    equal(traced.code, code, repr(traced))
    calls = [line.split(None, 1)[1] for line in trace]
    wrong = [c for c in calls if re.match(rf"({'|'.join(CHANGES)}|creat)\(", c) or re.search(r"O_(WRONLY|RDWR|CREAT|TMPFILE)", c)]
    wrong = [c for c in wrong if '"/dev/urandom"' not in c]  # Botan opens it so, and reads
    equal(wrong, [], "calls that change something")
    equal(len([c for c in calls if c.startswith("execve(")]), 1, "programs started")
    check(any("O_RDONLY" in c for c in calls), "the trace shows nothing")
    equal(snapshot(t.path), before, "the tree")
    return traced


def two_versions(t):
    """The first is installed; of the second, one file is new, one changed, one touched, one removed, others are equal."""
    root = sample(t)
    t.write("firmware-1/etc/old", "old\n" * 1000)
    t.write("firmware-1/share/same", b"s" * 5000)
    t.must(*installing(t, signed(t, root)))
    second = t.at("firmware-2")
    shutil.copytree(root, second, symlinks=True)
    t.write("firmware-2/etc/settings", "level=4\n" * 600)
    t.write("firmware-2/new", "new\n" * 2000)
    os.utime(t.at("firmware-2", "share", "same"), (1, 1))
    os.remove(t.at("firmware-2", "etc", "old"))
    t.write("firmware-2/.post-install", "#!/bin/sh\ntouch \"$1\"/it-ran\n", 0o755)
    for d in ("", "etc", "share", "bin"):
        st = os.stat(t.at("firmware-1", d))
        os.utime(t.at("firmware-2", d), ns=(st.st_atime_ns, st.st_mtime_ns))
    return signed(t, second)


@sentence("--dry-run says what an install does then, and changes nothing: no file, no lock, no directory, no hook")
def _(t):
    package = two_versions(t)
    done = only_looks(t, *installing(t, package, "--dry-run"))
    equal(done.out, t.at("target", "firmware-2") + "\n", "stdout")
    for wanted in (r"signed by +[0-9A-F]{40} ed@example.com", r"current +firmware-1$", r"version +firmware-2$",
                   r"added +2 files, 7\.8 KiB", r"changed +1 file, 4\.7 KiB", r"touched +1 file, 4\.9 KiB",
                   r"unchanged +3 files", r"removed +1 file, 3\.9 KiB", r"needed +\d", r"free +\d", r"hooks +\.post-install$"):
        check(re.search(wanted, done.err, re.MULTILINE), f"{wanted} in {done.err}")
    said = json.loads(only_looks(t, *installing(t, package, "-n", "--json")).out.splitlines()[-1])
    result = events(t.must(*installing(t, package, "--json")).out)[-1]
    equal(said["path"], result["path"])
    changes = said["target"]["changes"]
    written = sum(changes[c]["bytes"] for c in ("added", "changed", "touched"))
    equal(written, result["written_bytes"], "bytes written")
    equal(changes["unchanged"]["files"], result["shared_files"] + 1, "shared, and the link")
    check(said["target"]["needed_bytes"] >= written, said)
    again = only_looks(t, *installing(t, package, "--dry-run"))
    equal(again.out, t.at("target", "firmware-2-1") + "\n")
    check("firmware-2-1 (firmware-2 is taken)" in again.err, again.err)


@sentence("--dry-run leaves a target that was never used as empty as it was; so does that of fussy-install-bytes")
def _(t):
    package = signed(t, sample(t))
    for command in ("fussy-install", "fussy-install-bytes"):
        done = only_looks(t, command, "-k", Keys.get().device, "-t", target(t), "--dry-run", package)
        equal((done.out, os.listdir(target(t))), (t.at("target", "firmware-1") + "\n", []))
        check("current   none" in done.err, done.err)


def bad_archive(t):
    """Signed, and with an entry that no install accepts."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        root = tarfile.TarInfo("firmware-1")
        root.type = tarfile.DIRTYPE
        tar.addfile(root)
        link = tarfile.TarInfo("firmware-1/out")
        link.type, link.linkname = tarfile.SYMTYPE, "../../etc"
        tar.addfile(link)
    keys = Keys.get()
    return t.write("bad.tar.gz.gpg", keys.gpg(keys.vendor, "-u", ED, "--sign", stdin=made.getvalue()))


@sentence("--dry-run fails as the install fails: unsigned, refused entry, missing target or key ring, spoilt current, busy")
def _(t):
    package, noise = signed(t, sample(t)), t.write("noise", "noise")
    device = Keys.get().device

    def alike(*argv, code, dry_only=()):
        dry = only_looks(t, "fussy-install", *argv, *dry_only, "--dry-run", code=code)
        real = t.run("fussy-install", *argv)
        equal((dry.code, dry.err.splitlines()[-1]), (real.code, real.err.splitlines()[-1]), argv)

    alike("-k", device, "-t", target(t), noise, code=20)
    alike("-k", device, "-t", target(t), bad_archive(t), code=21)
    alike("-k", device, "-t", t.at("nowhere"), package, code=40)
    alike("-k", t.at("nowhere"), "-t", target(t), package, code=40)
    alike("-k", device, "-t", target(t), t.at("nothing"), code=2)
    t.must(*installing(t, package))
    with open(t.at("target", ".fussy", "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dry = only_looks(t, *installing(t, package, "--dry-run"), code=2)
        check("is busy" in dry.err, dry.err)
    os.remove(t.at("target", "current"))
    os.mkdir(t.at("target", "current"))
    os.mkdir(t.at("target", "failsafe"))
    alike("-k", device, "-t", target(t), package, code=40)


@sentence("--dry-run says when there is too little space, as the install does")
def _(t):
    os.mkdir(t.at("small"))
    if t.run("mount", "-t", "tmpfs", "-o", "size=8m", "none", t.at("small")).code != 0:
        raise Skipped("this needs the right to mount")
    try:
        package = signed(t, large(t))
        argv = ["-k", Keys.get().device, "-t", t.at("small"), package]
        dry = t.run("fussy-install", *argv, "--dry-run")
        real = t.run("fussy-install", *argv)
        equal((dry.code, real.code), (2, 2), repr((dry, real)))
        for done in (dry, real):
            check(re.search(r"needed: [\d.]+ MiB and \d+ inodes, free: [\d.]+ MiB", done.err), done.err)
    finally:
        t.must("umount", t.at("small"))


@sentence("--dry-run of a stream is refused, and says why")
def _(t):
    with open(signed(t, sample(t)), "rb") as f:
        done = t.run(*installing(t, "-", "--dry-run"), stdin=f.read())
    equal(done.code, 2, repr(done))
    check("a stream can be read only once" in done.err, done.err)
    equal(os.listdir(target(t)), [])


@sentence("--dry-run of fussy-install -u says what would be enabled, and refuses what is no version")
def _(t):
    package = two_versions(t)
    t.must("fussy-install-bytes", "-k", Keys.get().device, "-t", target(t), package)
    done = only_looks(t, "fussy-install", "-u", "-t", target(t), "firmware-2", "--dry-run")
    equal(done.out, t.at("target", "firmware-2") + "\n")
    check(re.search(r"current +firmware-1$", done.err, re.MULTILINE) and ".post-install" in done.err, done.err)
    only_looks(t, "fussy-install", "-u", "-t", target(t), "firmware-3", "--dry-run", code=2)


@sentence("fussy-clean --dry-run prints what fussy-clean removes then")
def _(t):
    package = signed(t, sample(t))
    for _ in range(4):
        t.must(*installing(t, package))
    for keep in ([], ["--keep", "1"]):
        before = sorted(os.listdir(t.at("target")))
        said = only_looks(t, "fussy-clean", "-t", target(t), "--dry-run", *keep).out.splitlines()
        if keep:
            equal(len(said), 2, said)
            t.must("fussy-clean", "-t", target(t), *keep)
            equal(sorted(os.listdir(t.at("target"))), sorted(set(before) - set(said)))
        else:
            equal(len(said), 3, said)
    check("freed_bytes" in events(t.must("fussy-clean", "-t", target(t), "-n", "--json").out)[-1], "freed bytes")


@sentence("numbers below zero are usage errors: --keep, --max-ratio, --wait, --hook-timeout")
def _(t):
    package = signed(t, sample(t))
    t.must(*installing(t, package))
    for argv in (["fussy-clean", "-t", target(t), "--keep"], ["fussy-inspect", package, "--max-ratio"],
                 installing(t, package, "--max-ratio"), installing(t, package, "--wait"),
                 installing(t, package, "--hook-timeout")):
        for number in ("-1", "nobody", ""):
            done = t.run(*argv[:-1], argv[-1] + "=" + number)
            equal(done.code, 2, f"{argv}: {done}")
            check(argv[-1] in done.err and len(done.err) < 200, done.err)
    equal(sorted(os.listdir(target(t))), sorted([".fussy", "current", "firmware-1"]))


@sentence("fussy-install -u: an empty name is a usage error, and a name that is not there is said to be not there")
def _(t):
    t.must(*installing(t, signed(t, sample(t))))
    for name, words, code in (("", "its name is empty", "usage"), ("nope", "there is no such version in " + target(t), "not_found"),
                              ("/etc", "it is not inside " + target(t), "not_found")):
        done = t.run("fussy-install", "-u", "-t", target(t), name, "--json")
        equal(done.code, 2, done)
        last = events(done.out)[-1]
        equal(last["code"], code, last)
        check(words in last["why"], last)


@sentence("an empty target or key ring, an unset variable in a script, is told as such by every command")
def _(t):
    package = signed(t, sample(t))
    for argv in (["fussy-install", package], ["fussy-install-bytes", package], ["fussy-clean"], ["fussy-recover"], ["fussy-status"]):
        done = t.run(*argv, "-t", "")
        equal(done.code, 2, done)
        check("its name is empty; name the directory" in done.err, done.err)
    done = t.run("fussy-install", package, "-t", target(t), "-k", "")
    equal(done.code, 40, done)
    check("its name is empty" in done.err, done.err)


@sentence("an option that there is not is named, also when something else is missing")
def _(t):
    for command in ("fussy-install", "fussy-pack", "fussy-inspect", "fussy-lock"):
        done = t.run(command, "--bogus")
        check("--bogus" in done.err, done)


@sentence("--min-signers and --allow-signer ask for more than one signature of anybody in the key ring")
def _(t):
    keys = Keys.get()
    package = signed(t, sample(t))
    own, other = (keys.fingerprint(keys.vendor, uid) for uid in (ED, RSA))
    for command in (["fussy-install", "-t", target(t)], ["fussy-install-bytes", "-t", target(t)], ["fussy-inspect"],
                    ["fussy-unpack"]):
        argv = [command[0], "-k", keys.device, *command[1:]]
        for options, code in (["--allow-signer", other], "signer_not_allowed"), (["--min-signers", "2"], "too_few_signers"):
            refused = t.run(*argv, *options, package)
            equal(refused.code, 20, refused)
            check(f"[{code} " in refused.err and package in refused.err, refused.err)
        bad = t.run(*argv, "--allow-signer", "vendor@example.com", package)
        equal(bad.code, 2, bad)
        check("it is no fingerprint" in bad.err, bad.err)
        t.must(*argv, "--allow-signer", other, "--allow-signer", "0x" + own.lower(), "--min-signers", "1", package)


@sentence("off a terminal and in the log an error ends with its name and number, what the runbook is sorted by, and names the package")
def _(t):
    package = t.write("broken.tar.gz.gpg", "no package")
    done = t.run(*installing(t, package), "-l", t.at("log"))
    equal(done.code, 20, done)
    for text in (done.err, open(t.at("log")).read()):
        check(re.search(r" \[[a-z_]+ 20\d\d\]$", text.rstrip()), text)
        check(package in text, text)
    last = events(t.run(*installing(t, package), "--json").out)[-1]
    equal((last["path"], last["exit_status"]), (package, 20))


@sentence("fussy-pack warns of a hook that no device could run")
def _(t):
    for name, make, words in (("mode", lambda p: t.write(p, "#!/bin/sh\n", 0o644), "chmod 755"),
                              ("directory", lambda p: os.makedirs(t.at(p)), "it is no file"),
                              ("return", lambda p: t.write(p, "#!/bin/sh\r\n", 0o755), "carriage return"),
                              ("text", lambda p: t.write(p, "echo hello\n", 0o755), "no interpreter")):
        root = sample(t, name)
        make(name + "/.post-install")
        done = t.must("fussy-pack", "-u", "-r", root)
        check(".post-install will fail on every device" in done.err and words in done.err, (name, done.err))
    equal(t.must("fussy-pack", "-u", "-r", t.at("mode"), "-x", ".post-install").err.count("will fail"), 0)
    t.write("fine/.pre-install", "#!/bin/sh\n", 0o755)
    equal(t.must("fussy-pack", "-u", "-r", sample(t, "fine")).err.count("will fail"), 0)


@sentence("a key ring that anybody may write to is a warning")
def _(t):
    shutil.copytree(Keys.get().device, t.at("ring"), ignore=shutil.ignore_patterns("S.*"))
    argv = ["fussy-install", "-k", t.at("ring"), "-t", target(t), signed(t, sample(t))]
    check("anybody may write" not in t.must(*argv).err)
    os.chmod(t.at("ring"), 0o777)
    check("anybody may write to " + t.at("ring") in t.must(*argv).err)


# ---- fussy-inspect -----------------------------------------------------------------------------------------------------


def inspecting(t, package, *more, keyring=None):
    return ["fussy-inspect", "-k", keyring or Keys.get().device, "-t", target(t), package, *more]


@sentence("fussy-inspect shows signer, recipient, algorithms, sizes, hooks and what would change, and only looks")
def _(t):
    two_versions(t)
    package = make_package(t, t.at("firmware-2"), "-u", ED, "-r", DEVICE_CV, "-se", "--cipher-algo", "AES192",
                           "-z", "6", "--compress-algo", "zlib", "--digest-algo", "SHA384")
    keys = Keys.get()
    done = only_looks(t, *inspecting(t, package))
    for wanted in (r"proof +signed by a trusted key", rf"signature +valid +{keys.fingerprint(keys.vendor, ED)}  ed@example.com",
                   r"EdDSA, SHA-384, made \d{4}-\d\d-\d\d", r"encryption +AES-192, SEIPD v1 \(MDC\)",
                   r"recipient +[0-9A-F]{16}  ECDH  \(our key\)", r"compression +gzip, ZLIB around it",
                   r"contents +6 files, 1 link, 4 directories", r"hooks +\.post-install", r"current +firmware-1",
                   r"added +2 files", r"changed +1 file", r"touched +1 file", r"removed +1 file"):
        check(re.search(wanted, done.out, re.MULTILINE), f"{wanted} in {done.out}")
    tree = only_looks(t, *inspecting(t, package, "--tree")).out
    for wanted in (r"^\+ -rw-r--r-- +7\.8 KiB  firmware-2/new$", r"^\* -rw-r--r-- .*firmware-2/etc/settings$",
                   r"^t -rw-r--r-- .*firmware-2/share/same$", r"^- -rw-r--r-- .*firmware-2/etc/old$",
                   r"^  -rwxr-xr-x .*firmware-2/bin/app$", r"^  l.*firmware-2/run -> bin/app$", r"^  drwxr-xr-x +firmware-2/etc/$"):
        check(re.search(wanted, tree, re.MULTILINE), f"{wanted} in {tree}")


@sentence("fussy-inspect --json is one object with the same, and every entry with --tree")
def _(t):
    two_versions(t)
    package = make_package(t, t.at("firmware-2"), "-u", ED, "-u", RSA, "-r", DEVICE_CV, "-se")
    said = json.loads(only_looks(t, *inspecting(t, package, "--json", "--tree")).out)
    equal((said["proven"], said["error"], said["encrypted"]), (True, None, True))
    equal([s["verdict"] for s in said["signatures"]], ["valid", "valid"])
    equal(sorted(s["user_id"] for s in said["signatures"]), [ED, RSA])
    equal(len(said["signers"]), 2)
    equal([r["ours"] for r in said["recipients"]], [True])
    equal((said["cipher"], said["size"]), ("AES-256", os.path.getsize(package)))
    equal((said["content"]["root"], said["content"]["files"], said["content"]["hooks"]["post_install"]), ("firmware-2", 6, True))
    becomes = {e["path"]: e["becomes"] for e in said["tree"]}
    equal({k: becomes[f"firmware-2/{k}"] for k in ("new", "etc/settings", "share/same", "etc/old", "bin/app", "run", "bin")},
          {"new": "added", "etc/settings": "changed", "share/same": "touched", "etc/old": "removed", "bin/app": "unchanged",
           "run": "unchanged", "bin": None})
    check("tree" not in json.loads(t.must(*inspecting(t, package, "--json")).out), "the tree, unasked")


@sentence("attack: what a stranger signed is shown as untrusted, nothing in it is looked at, and the exit status is 20")
def _(t):
    keys = Keys.get()
    # No archive at all: were it parsed, the status would be 21.
    package = t.write("strange.gpg", keys.gpg(keys.stranger, "-u", STRANGER, "--sign", stdin=b"no archive\n" * 1000))
    done = only_looks(t, *inspecting(t, package), code=20)
    check(re.search(r"^proof +none, this package must not be trusted$", done.out, re.MULTILINE), done.out)
    check(re.search(rf"^signature +unknown_signer +{keys.fingerprint(keys.stranger, STRANGER)[-16:]}", done.out, re.MULTILINE), done.out)
    check("contents" not in done.out and "target" not in done.out, done.out)
    said = json.loads(only_looks(t, *inspecting(t, package, "--json"), code=20).out)
    equal((said["proven"], said["content"], said["target"], said["error"]["code"]), (False, None, None, "unknown_signer"))


@sentence("attack: content that is encrypted and not signed, or changed, or no message, is shown as such; the exit status is 20")
def _(t):
    keys = Keys.get()
    unsigned = make_package(t, sample(t), "-r", DEVICE_CV, "-e")
    said = json.loads(only_looks(t, *inspecting(t, unsigned, "--json"), code=20).out)
    equal((said["proven"], said["encrypted"], said["signatures"], said["error"]["code"], said["cipher"]),
          (False, True, [], "no_signature", None))
    with open(signed(t, sample(t, "firmware-3")), "rb") as f:
        octets = bytearray(f.read())
    octets[len(octets) // 2] ^= 1
    flipped = t.write("flipped.gpg", bytes(octets))
    said = json.loads(only_looks(t, *inspecting(t, flipped, "--json"), code=20).out)
    equal((said["proven"], said["content"]), (False, None))
    for_others = make_package(t, sample(t, "firmware-4"), "-u", ED, "-r", DEVICE_CV, "-se")
    ring = t.write("vendor.asc", keys.gpg(keys.vendor, "--export", "-a", ED))
    said = json.loads(only_looks(t, *inspecting(t, for_others, "--json", keyring=ring), code=20).out)
    equal((said["error"]["code"], [r["ours"] for r in said["recipients"]]), ("cannot_decrypt", [False]))
    equal(only_looks(t, *inspecting(t, t.write("noise", "noise")), code=20).code, 20)


@sentence("a signature by a stranger beside one by the vendor is shown, and spoils nothing")
def _(t):
    keys = Keys.get()
    both = t.at("both")
    os.mkdir(both, 0o700)
    for home, uid in ((keys.vendor, ED), (keys.stranger, STRANGER)):
        keys.gpg(both, "--import", stdin=keys.gpg(home, "--export-secret-keys", uid))
    package = make_package(t, sample(t), "-u", STRANGER, "-u", ED, "--sign", home=both)
    said = json.loads(t.must(*inspecting(t, package, "--json")).out)
    equal(sorted(s["verdict"] for s in said["signatures"]), ["unknown_signer", "valid"])
    equal([s["user_id"] for s in said["signers"]], [ED])


@sentence("fussy-inspect of a proven archive that an install refuses is exit 21 and says why; missing things are 2 and 40")
def _(t):
    done = only_looks(t, *inspecting(t, bad_archive(t)), code=21)
    check("outside of the package" in done.err and "signed by a trusted key" in done.out, repr(done))
    only_looks(t, *inspecting(t, t.at("nothing")), code=2)
    package = signed(t, sample(t))
    only_looks(t, *inspecting(t, package, keyring=t.at("nowhere")), code=40)
    equal(t.run("fussy-inspect", "-k", Keys.get().device, "-t", t.at("nowhere"), package).code, 40)
    without = t.must("fussy-inspect", "-k", Keys.get().device, package)
    if not os.path.exists("/opt/firmware"):
        check("target" not in without.out, without.out)


@sentence("a directory that takes the place of a link, and a link that leads out by another link, are seen without unpacking")
def _(t):
    def package(name, *entries):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as tar:
            for path, kind, link in [("firmware-1", tarfile.DIRTYPE, ""), *entries]:
                info = tarfile.TarInfo(path)
                info.type, info.linkname = kind, link
                tar.addfile(info)
        keys = Keys.get()
        return t.write(name, keys.gpg(keys.vendor, "-u", ED, "--sign", stdin=made.getvalue()))

    for name, entries in {
        "below-link": [("firmware-1/a", tarfile.SYMTYPE, "b"), ("firmware-1/a/c", tarfile.REGTYPE, "")],
        "twice": [("firmware-1/a", tarfile.REGTYPE, ""), ("firmware-1/a", tarfile.REGTYPE, "")],
        "by-another": [("firmware-1/d", tarfile.DIRTYPE, ""), ("firmware-1/d/up", tarfile.SYMTYPE, ".."),
                       ("firmware-1/out", tarfile.SYMTYPE, "d/up/../..")],
        "hard-link-to-nothing": [("firmware-1/a", tarfile.LNKTYPE, "firmware-1/b")],
        "two-roots": [("firmware-2/a", tarfile.REGTYPE, "")],
        "device": [("firmware-1/null", tarfile.CHRTYPE, "")],
    }.items():
        path = package(name, *entries)
        looked = only_looks(t, *inspecting(t, path), code=21)
        real = t.run(*installing(t, path))
        equal((real.code, real.err.splitlines()[-1].replace("fussy-install", "")),
              (21, looked.err.splitlines()[-1].replace("fussy-inspect", "")), name)


# ---- fussy-status ------------------------------------------------------------------------------------------------------


def children_of(process):
    return subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout


def interrupted(t):
    """An install of a second version whose hook runs, and will for long."""
    t.must(*installing(t, signed(t, sample(t))))
    root = sample(t, "firmware-2")
    t.write("firmware-2/.pre-install", "#!/bin/sh\n[ \"$2\" = True ] || exec sleep 60\n", 0o755)
    argv = installing(t, signed(t, root), "--json")
    running = subprocess.Popen([os.path.join(t.commands, argv[0]), *argv[1:]], stdout=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": t.temporary})
    for line in running.stdout:
        if json.loads(line).get("phase") == "pre-install":
            break
    end = time.monotonic() + 30
    while "sleep 60" not in children_of(running):  # said before it is started
        check(time.monotonic() < end, "the hook does not run")
        time.sleep(0.01)
    return running


@sentence("fussy-status on a terminal marks the live version, and says in the end what to do after an interruption")
def _(t):
    running = interrupted(t)
    busy = Terminal(t, "fussy-status", "-t", target(t)).finish()
    check(re.search(rf"busy +PID {running.pid} works on it", "\n".join(busy.shown())), busy.shown())
    running.kill()
    running.wait()
    running.stdout.close()
    seen = Terminal(t, "fussy-status", "-t", target(t)).finish()
    lines = seen.shown()
    equal(seen.code, 0)
    check(re.search(r"\x1b\[32mfirmware-1 ", seen.text), repr(seen.text))
    check(re.search(r"^in flight +firmware-2 \(staged\), interrupted$", "\n".join(lines), re.MULTILINE), lines)
    equal(lines[-1], "warning: an install was interrupted; run fussy-recover to finish or undo it")
    table = [line for line in lines if re.match(r"(version|firmware-\d) +", line)]
    equal(len({re.search(r"\S+$|current", line).start() for line in table[:2]}), 1, f"columns: {table}")
    check("\x1b" not in t.must("fussy-status", "-t", target(t)).out, "colours in a pipe")
    t.must("fussy-recover", "-t", target(t))
    check("warning" not in t.must("fussy-status", "-t", target(t)).out, "a warning after recovery")


@sentence("fussy-status keeps its columns when names have letters of other scripts")
def _(t):
    name = "größe-固件"
    t.must(*installing(t, signed(t, sample(t, name))))
    t.must(*installing(t, signed(t, sample(t))))
    lines = [line for line in t.must("fussy-status", "-t", target(t)).out.splitlines() if " KiB " in line]
    # Two ideographs take two columns each.
    equal({line.index(" KiB") + (2 if name in line else 0) for line in lines}.__len__(), 1, lines)


# ---- Completion --------------------------------------------------------------------------------------------------------


@sentence("zsh, asked with the tabulator at its prompt, completes options, values and files of the commands")
def _(t):
    if not shutil.which("zsh"):
        raise Skipped("zsh is not installed")
    completions = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "completions")
    t.write("package.gpg")
    master, slave = pty.openpty()
    shell = subprocess.Popen(["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=t.path,
                             env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": t.path})
    os.close(slave)

    def answer(typed, wanted):
        os.write(master, typed.encode())
        got, end = "", time.monotonic() + 30
        while not re.search(wanted, got):
            check(time.monotonic() < end, f"{typed!r}: {got!r}")
            if select.select([master], [], [], 0.2)[0]:
                got += os.read(master, 65536).decode(errors="replace")
        os.write(master, b"\x15")  # takes the line away

    try:
        answer(f"PS1=; fpath=('{completions}' $fpath); autoload -Uz compinit; compinit -u -D; print rea''dy\n", r"\nready")
        answer("fussy-install --targ\t", r"fussy-install --target ")
        answer("fussy-install --dry\t", r"fussy-install --dry-run ")
        answer("fussy-inspect --tr\t", r"fussy-inspect --tree ")
        answer("fussy-pack -c zs\t", r"fussy-pack -c zstd ")
        answer("fussy-inspect pack\t", r"fussy-inspect package\.gpg ")
    finally:
        os.close(master)
        shell.kill()
        shell.wait()


# ---- Signals -----------------------------------------------------------------------------------------------------------


@sentence("SIGINT and SIGTERM in a hook end it with all it has started; the version before is live, nothing is left over")
def _(t):
    for number in (signal.SIGINT, signal.SIGTERM):
        running = interrupted(t)
        children = children_of(running)
        running.send_signal(number)
        last = [json.loads(line) for line in running.stdout][-1]
        running.stdout.close()
        equal((running.wait(30), last["code"], last["version"], last["live"]), (2, "cancelled", "firmware-2", "firmware-1"), last)
        equal(sorted(os.listdir(target(t))), [".fussy", "current", "firmware-1"])
        equal(os.readlink(t.at("target", "current")), "firmware-1")
        for line in children.splitlines():
            check(not os.path.exists(f"/proc/{line.split()[0]}"), f"{line} still runs")
        status = json.loads(t.must("fussy-status", "-t", target(t), "--json").out)
        equal((status["in_flight"], status["current"]), (None, "firmware-1"))
        shutil.rmtree(t.at("target"))
        for name in ("firmware-1", "firmware-2"):
            shutil.rmtree(t.at(name))


@sentence("SIGINT and SIGTERM end the wait for a package on standard input that never comes")
def _(t):
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([os.path.join(t.commands, "fussy-install"), "-k", Keys.get().device, "-t", target(t), "-", "--json"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": t.temporary}) as running:
            end = time.monotonic() + 30
            while not glob.glob(t.at("target", ".fussy", "staging", "*")):  # when that is there, it reads
                check(time.monotonic() < end, "it never begins")
                time.sleep(0.02)
            time.sleep(0.2)
            running.send_signal(number)
            last = [json.loads(line) for line in running.stdout][-1]
            equal((running.wait(30), last["code"]), (2, "cancelled"), last)
        equal(sorted(os.listdir(t.at("target"))), [".fussy"])
        equal(os.listdir(t.at("target", ".fussy", "staging")), [])


def with_output(redirection, arguments, **how):
    return subprocess.run(["bash", "-c", 'set -o pipefail; exec "$@" ' + redirection, "bash", *arguments],
                          capture_output=True, text=True, **how)


@sentence("a result that nobody can read is a warning when the work is done: exit 0, whatever was asked for")
def _(t):
    install = [os.path.join(t.commands, "fussy-install"), "-k", Keys.get().device, "-t", target(t), signed(t, sample(t))]
    for option in ([], ["-q"], ["--json"]):
        for redirection, why in ((">/dev/full", "No space left"), (">&-", "Bad file descriptor"), ("| true", "")):
            done = with_output(redirection, install + option)
            equal(done.returncode, 0, done.stderr)
            check(not why or "it is done" in done.stderr and why in done.stderr, (option, redirection, done.stderr))
    check(os.readlink(t.at("target", "current")).endswith("-8"), os.readlink(t.at("target", "current")))


@sentence("fussy-pack and fussy-sign whose path cannot be printed have made the package: exit 0 and a warning")
def _(t):
    os.mkdir(t.at("out"))
    environment = {**os.environ, "TMPDIR": t.at("out"), "GNUPGHOME": Keys.get().vendor}
    done = with_output(">/dev/full", [os.path.join(t.commands, "fussy-pack"), "-u", "-q", "-r", sample(t)], env=environment)
    equal(done.returncode, 0, done.stderr)
    check("it is done" in done.stderr, done.stderr)
    archive, = glob.glob(t.at("out", "*", "*.tar.gz"))
    done = with_output(">&-", [os.path.join(t.commands, "fussy-sign"), "-q", "-k", ED, archive], env=environment)
    equal(done.returncode, 0, done.stderr)
    check("it is done" in done.stderr and os.path.exists(archive + ".gpg"), done.stderr)


@sentence("a fifo whose reader stops reading costs the log its rest, and keeps neither the install nor its end waiting")
def _(t):
    root = sample(t)
    t.write("firmware-1/.post-install", "#!/bin/sh\nyes a line that nobody reads | head -c 300000\n", 0o755)
    os.mkfifo(t.at("fifo"))
    reader = os.open(t.at("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    done = t.run(*installing(t, signed(t, root)), "-l", t.at("fifo"))
    os.close(reader)
    equal((done.code, done.err.count("the log is incomplete")), (0, 1), done.err)


@sentence("closed descriptors 0, 1 and 2 are not taken for what is opened later: the log is the log's alone")
def _(t):
    package, log = signed(t, sample(t)), t.at("log")
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = with_output(closed, [os.path.join(t.commands, "fussy-install"), "-v", "-l", log, "-k", Keys.get().device,
                                    "-t", target(t), package])
        equal(done.returncode, 0, (closed, done.stderr))
    for line in open(log).read().splitlines():
        check(re.match(r"(DEBUG|INFO|WARNING|ERROR) fussy-install \d", line), line)


@sentence("a log that cannot be written is told once, and the install goes on; a fifo that nobody reads is refused at once")
def _(t):
    install = ["-k", Keys.get().device, "-t", target(t), signed(t, sample(t))]
    done = t.run("fussy-install", "-l", "/dev/full", *install)
    equal((done.code, done.err.count("the log is incomplete"), done.err.count("No space left")), (0, 1, 1), done.err)
    os.mkfifo(t.at("fifo"))
    refused = t.run("fussy-install", "-l", t.at("fifo"), *install)
    equal(refused.code, 2, refused.err)
    check("nobody reads" in refused.err and "start its reader" in refused.err, refused.err)
    reader = subprocess.Popen(["cat", t.at("fifo")], stdout=subprocess.PIPE, text=True)
    time.sleep(0.2)
    equal(t.run("fussy-install", "-l", t.at("fifo"), *install).code, 0)
    check("INFO fussy-install" in reader.communicate(timeout=30)[0], "nothing came through the fifo")


@sentence("SIGTERM while a package is unpacked leaves the target as it was")
def _(t):
    package = signed(t, large(t))
    os.mkfifo(t.at("pipe"))
    running = subprocess.Popen([os.path.join(t.commands, "fussy-install"), "-k", Keys.get().device, "-t", target(t), t.at("pipe")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": t.temporary})
    with open(package, "rb") as f, open(t.at("pipe"), "wb") as to:
        to.write(f.read(10_000_000))
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        try:
            to.write(f.read())
        except BrokenPipeError:
            pass
    out, err = running.communicate(timeout=30)
    equal((running.returncode, out), (2, b""), err)
    check(b"told to end (Terminated), cleaning up" in err, err)
    equal(sorted(os.listdir(t.at("target"))), [".fussy"])
    equal(os.listdir(t.at("target", ".fussy", "staging")), [])


try:
    main()
finally:
    if Keys.made:
        Keys.made.space.close()
