"""fussy-lock: flock(1) and timeout(1) in one, with their exit statuses."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Workspace, check, equal, main, sentence  # noqa: E402

ENV = {"PATH": "/usr/bin:/bin"}


def lock(t, *argv, **named):
    return t.run("fussy-lock", *argv, env=ENV, **named)


def start(t, *argv, **named):
    """Starts fussy-lock and comes back when the command, which must say so, is running."""
    p = subprocess.Popen(
        [os.path.join(t.commands, "fussy-lock"), *map(str, argv)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=t.path, **named)
    equal(p.stdout.readline(), b"running\n")
    return p


def finish(p):
    out, err = p.communicate(timeout=60)
    return p.returncode, err.decode()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(pids, within=10):
    end = time.monotonic() + within
    while any(alive(p) for p in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@sentence("the command's output, input and exit status are its own")
def _(t):
    done = lock(t, "x.lock", "--", "sh", "-c", "cat; echo err >&2; exit 42", stdin=b"in")
    equal((done.code, done.out, done.err), (42, "in", "err\n"))


@sentence("the command's own options need no -- in front of it")
def _(t):
    equal(lock(t, "x.lock", "echo", "-n", "--wait", "1").out, "--wait 1")


@sentence("a -- among the command's arguments reaches it")
def _(t):
    equal(lock(t, "x.lock", "--", "echo", "a", "--", "b").out, "a -- b\n")


@sentence("while it runs the first line of the file is the PID of fussy-lock")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; read x", stdin=subprocess.PIPE)
    with open(t.at("x.lock")) as f:
        equal(f.readline(), f"{p.pid}\n")
    p.stdin.close()
    p.stdin = None
    equal(finish(p)[0], 1)  # of read


@sentence("a busy lock ends with 1, a message with the PID, and runs nothing")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 60", start_new_session=True)
    done = lock(t, "x.lock", "--", "touch", t.at("ran"))
    equal(done.code, 1)
    check(f"PID {p.pid} holds it since 20" in done.err, done.err)
    check(done.err.startswith("fussy-lock: "), done.err)
    check(not os.path.exists(t.at("ran")))
    os.killpg(p.pid, signal.SIGKILL)
    p.communicate()


@sentence("--quiet says nothing when the lock is busy; -E chooses the status")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 60", start_new_session=True)
    done = lock(t, "--quiet", "x.lock", "--", "true")
    equal((done.code, done.err), (1, ""))
    equal(lock(t, "-q", "-E", "0", "x.lock", "--", "true").code, 0)
    equal(lock(t, "-E", "75", "x.lock", "--", "true").code, 75)
    os.killpg(p.pid, signal.SIGKILL)
    p.communicate()


@sentence("--quiet does not hide other failures")
def _(t):
    done = lock(t, "--quiet", "missing/x.lock", "--", "true")
    equal(done.code, 125)
    check("missing/x.lock" in done.err, done.err)


@sentence("--wait waits that long, and gets the lock when it becomes free")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 1")
    begin = time.monotonic()
    equal(lock(t, "--wait", "0.3", "x.lock", "--", "true").code, 1)
    check(0.3 <= time.monotonic() - begin)
    equal(lock(t, "--wait", "30", "x.lock", "--", "true").code, 0)
    equal(finish(p)[0], 0)


@sentence("flock(1) and fussy-lock exclude each other")
def _(t):
    equal(lock(t, "x.lock", "--", "flock", "-n", t.at("x.lock"), "true").code, 1)
    equal(t.run("flock", t.at("x.lock"), os.path.join(t.commands, "fussy-lock"), "-q", "x.lock", "--", "true").code, 1)


@sentence("--timeout ends the whole process group and exits with 124")
def _(t):
    begin = time.monotonic()
    done = lock(t, "--timeout", "0.5", "x.lock", "--", "sh", "-c", "sleep 60 & echo $!; (sleep 60) & echo $!; sleep 60")
    took = time.monotonic() - begin
    equal(done.code, 124)
    check(0.5 <= took < 5, took)
    check("give it more time" in done.err, done.err)
    check(gone([int(p) for p in done.out.split()]), "a descendant lives")
    equal(lock(t, "x.lock", "--", "true").code, 0)
    print(f"        ended {1000 * (took - 0.5):.0f} ms after its time")


@sentence("gotcha: a descendant that ignores SIGTERM is killed, after the command itself has ended")
def _(t):
    script = "(trap '' TERM; echo started; exec sleep 60) & echo $!; sleep 60"
    done = lock(t, "-t", "0.5", "-k", "0.3", "x.lock", "--", "sh", "-c", script)
    equal(done.code, 137)
    check(gone([int(p) for p in done.out.split() if p.isdigit()], 2), "a descendant lives")


@sentence("a command that ignores SIGTERM is killed after the grace period, exit status 137")
def _(t):
    begin = time.monotonic()
    done = lock(t, "-t", "0.3", "-k", "0.4", "x.lock", "--", "sh", "-c", "trap '' TERM; while :; do sleep 60; done")
    equal(done.code, 137)
    check(time.monotonic() - begin >= 0.7)


@sentence("gotcha: a stopped command is ended as well")
def _(t):
    done = lock(t, "-t", "0.3", "x.lock", "--", "sh", "-c", "kill -STOP $$; sleep 60")
    equal(done.code, 124)


@sentence("a command that ends in time keeps its status, and what it left in the background lives")
def _(t):
    done = lock(t, "-t", "30", "x.lock", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!; exit 3")
    equal(done.code, 3)
    pid = int(done.out)
    check(alive(pid))
    os.kill(pid, signal.SIGKILL)


@sentence("the time starts when the lock is held, not before")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 1")
    equal(lock(t, "-w", "30", "-t", "0.8", "x.lock", "--", "sleep", "0.2").code, 0)
    finish(p)


@sentence("what is left in the background keeps the lock, unless --close is given")
def _(t):
    for option, status in ([], 1), (["--close"], 0):
        done = lock(t, *option, "x.lock", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
        equal(lock(t, "x.lock", "--", "true").code, status, option)
        os.kill(int(done.out), signal.SIGKILL)
        check(gone([int(done.out)]))
        equal(lock(t, "-w", "5", "x.lock", "--", "true").code, 0)


@sentence("the lock is not lost when fussy-lock is killed while the command runs")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 60", start_new_session=True)
    p.kill()
    p.wait()
    done = lock(t, "x.lock", "--", "true")
    equal(done.code, 1)
    check("holds it" in done.err, done.err)
    os.killpg(p.pid, signal.SIGKILL)
    equal(lock(t, "-w", "5", "x.lock", "--", "true").code, 0)
    p.communicate()


@sentence("signals are passed on, and a command that they end gives 128 plus the signal")
def _(t):
    for options in [], ["-t", "60"]:
        p = start(t, *options, "x.lock", "--", "sh", "-c", "trap 'exit 9' USR1; echo running; while :; do sleep 0.1; done")
        p.send_signal(signal.SIGUSR1)
        equal(finish(p)[0], 9)
        p = start(t, *options, "x.lock", "--", "sh", "-c", "echo running; exec sleep 60")
        p.send_signal(signal.SIGTERM)
        equal(finish(p)[0], 128 + signal.SIGTERM)


@sentence("the command gets the signal mask and the ignored signals of the caller")
def _(t):
    def prepare():
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def status(*argv):
        out = subprocess.run(argv, capture_output=True, cwd=t.path, preexec_fn=prepare, check=True).stdout.decode()
        return [line for line in out.splitlines() if line.startswith(("SigBlk", "SigIgn"))]

    plain = status("cat", "/proc/self/status")
    equal(status(os.path.join(t.commands, "fussy-lock"), "-t", "9", "x.lock", "--", "cat", "/proc/self/status"), plain)


@sentence("gotcha: a caller that ignores SIGCHLD gets the command's status all the same, and the command ignores it as well")
def _(t):
    def deaf(*command):
        return subprocess.run(
            [os.path.join(t.commands, "fussy-lock"), "x.lock", "--", *command], capture_output=True, cwd=t.path, timeout=20,
            check=False, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))

    equal(deaf("sh", "-c", "exit 42").returncode, 42)
    ignored = int(deaf("grep", "SigIgn", "/proc/self/status").stdout.split()[1], 16)
    check(ignored & 1 << (signal.SIGCHLD - 1), hex(ignored))


@sentence("a command that is missing is 127, one that cannot be run 126")
def _(t):
    equal(lock(t, "x.lock", "--", "nosuchcommand").code, 127)
    t.write("script", "#!/bin/sh\n", 0o644)
    equal(lock(t, "x.lock", "--", t.at("script")).code, 126)


@sentence("failures of its own are 125 and say what to do")
def _(t):
    for argv in [], ["x.lock"], ["x.lock", "--"], ["-w", "soon", "x.lock", "true"], ["-t", "-1", "x.lock", "true"], [
            "--nonsense", "x.lock", "true"], ["missing/x.lock", "true"], ["-E", "256", "x.lock", "true"]:
        done = lock(t, *argv)
        equal(done.code, 125, argv)
        check(done.err.startswith("fussy-lock: ") and done.err.count("\n") == 1, done.err)


@sentence("--help and --version succeed")
def _(t):
    check("COMMAND" in t.must("fussy-lock", "--help").out)
    check(t.must("fussy-lock", "--version").out.startswith("fussy-lock "))


@sentence("two hundred runs at once: each waits its turn, none overlaps")
def _(t):
    script = "[ ! -e busy ] || echo overlap >> overlaps; : > busy; echo x >> turns; rm busy"
    all_of_them = [
        subprocess.Popen([os.path.join(t.commands, "fussy-lock"), "-w", "200", "x.lock", "--", "sh", "-c", script], cwd=t.path)
        for _ in range(200)
    ]
    equal({p.wait() for p in all_of_them}, {0})
    check(not os.path.exists(t.at("overlaps")))
    with open(t.at("turns")) as f:
        equal(len(f.readlines()), 200)


@sentence("in another PID and mount namespace the lock is the same, and its holder is named as of another namespace")
def _(t):
    p = start(t, "x.lock", "--", "sh", "-c", "echo running; sleep 60", start_new_session=True)
    inside = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", os.path.join(t.commands, "fussy-lock"), "x.lock", "true"]
    if os.geteuid() != 0:
        inside[1:1] = ["--user", "--map-root-user"]
    done = t.run(*inside, env=ENV)
    if "unshare" in done.err:
        from sentences import Skipped
        os.killpg(p.pid, signal.SIGKILL)
        raise Skipped(done.err)
    equal(done.code, 1)
    check(f"PID {p.pid} of another PID namespace" in done.err, done.err)
    os.unlink(t.at("x.lock"))
    equal(t.run(*inside, env=ENV).code, 1, "with the file deleted")
    os.killpg(p.pid, signal.SIGKILL)
    p.communicate()


main(Workspace)
