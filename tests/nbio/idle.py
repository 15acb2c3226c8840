"""An idle run does not wake up: strace sees no system call of any of our threads while nothing happens."""
import os
import re
import subprocess
import sys
import tempfile

IDLE = 1.5  # seconds, of the two that its processes sleep
SKIP = 77

# NUMBER TIME CALL(…) = RESULT <DURATION>, or the start of a call that another thread interrupts, or its end.
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)[( ].*?(?:<(\d+\.\d+)>)?$")


def calls(trace):
    """Calls of our threads as (thread, begin, end, name)."""
    open_calls, done = {}, []
    for line in trace:
        found = LINE.match(line)
        if not found:
            continue
        thread, time, name, duration = found.groups()
        time = float(time)
        if "resumed>" in line:
            begin = open_calls.pop((thread, name), time)
            done.append((thread, begin, time, name))
        elif "<unfinished" in line:
            open_calls[(thread, name)] = time
        elif duration:
            done.append((thread, time, time + float(duration), name))
    return done


def main(program):
    with tempfile.NamedTemporaryFile("r") as log:
        # Without the processes of the run: those do not share our memory, and are detached at their exec.
        try:
            subprocess.run(["strace", "-f", "-b", "execve", "-ttt", "-T", "-qq", "-o", log.name, program], check=True,
                           env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})  # cannot run below strace
        except (FileNotFoundError, subprocess.CalledProcessError) as why:
            if subprocess.run([program]).returncode:
                sys.exit("the run itself fails")
            print("strace cannot be used here:", why)
            sys.exit(SKIP)
        seen = calls(log)
    waits = [c for c in seen if c[3] in ("epoll_wait", "epoll_pwait") and c[2] - c[1] > IDLE]
    if not waits:
        sys.exit("no single wait spans the time in which nothing happens")
    begin, end = waits[0][1], waits[0][2]  # on a busy machine a thread of ours may go to sleep a little later
    busy = [c for c in seen if begin + 0.5 < c[1] < end - 0.1]
    if busy:
        sys.exit("woke up: " + ", ".join(f"{name} of {thread} after {at - begin:.3f} s" for thread, at, _, name in busy[:5]))
    print(f"one wait of {end - begin:.3f} s, no system call within; {len(seen)} calls in all")


main(sys.argv[1])
