"""Tests whose names are sentences, for what is tested through commands. Prints a count as the doctest programs do.

    @sentence("a package signed by an unknown key is refused")
    def _(t): ...

`t` is a Workspace: a temporary directory that is gone in the end, keys made once a run, and ways to call commands.
A substring of names as first argument runs only those.
"""
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

TESTS = []


def sentence(name):
    def register(function):
        TESTS.append((name, function))
        return function

    return register


class Skipped(Exception):
    """Raised by a test that cannot run here; the message says why."""


def check(condition, message="check failed"):
    if not condition:
        raise AssertionError(message)


def equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}\n{difference(got, wanted)}")


def difference(got, wanted):
    if isinstance(got, str) and isinstance(wanted, str) and max(got.count("\n"), wanted.count("\n")) > 10:
        shown = "\n".join(difflib.unified_diff(wanted.splitlines(), got.splitlines(), "wanted", "got", lineterm="", n=1))
        if shown:  # else they differ in how lines end
            return shown
    return f"     got: {got!r}\n  wanted: {wanted!r}"


class Finished:
    """What a command that has ended left."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def __repr__(self):
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


def snapshot(directory):
    """Everything below a directory that a user could see: kinds, modes, sizes, times, link texts, contents."""
    seen = {}
    for parent, dirs, files in os.walk(directory):
        for name in dirs + files:
            path = os.path.join(parent, name)
            st = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    content = f.read()
            seen[os.path.relpath(path, directory)] = (oct(st.st_mode), st.st_ino, st.st_mtime_ns, content)
    return seen


class Endless(Exception):
    """A test has not ended in time."""


def end_endless(*_):
    if shutil.which("ps"):  # what hangs is seldom ourselves
        processes = subprocess.run(["ps", "-eo", "pid,ppid,stat,wchan:20,args", "--forest"], capture_output=True).stdout
        print(processes.decode(errors="replace"))
    raise Endless


class Workspace:
    commands = os.environ.get("FUSSY_COMMANDS", "")
    # What a test may take: it fails with a trace then, and the others still run. Long ones have their whole time.
    seconds = 0 if os.environ.get("FUSSY_LONG_TESTS") or "--long" in sys.argv else 400

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="fussy-test-")
        self.temporary = self.at("tmp")
        os.mkdir(self.temporary)

    def at(self, *parts):
        return os.path.join(self.path, *parts)

    def write(self, path, content="", mode=0o644):
        path = self.at(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def run(self, *argv, env=None, stdin=b"", cwd=None, timeout=120):
        """Runs a program. A fussy-* command is taken from the build and sees no other program: PATH is empty."""
        argv = [str(a) for a in argv]
        environment = dict(os.environ)
        if os.path.basename(argv[0]).startswith("fussy-"):
            argv[0] = os.path.join(self.commands, argv[0])
            environment["PATH"] = self.at("no-programs")
        environment["TMPDIR"] = self.temporary
        for name, value in (env or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return Finished(
            subprocess.run(argv, input=stdin, capture_output=True, env=environment, cwd=cwd or self.path, timeout=timeout)
        )

    def must(self, *argv, **named):
        done = self.run(*argv, **named)
        check(done.code == 0, f"{' '.join(map(str, argv))}: {done}")
        return done

    def close(self):
        for entry in os.scandir(self.path):
            if entry.is_dir() and os.path.isdir(os.path.join(entry.path, "private-keys-v1.d")):
                subprocess.run(["gpgconf", "--homedir", entry.path, "--kill", "all"], capture_output=True)
        shutil.rmtree(self.path, ignore_errors=True)


def main(workspace=Workspace):
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    passed = failed = skipped = 0
    signal.signal(signal.SIGALRM, end_endless)
    for name, function in TESTS:
        if only not in name:
            continue
        t = None
        signal.alarm(workspace.seconds)
        try:
            t = workspace()
            function(t)
            passed += 1
        except Skipped as why:
            skipped += 1
            print(f"skipped: {name}: {why}")
        except Exception:  # a test may fail in any way
            failed += 1
            print(f"FAILED: {name}")
            traceback.print_exc(file=sys.stdout)
        finally:
            signal.alarm(0)
            if t:
                t.close()
    print(f"test cases: {passed + failed} | {passed} passed | {failed} failed | {skipped} skipped")
    sys.exit(1 if failed or passed + failed == 0 else 0)
