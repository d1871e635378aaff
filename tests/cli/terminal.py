#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Terminals: -t, size, Ctrl-C, Ctrl-Z, job control, and modes that are put back."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import clitest
from clitest import marked, sleepers, state, until

tap, bvisor, work = clitest.start()
mark = clitest.Mark()


class Terminal:
    """A program on a new terminal, driven like expect(1)."""

    def __init__(self, argv, rows=30, cols=100):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            clitest.reset_signals()
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.execvp(argv[0], argv)
        self.resize(rows, cols)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, text):
        os.write(self.fd, text if isinstance(text, bytes) else text.encode())

    def expect(self, pattern, seconds=30):
        """Reads until the pattern appears; drops what was read up to its end."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern.encode(), self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return None
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                return None
            if not data:
                return None
            self.seen += data

    def modes(self):
        return termios.tcgetattr(self.fd)[:4]

    def code(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            # What nobody reads stops the writer.
            if select.select([self.fd], [], [], 0.01)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None

    def close(self):
        os.close(self.fd)


def step(t, good, what):
    tap.ok(good, what, [] if good else [repr(t.seen[-600:])])


# -t
t = Terminal([bvisor, "run", "-t", "--", "bash", "--norc", "-i"])
before = t.modes()
step(t, t.expect(r"# |\$ "), "-t: a prompt")
raw = t.modes()
step(t, not raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG), "the outer terminal is raw")
t.send("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo 'all''three'\n")
step(t, t.expect(r"/dev/pts/\d+\r\n30 100\r\nallthree"), "it is a terminal, with the size of ours")
t.resize(41, 132)
time.sleep(0.2)
t.send("stty size\n")
step(t, t.expect(r"41 132"), "a new size arrives")
m = mark.new()
t.send(f"sleep {m}; echo rc=$?\n")
until(lambda: marked(m))
t.send(b"\x03")
step(t, t.expect(r"# |\$ ") and until(lambda: not marked(m), 5) == True, "Ctrl-C kills the foreground job, not the shell")
t.send("echo still $((40+2))\n")
step(t, t.expect(r"still 42"), "which goes on")
t.send(f"sleep {m}\n")
until(lambda: marked(m))
t.send(b"\x1a")
step(t, t.expect(r"Stopped +sleep"), "Ctrl-Z stops the job")
t.send("jobs\n")
step(t, t.expect(r"\[1\]\+ +Stopped"), "jobs")
t.send("bg\n")
step(t, t.expect(r"\[1\]\+ sleep .*&"), "bg")
t.send("fg\n")
step(t, t.expect(r"sleep"), "fg")
time.sleep(0.2)
t.send(b"\x1a")
step(t, t.expect(r"Stopped +sleep"), "Ctrl-Z again")
t.send("kill -KILL %1; sleep 0.3\n")
t.send("exit 7\n")
got = t.code()
step(t, got == 7, f"exit code {got}")
step(t, not marked(m), "no process is left")
step(t, t.modes() == before, "the modes are put back")
t.close()

t = Terminal([bvisor, "run", "-t", "--", "sh", "-c", "exec cat"])
until(lambda: not t.modes()[3] & termios.ECHO)
t.send("abc\n")
step(t, t.expect(r"abc\r\nabc\r\n"), "echo once, and the copy")
t.send(b"\x04")
step(t, t.code() == 0, "Ctrl-D ends it")
t.close()

t = Terminal([bvisor, "run", "-t", "sleep", "100"])
before = t.modes()
until(lambda: not t.modes()[3] & termios.ECHO)
t.send(b"\x03")
got = t.code()
step(t, got == 130, f"Ctrl-C of a single command is 130: {got}")
step(t, t.modes() == before, "the modes are put back")
t.close()

for sig in (signal.SIGTERM, signal.SIGHUP):
    m = mark.new()
    t = Terminal([bvisor, "run", "-t", "sleep", m])
    before = t.modes()
    until(lambda: sleepers(m) and not t.modes()[3] & termios.ECHO)
    os.kill(t.pid, sig)
    got = t.code()
    step(t, got == 128 + sig and t.modes() == before and not marked(m), f"{sig.name}: {got}, modes put back")
    t.close()
t = Terminal([bvisor, "run", "-t", "sleep", "100"])
before = t.modes()
until(lambda: not t.modes()[3] & termios.ECHO)
os.kill(clitest.supervisor(t.pid), signal.SIGKILL)
got = t.code()
step(t, got == 125 and t.modes() == before, f"the supervisor is killed: {got}, modes put back")
t.close()
t = Terminal([bvisor, "run", "-t", "no-such-command"])
before = t.modes()
got = t.code()
step(t, got == 127 and b"No such file or directory\r\n" in t.seen and t.modes() == before, f"no such command: {got}")
t.close()
m = mark.new()
t = Terminal([bvisor, "run", "-t", "sleep", m])
until(lambda: sleepers(m))
t.close()
step(t, until(lambda: not marked(m)) == True, "the terminal is hung up: all is killed")
os.waitpid(t.pid, 0)

# -t without a terminal.
r = subprocess.run([bvisor, "run", "-t", "--", "sh", "-c", "tty; stty -echo; cat; echo end"], input=b"one\ntwo",
                   stdout=subprocess.PIPE, timeout=20)
tap.ok(r.returncode == 0 and re.search(rb"/dev/pts/\d+\r\n", r.stdout) and b"two" in r.stdout and r.stdout.endswith(b"end\r\n"),
       "-t without a terminal pumps stdin to its end", [repr(r)])
r = subprocess.run([bvisor, "run", "-t", "--", "sh", "-c", "seq 100000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   timeout=60)
tap.ok(r.stdout.replace(b"\r", b"") == b"".join(b"%d\n" % i for i in range(1, 100001)), "no byte of output is lost",
       [str(len(r.stdout))])
r = subprocess.run(f"'{bvisor}' run -t -- yes | head -n 2", shell=True, stdout=subprocess.PIPE, timeout=20)
tap.ok(r.stdout == b"y\r\ny\r\n", "the reader goes away", [repr(r)])

# Without -t: the guest is on our terminal, in our process group.
m = mark.new()
t = Terminal([bvisor, "run", "sleep", m])
until(lambda: sleepers(m))
time.sleep(0.1)
t.send(b"\x03")
got = t.code()
step(t, got == 130, f"Ctrl-C without -t is 130: {got}")
t.close()
t = Terminal([bvisor, "run", "--", "bash", "-c", "n=0; trap 'n=$((n+1))' INT; echo ready; for i in $(seq 50); do sleep 0.01; done; echo n=$n"])
t.expect("ready")
t.send(b"\x03")
step(t, t.expect("n=1"), "and arrives once")
t.code()
t.close()
t = Terminal([bvisor, "run", "--", "bash", "-c", "trap 'stty size' WINCH; echo ready; for i in $(seq 100); do sleep 0.01; done"])
t.expect("ready")
t.resize(20, 50)
step(t, t.expect("20 50"), "SIGWINCH without -t")
t.code()
t.close()

# An outer shell with job control, as a user has it.
m = mark.new()
os.environ["PS1"] = "$ "
t = Terminal(["bash", "--norc", "-i"])
t.expect(r"\$ ")
t.send(f"'{bvisor}' run sleep {m}\n")
until(lambda: sleepers(m))
t.send(b"\x1a")
step(t, t.expect(r"Stopped"), "the outer shell sees the job stop")
guest = sleepers(m)
step(t, guest and state(guest[0]) == "T", "the guest is stopped")
t.send("fg\n")
step(t, t.expect(r"sleep") and until(lambda: state(guest[0]) == "S"), "fg: both go on")
t.send(b"\x1a")
step(t, t.expect(r"Stopped"), "and stop again")
# As soon as the guest goes on it is stopped once more: fg's SIGCONT must not follow the Ctrl-Z.
lost = 0
for i in range(30):
    t.send("fg\n")
    until(lambda: state(guest[0]) == "S")
    t.send(b"\x1a")
    lost += not t.expect(r"Stopped", 5)
step(t, lost == 0, "fg and Ctrl-Z in quick turns")
t.send("bg\n")
step(t, until(lambda: state(guest[0]) == "S"), "bg")
t.send("kill %1; wait\n")
step(t, until(lambda: not marked(m)) == True, "kill %1")
t.send(f"HOME={work} '{bvisor}' shell\n")
step(t, t.expect(r"[#$] "), "bvisor shell")
t.send("echo $((6*7)); case $- in *i*) echo inter''active; esac; test -t 0 && echo on a ter''minal\n")
step(t, t.expect("42\r\ninteractive\r\non a terminal"), "is an interactive shell on a terminal")
t.send("exit\n")
t.expect(r"exit\r\n")
t.expect(r"\$ ")
t.send("echo rc''=$?\n")
step(t, t.expect("rc=0"), "and ends")
t.send("exit\n")
t.code()
t.close()
r = subprocess.run([bvisor, "shell"], input=b"test -t 0 || echo piped; exit 5\n", stdout=subprocess.PIPE, timeout=20)
tap.ok(r.returncode == 5 and r.stdout == b"piped\n", "bvisor shell reads a script from a pipe", [repr(r)])
raise SystemExit(tap.done())
