#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""200 runs leave no descriptor, process, zombie or directory behind; nor does a crashed one."""
import ctypes
import os
import signal
import subprocess

import clitest
from clitest import harness, marked, popen, supervisor, until

RUNS = 200
tap, bvisor, work = clitest.start()
upper = os.path.join(work, "upper")
os.mkdir(upper)
env = {**os.environ, "TMPDIR": upper}

# Orphans come to us, so none hides behind init.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def ours():
    return [p for p, parent, _, _, _ in clitest.processes() if parent == os.getpid()]


def left():
    """What is in the directory of upper layers; each user's own parent directory stays, and an empty one."""
    return [os.path.join(d, name) for d in os.listdir(upper) for name in os.listdir(os.path.join(upper, d)) if name != "spare"]


def fds():
    return sorted(os.listdir("/proc/self/fd"))


before = fds()
bad = []
for i in range(RUNS):
    r = harness.run([bvisor, "run", "--", "sh", "-c",
                     f"echo {i} >/tmp/f; mkdir -p /tmp/d/e; (sleep 600 &); ls /proc/self/fd | tr '\\n' ' '; exit 3"], env=env)
    if r.status != 3 or r.out.split() != [b"0", b"1", b"2", b"3"]:
        bad.append(f"run {i}: status {r.status}, descriptors {r.out!r}, {r.err!r}")
tap.ok(not bad, f"{RUNS} runs, each with its standard descriptors only", bad[:5])
tap.ok(until(lambda: not ours()), "no process or zombie", [str(ours())])
tap.ok(fds() == before, "no descriptor")
tap.ok(left() == [], "no directory", left())

m = clitest.Mark().new()
p = popen([bvisor, "run", "sh", "-c", f"echo x >/tmp/f; sleep {m}"], env=env, stderr=subprocess.DEVNULL)
until(lambda: marked(m))
os.kill(supervisor(p.pid), signal.SIGKILL)
clitest.code(p)
tap.ok(left() != [], "a killed supervisor leaves its layer")
tap.ok(not marked(m), "a killed supervisor leaves no process", [str(marked(m))])
harness.run([bvisor, "run", "true"], env=env)
tap.ok(left() == [], "and the next run removes its layer", left())
raise SystemExit(tap.done())
