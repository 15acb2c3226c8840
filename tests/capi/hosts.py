"""The example hosts at work: the agents on their sockets, Python through ctypes."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples", "python"))
from sentences import Workspace, check, equal, main, sentence  # noqa: E402

LIBRARY = os.environ["FUSSY_LIBRARY"]
if LIBRARY:
    import fussy  # noqa: E402

AGENTS = os.environ["FUSSY_AGENTS"].split(":")


class Vendor(Workspace):
    """With packages `fw-1` and `fw-2`, one whose hook fails, one that is big, and one signed by a stranger."""

    shared = None

    def __init__(self):
        super().__init__()
        if not Vendor.shared:
            Vendor.shared = tempfile.mkdtemp(prefix="fussy-test-vendor-")
            self.make_packages()
        self.keys = Vendor.shared + "/keys"
        self.target = self.at("target")
        os.mkdir(self.target)

    def make_packages(self):
        for who in ("vendor", "stranger"):
            self.gpg(who, "--passphrase", "", "--quick-gen-key", f"{who} <{who}@example.org>", "ed25519", "sign", "never")
        os.mkdir(Vendor.shared + "/keys")
        self.gpg("vendor", "--output", Vendor.shared + "/keys/vendor.gpg", "--export")
        self.make("fw-1")
        self.make("fw-2", "echo welcome")
        self.make("fw-bad", "echo out of luck; exit 9")
        self.make("fw-slow", "sleep 1")
        self.make("fw-strange", who="stranger")

    def gpg(self, who, *arguments):
        home = f"{Vendor.shared}/{who}"
        os.makedirs(home, 0o700, exist_ok=True)
        self.must("gpg", "--homedir", home, "--batch", "--quiet", *arguments)

    def make(self, name, hook=None, who="vendor"):
        root = os.path.join(Vendor.shared, name)
        os.mkdir(root)
        with open(root + "/app", "w", encoding="utf-8") as f:
            f.write(name)
        with open(root + "/data", "wb") as f:
            f.write(os.urandom(2 << 20))
        if hook:
            with open(root + "/.post-install", "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n{hook}\n")
            os.chmod(root + "/.post-install", 0o755)
        self.must("tar", "-C", Vendor.shared, "-czf", root + ".tar.gz", name)
        self.gpg(who, "--output", root + ".gpg", "--sign", root + ".tar.gz")

    def package(self, name):
        return f"{Vendor.shared}/{name}.gpg"

    def current(self):
        path = self.target + "/current"
        return os.readlink(path) if os.path.islink(path) else None


class Agent:
    """An agent that runs on a socket."""

    def __init__(self, t, program):
        self.t, self.path = t, t.at("agent.sock")
        self.process = subprocess.Popen([program, self.path, t.keys, t.target], stderr=subprocess.PIPE)
        for _ in range(500):
            if os.path.exists(self.path):
                break
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stderr.close()
            self.process.wait()

    def connect(self, command):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        for _ in range(100):  # the socket is there before it listens
            try:
                client.connect(self.path)
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        client.sendall(command.encode() + b"\n")
        return client

    @staticmethod
    def rest(client):
        text = b""
        while piece := client.recv(65536):
            text += piece
        client.close()
        return text.decode()

    def ask(self, command):
        return self.rest(self.connect(command))

    def install(self, package):
        client = self.connect("install")
        with open(package, "rb") as f:
            shutil.copyfileobj(f, client.makefile("wb"))
        client.shutdown(socket.SHUT_WR)
        return self.rest(client)


def each_agent(name):
    def register(function):
        for program in AGENTS:
            sentence(f"{os.path.basename(program)}: {name}")(lambda t, program=program: function(t, program))
        return function

    return register


def with_python(name):
    return sentence(name) if LIBRARY else lambda function: function


@each_agent("a package sent through the socket is installed, with progress")
def _(t, program):
    with Agent(t, program) as agent:
        said = agent.install(t.package("fw-1")).splitlines()
        equal(said[-1], "ok fw-1")
        check(any(line.startswith("progress unpacking") for line in said), said)
        check("state idle\ncurrent fw-1\nversions 1\n" in agent.ask("status"), agent.ask("status"))
        equal(agent.install(t.package("fw-2")).splitlines()[-1], "ok fw-2")
    equal(t.current(), "fw-2")
    equal(agent.process.returncode, 0, "after SIGTERM")
    check(not os.path.exists(agent.path), "the socket is left")


@each_agent("while a slow upload comes in, everybody else is served at once")
def _(t, program):
    with Agent(t, program) as agent:
        with open(t.package("fw-1"), "rb") as f:
            content = f.read()
        client = agent.connect("install")
        client.sendall(content[: len(content) // 2])
        for _ in range(10):
            begun = time.monotonic()
            said = agent.ask("status")
            check(time.monotonic() - begun < 2, "status took too long")
        check(said.startswith("state installing"), said)
        check(agent.ask("install").startswith("failed busy"), "two installs at once")
        equal(t.current(), None)
        client.sendall(content[len(content) // 2:])
        client.shutdown(socket.SHUT_WR)
        equal(agent.rest(client).splitlines()[-1], "ok fw-1")
    equal(t.current(), "fw-1")


@each_agent("a broken upload is refused, changes nothing, and the next one is welcome")
def _(t, program):
    with Agent(t, program) as agent:
        agent.install(t.package("fw-1"))
        before = sorted(os.listdir(t.target))
        client = agent.connect("install")
        with open(t.package("fw-2"), "rb") as f:
            client.sendall(f.read()[:500000])
        client.close()  # without reading: the agent must survive that, too
        for _ in range(500):
            if agent.ask("status").startswith("state idle"):
                break
            time.sleep(0.02)
        equal(sorted(os.listdir(t.target)), before)
        equal(os.listdir(t.target + "/.fussy/staging"), [])
        said = agent.install(t.package("fw-strange"))
        check(said.splitlines()[-1].startswith("failed unknown_signer"), said)
        equal(agent.install(t.package("fw-2")).splitlines()[-1], "ok fw-2")


@each_agent("a version whose hook fails is taken back, and the client is told why")
def _(t, program):
    with Agent(t, program) as agent:
        agent.install(t.package("fw-1"))
        said = agent.install(t.package("fw-bad")).splitlines()[-1]
        check(said.startswith("failed reverted") and "out of luck" in said, said)
        equal(t.current(), "fw-1")


@each_agent("cancel ends an upload that stalls")
def _(t, program):
    with Agent(t, program) as agent:
        client = agent.connect("install")
        client.sendall(b"only the beginning")
        equal(agent.ask("cancel"), "ok\n")
        said = agent.rest(client).splitlines()[-1]
        check(said.startswith("failed cancelled"), said)
        equal(agent.install(t.package("fw-1")).splitlines()[-1], "ok fw-1")


@each_agent("SIGTERM in the middle of an upload ends the agent, and leaves nothing half done")
def _(t, program):
    with Agent(t, program) as agent:
        client = agent.connect("install")
        client.sendall(b"only the beginning")
        while not agent.ask("status").startswith("state installing"):
            time.sleep(0.02)
        agent.process.send_signal(signal.SIGTERM)
        equal(agent.process.wait(20), 0)
        client.close()
    left = sorted(os.path.relpath(os.path.join(at, name), t.target) for at, folders, files in os.walk(t.target) for name in folders + files)
    # The lock and the place to unpack in are there, unless the signal came before the target was opened.
    check(left in ([], [".fussy", ".fussy/lock", ".fussy/staging"]), left)


@each_agent("a client that sends no command, or nonsense, is no danger")
def _(t, program):
    with Agent(t, program) as agent:
        check(agent.ask("make coffee").startswith("failed usage"), "nonsense was accepted")
        client = agent.connect("x" * 200)
        check("ok" not in agent.rest(client), "a long line was accepted")
        idle = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in idle:
            client.connect(agent.path)
        check(agent.ask("status").startswith("state idle"), "silent clients block the agent")
        for client in idle:
            client.close()


@with_python("Python: install, and the report as attributes")
def _(t):
    report = fussy.install(t.package("fw-1"), t.keys, t.target)
    equal((report.version, report.path, report.signers), ("fw-1", t.target + "/fw-1", 1))
    equal(t.current(), "fw-1")


@with_python("Python: a refusal is an exception with status and message")
def _(t):
    try:
        fussy.install(t.package("fw-strange"), t.keys, t.target)
        raise AssertionError("it was installed")
    except fussy.Error as e:
        equal(e.status, "unknown_signer")
        check("; " in str(e), str(e))
        equal(e.report.version, "")


@with_python("Python: a session with callbacks, from an open file and from a pipe")
def _(t):
    lines, phases = [], []
    with fussy.Session(t.keys, t.target, log=lambda level, line: lines.append(line),
                       progress=lambda phase, done, total: phases.append(phase)) as session:
        with open(t.package("fw-1"), "rb") as f:
            equal(session.install(f).version, "fw-1")
        with subprocess.Popen(["cat", t.package("fw-2")], stdout=subprocess.PIPE) as cat:
            equal(session.install(cat.stdout).version, "fw-2")
        session.enable("fw-1")
    equal(t.current(), "fw-1")
    check(any("welcome" in line for line in lines), lines)
    check(10 in phases, phases)


@with_python("Python: a progress callback that returns True cancels")
def _(t):
    with fussy.Session(t.keys, t.target, progress=lambda phase, done, total: True) as session:
        try:
            session.install(t.package("fw-1"))
            raise AssertionError("it was installed")
        except fussy.Error as e:
            equal(e.status, "cancelled")


@with_python("Python: as a program")
def _(t):
    done = t.must(sys.executable, fussy.__file__, t.package("fw-1"), t.keys, t.target)
    check(done.out.startswith(t.target + "/fw-1, signed by "), done.out)


@sentence("the C example for the main job: exit codes as the command's")
def _(t):
    program = os.environ["FUSSY_INSTALL_EXAMPLE"]
    equal(t.run(program, t.package("fw-1"), t.keys, t.target).code, 0)
    equal(t.run(program, t.package("fw-bad"), t.keys, t.target).code, 3)
    equal(t.run(program, t.package("fw-strange"), t.keys, t.target).code, 20)
    equal(t.run(program, t.package("fw-1"), t.keys, t.at("nowhere")).code, 40)
    equal(t.run(program).code, 2)


try:
    main(Vendor)
finally:
    if Vendor.shared:
        for name in ("vendor", "stranger"):
            subprocess.run(["gpgconf", "--homedir", f"{Vendor.shared}/{name}", "--kill", "all"], check=False)
        shutil.rmtree(Vendor.shared, ignore_errors=True)
