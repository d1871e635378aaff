#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Python SDK beside subprocess, taking turns, for run.py: prints JSON of names, figures in nanoseconds and memory."""
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sdk", "python"))
N = int(sys.argv[1])
THROUGHPUT = 256 << 20


def timed(function):
    """How long it takes."""
    began = time.perf_counter_ns()
    function()
    return time.perf_counter_ns() - began


import bvisor  # noqa: E402
from bvisor import Sandbox, _broker  # noqa: E402


def create_and_run():
    """The next sandbox, from nothing to the end of true."""
    global sb
    sb = Sandbox()
    sb.run(["true"])


def at_once(n):
    """So many sandboxes at the same time, each with a command."""
    boxes, threads = [], []

    def one():
        box = Sandbox()
        boxes.append(box)
        box.run(["true"])
    for _ in range(n):
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for t in threads:
        t.join()
    return boxes


def private(pid):
    """Private memory of a process and all below it."""
    total, todo = 0, [pid]
    while todo:
        at = todo.pop()
        with open(f"/proc/{at}/task/{at}/children", encoding="ascii") as f:
            todo += map(int, f.read().split())
        with open(f"/proc/{at}/smaps_rollup", encoding="ascii") as f:
            total += 1024 * sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
    return total


rows = {}


def row(name, ours, native=None):
    """One figure of each."""
    figures = rows.setdefault(name, {})
    figures.setdefault("bvisor", []).append(timed(ours))
    if native:
        figures.setdefault("native", []).append(timed(native))


def native(*argv):
    """The same without a sandbox."""
    return lambda: subprocess.run(argv, capture_output=True, check=True)


row("SDK: first sandbox", lambda: globals().update(sb=Sandbox()))
sb.run(["true"])
for _ in range(N):
    row("SDK: run true", lambda: sb.run(["true"]), native("true"))
    row("SDK: bash -c 'echo hi'", lambda: sb.bash("echo hi"), native("bash", "-c", "echo hi"))
    row("SDK: round trip of a no-op", lambda: _broker.shared().call("sandbox.list"))
for _ in range(max(2, N // 10)):
    row("SDK: 256 MiB of output", lambda: sb.bash(f"head -c {THROUGHPUT} /dev/zero"), native("head", "-c", str(THROUGHPUT), "/dev/zero"))
sb.close()
for i in range(N):
    # An application does other things in between.
    time.sleep(0.03)
    row("SDK: create + true", create_and_run, native("true"))
    sb.close()
del rows["SDK: create + true"]["bvisor"][:2]  # nothing tells yet that there will be a third
broker = _broker.shared()._child.pid
time.sleep(0.5)
before = private(broker)
boxes = []
row("SDK: 100 sandboxes at once", lambda: boxes.extend(at_once(100)), lambda: [p.wait() for p in [subprocess.Popen(["true"]) for _ in range(100)]])
time.sleep(1)
memory = (private(broker) - before) // 100
for box in boxes:
    box.close()
json.dump({"rows": rows, "memory": memory, "version": bvisor.__version__}, sys.stdout)
