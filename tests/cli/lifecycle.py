#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signals, stops, and the deaths of guest, supervisor and front."""
import os
import select
import signal
import subprocess
import time

import clitest
from clitest import children, code, harness, marked, popen, sleepers, state, supervisor, until

tap, bvisor, work = clitest.start()
mark = clitest.Mark()


def run(script, *options, errors=subprocess.PIPE, **kw):
    return popen([bvisor, "run", *options, "--", "bash", "-c", script], stdout=subprocess.PIPE, stderr=errors,
                 start_new_session=True, **kw)


def line(p, seconds=30):
    """The next line of output; what there is of it at the end, or when the time is over."""
    text, end = b"", time.monotonic() + seconds
    while not text.endswith(b"\n"):
        if not select.select([p.stdout], [], [], max(0, end - time.monotonic()))[0]:
            break
        byte = os.read(p.stdout.fileno(), 1)
        if not byte:
            break
        text += byte
    return text.decode().strip()


class Flag:
    """A file that guests wait for."""

    def __init__(self):
        self.path = os.path.join(work, "flag")
        self.wait = f"until [ -e {self.path} ]; do sleep 0.02; done"

    def __enter__(self):
        return self

    def set(self):
        open(self.path, "w").close()

    def __exit__(self, *_):
        os.unlink(self.path)


def gone(m, seconds=5.0):
    """Whether no process with the mark is left within that time."""
    until(lambda: not marked(m), seconds)
    return not marked(m)


# The end of the guest.
m = mark.new()
t = time.monotonic()
p = run(f"sleep {m} & setsid sleep {m} & (sleep {m} & disown) & sleep 0.2; exit 4")
tap.ok(code(p) == 4 and not marked(m), "background guests are killed at the end", [str(marked(m))])
tap.ok(time.monotonic() - t < 30, "at once")
m = mark.new()
p = run(f"(trap '' TERM HUP INT; sleep {m}) & exec sleep {m}")
until(lambda: len(marked(m)) == 2)
p.send_signal(signal.SIGTERM)
tap.ok(code(p) == 143 and not marked(m), "also those that ignore signals")
flag = os.path.join(work, "late")
p = run(f"(sleep 0.5; echo late) & exit 5", "--wait-all")
out, _ = p.communicate(timeout=20)
tap.ok(p.returncode == 5 and out == b"late\n", "--wait-all waits for them", [repr(out), str(p.returncode)])
p = run("(setsid sh -c 'sleep 0.5; echo daemon' &) ; exit 6", "--wait-all")
out, _ = p.communicate(timeout=20)
tap.ok(p.returncode == 6 and out == b"daemon\n", "and for daemons", [repr(out)])

# Signals that are sent to the front.
for sig, name in ((signal.SIGTERM, "TERM"), (signal.SIGINT, "INT"), (signal.SIGHUP, "HUP"), (signal.SIGQUIT, "QUIT"),
                  (signal.SIGUSR1, "USR1"), (signal.SIGUSR2, "USR2"), (signal.SIGWINCH, "WINCH"), (signal.SIGALRM, "ALRM"),
                  (signal.SIGRTMIN + 1, "RTMIN+1")):
    with Flag() as flag:
        p = run(f"trap 'echo got' {name}; echo ready; {flag.wait}; echo end; exit 9")
        seen = [line(p)]
        p.send_signal(sig)
        seen.append(line(p))
        time.sleep(0.2)
        flag.set()
        seen.append(line(p))
        tap.ok(seen == ["ready", "got", "end"] and code(p) == 9, f"SIG{name} is passed on, once", [str(seen)])
for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    m = mark.new()
    p = popen([bvisor, "run", "sleep", m], start_new_session=True)
    until(lambda: sleepers(m))
    p.send_signal(sig)
    tap.ok(code(p) == 128 + sig and not marked(m), f"death by {sig.name} is 128+{int(sig)}", [str(p.returncode)])
# Immediately: no moment may exist in which it gets lost.
codes = []
for i in range(40):
    m = mark.new()
    p = popen([bvisor, "run", "sleep", m], start_new_session=True)
    time.sleep(i * 0.0005)
    p.send_signal(signal.SIGTERM)
    codes.append(code(p))
early = [c for c in codes if c != 143]
tap.ok(not early, "SIGTERM at any moment of the start", [str(codes)])
p = run("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.01; done")
line(p)
p.send_signal(signal.SIGTERM)
tap.ok(line(p) == "got" and code(p) == 3, "a guest may handle SIGTERM")

# The supervisor does not get what the terminal sends.
with Flag() as flag:
    p = run(f"echo ready; {flag.wait}; echo alive")
    line(p)
    sup = supervisor(p.pid)
    tap.ok(until(lambda: os.getsid(sup) == sup), "the supervisor has a session of its own")
    tap.ok([os.getpgid(c) for c in children(sup)] == [p.pid], "the guest is in the front's process group")
    for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGPIPE):
        os.kill(sup, sig)
    time.sleep(0.1)
    flag.set()
    tap.ok(line(p) == "alive" and code(p) == 0, "and survives the terminal's signals")

# nohup(1).


def ignore_hup():
    clitest.reset_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


with Flag() as flag:
    p = run(f"echo ready; {flag.wait}; echo survived", preexec_fn=ignore_hup)
    line(p)
    os.killpg(p.pid, signal.SIGHUP)
    time.sleep(0.1)
    flag.set()
    tap.ok(line(p) == "survived" and code(p) == 0, "an ignored SIGHUP stays ignored, inside too")

# Stops.
p = run("echo $$; kill -TSTP $$; echo on")
line(p)
# In an orphaned group (a session of its own) SIGTSTP does nothing, here as natively.
tap.ok(line(p) == "on" and code(p) == 0, "SIGTSTP in an orphaned group does not stop")


def job(script):
    """A job of a shell: a process group of its own, with a parent in the same session."""
    return popen([bvisor, "run", "--", "bash", "-c", script], stdout=subprocess.PIPE, process_group=0)


for how in ("STOP", "TSTP", "TTIN", "TTOU"):
    p = job(f"echo ready; kill -{how} $$; echo on; exit 2")
    line(p)
    tap.ok(until(lambda: state(p.pid) == "T"), f"the front stops with the guest: SIG{how}")
    p.send_signal(signal.SIGCONT)
    tap.ok(line(p) == "on" and code(p) == 2, "SIGCONT to the front makes both go on")
codes = []
for i in range(30):
    p = job(f"while sleep 0.0{i}; do kill -CONT $$; done & kill -STOP $$; exit 8")
    codes.append(code(p))
tap.ok(set(codes) == {8}, "a guest that is continued by another takes the front along", [str(codes)])
p = job("echo ready; kill -STOP $$")
line(p)
until(lambda: state(p.pid) == "T")
os.kill(children(supervisor(p.pid))[0], signal.SIGKILL)
tap.ok(code(p) == 137, "a stopped guest is killed: the front ends")

# The death of the supervisor.


def kill_supervisor(how):
    """Starts guests of several kinds and kills their supervisor: exit code, seconds, survivors."""
    m = mark.new()
    p = run(f"trap '' TERM; for i in 1 2 3; do sleep {m} & done; setsid sleep {m} & (trap '' HUP; sleep {m} & disown) & "
            f"while :; do sleep {m}; done")
    until(lambda: len(marked(m)) >= 6, 30)
    sup = supervisor(p.pid)
    t = time.monotonic()
    subprocess.run(["kill", how, str(sup)], check=True)
    ended = code(p)
    took = time.monotonic() - t
    return ended, took, marked(m), p.stderr.read()


for how in ("-KILL", "-ABRT"):
    tries = [kill_supervisor(how)]
    while tries[-1][1] >= 1.0 and len(tries) < 3:  # the machine may be busy
        tries.append(kill_supervisor(how))
    tap.ok([t[0] for t in tries] == [125] * len(tries) and tries[-1][1] < 1.0,
           f"supervisor killed by {how}: the front ends with 125 within 1 s", [str(tries)])
    tap.ok(not any(t[2] for t in tries), "and no guest is left", [str(tries)])
    tap.ok(all(b"the supervisor was killed by signal" in t[3] for t in tries), "and says so", [str(tries)])
# Also a guest that forks as fast as it can.
m = mark.new()
p = run(f"f() {{ while :; do sleep {m} & done; }}; f & f & echo ready; wait", errors=subprocess.DEVNULL)
line(p)
time.sleep(0.2)
os.kill(supervisor(p.pid), signal.SIGKILL)
tap.ok(code(p, 10) == 125 and gone(m), "a forking guest does not get away", [str(len(marked(m)))])

# The death of the front.
m = mark.new()
p = run(f"trap '' TERM HUP; sleep {m} & setsid sleep {m} & echo ready; while :; do sleep {m}; done")
line(p)
sup = supervisor(p.pid)
p.send_signal(signal.SIGKILL)
tap.ok(gone(m) and until(lambda: state(sup) in (None, "Z"), 2), "the front is killed: guests and supervisor go", [str(marked(m))])
code(p)

# Children that were there before an exec of bvisor are not its business.
m = mark.new()
p = popen(["bash", "-c", f'sleep {m} & exec "$0" run -- true', bvisor], start_new_session=True)
tap.ok(code(p) == 0, "run by exec in a process that has children")
tap.ok(len(marked(m)) == 1, "leaves them alone")
p = popen(["bash", "-c", f'sleep {m} & exec "$0" run -- sleep {m}', bvisor], start_new_session=True)
until(lambda: len(sleepers(m)) == 3)
subs = [pid for c in children(p.pid) for pid in children(c)]  # below a process that stands between
os.kill(next(pid for pid, _, _, name, _ in clitest.processes() if pid in subs and name == "bvisor-sup"), signal.SIGKILL)
tap.ok(code(p) == 125 and len(marked(m)) == 2, "also when the supervisor dies", [str(marked(m))])
for pid in marked(m):
    os.kill(pid, signal.SIGKILL)
raise SystemExit(tap.done())
