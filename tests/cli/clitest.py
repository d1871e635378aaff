# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share, over tests/guest/harness.py."""
import argparse
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
import harness  # noqa: E402

SLOW = harness.SLOW  # how much longer an emulated machine may take

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


class Tap(harness.Tap):
    """Says more only of what failed."""

    def ok(self, good, what, notes=()):
        return super().ok(bool(good), what, () if good else notes)


def start():
    """The TAP printer, the bvisor under test, and a directory that a sandbox sees."""
    p = argparse.ArgumentParser()
    p.add_argument("--bvisor")
    p.add_argument("--build")
    args = p.parse_args()
    return Tap(), harness.bvisor(args), harness.workdir(args.build)


def processes():
    """Every process: (pid, parent, state, name, command line)."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                stat = f.read()
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                cmdline = f.read()
        except OSError:
            continue
        name, rest = stat[stat.index(b"(") + 1:stat.rindex(b")")], stat[stat.rindex(b")") + 2:].split()
        yield int(pid), int(rest[1]), rest[0].decode(), name.decode(errors="replace"), cmdline


def marked(mark):
    """Living processes whose command line has the argument `mark`."""
    return [p for p, _, state, _, cmd in processes() if state != "Z" and mark.encode() in cmd.split(b"\0")]


def sleepers(mark):
    """The sleep(1) among them: what has been executed, inside or out."""
    return [p for p, _, state, name, cmd in processes() if name == "sleep" and state != "Z" and mark.encode() in cmd.split(b"\0")]


def children(pid):
    return [p for p, parent, _, _, _ in processes() if parent == pid]


def supervisor(front):
    """The pid of the front's supervisor, once it has got its name."""
    def find():
        return [p for p, parent, state, name, _ in processes()
                if parent == front and name == "bvisor-sup" and state != "Z"]
    return until(find, 30)[0]


def until(what, seconds=20.0):
    """Waits until what() is true, and returns it; what it last was when the time is over."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.005)


def state(pid):
    for p, _, s, _, _ in processes():
        if p == pid:
            return s
    return None


def reset_signals():
    """What a shell gives a command, whatever the test runner ignores."""
    for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGPIPE):
        signal.signal(sig, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Mark:
    """Numbers for sleep(1) that name the processes of one step of one test."""

    def __init__(self):
        self.n = 0

    def new(self):
        self.n += 1
        return f"{3000 + self.n}.{os.getpid():07d}"


def popen(argv, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    kw.setdefault("preexec_fn", reset_signals)
    return subprocess.Popen(argv, **kw)


def code(p, timeout=60):
    """Exit code in the manner of a shell; None when it does not end."""
    try:
        r = p.wait(timeout * harness.SLOW)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        return None
    return 128 - r if r < 0 else r
