# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a state directory of their own, looking for processes, waiting."""
import os
import shutil
import tempfile
import time

from bvisor import _broker

BASE = os.environ.get("BVISOR_TEST_DIR") or os.path.join(os.path.expanduser("~"), ".cache")
STATE = ""


def setUpModule():
    global STATE
    os.makedirs(BASE, exist_ok=True)
    STATE = tempfile.mkdtemp(prefix="bvisor-sdk-", dir=BASE)
    os.environ["XDG_STATE_HOME"] = os.path.join(STATE, "state")


def tearDownModule():
    _broker._close_shared()
    shutil.rmtree(STATE, ignore_errors=True)


def descendants(pid=None):
    """Living processes below pid, or below us."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                stat = f.read()
        except OSError:
            continue
        state, parent = stat[stat.rindex(")") + 2:].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [pid or os.getpid()]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def marked(mark):
    """Processes with the word in their command line."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if mark.encode() in f.read().split(b"\0") and int(entry) != os.getpid():
                    found.append(int(entry))
        except OSError:
            pass
    return found


def until(what, seconds=10):
    """Waits until what() is true, and returns what it was last."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)
