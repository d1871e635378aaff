#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs each hostile guest inside bvisor and proves that nothing got through: its own verdict (exit
status 0), the host's trees by a checksum listing before and after, the canary process alive and
not signalled, and no process left behind.

A guest's source may say in a comment
  control: yes            the attack is first run natively, on trees of its own, and must succeed
                          there: a test of a wall that nobody runs into proves nothing
  options: --net host     further arguments for bvisor run
  limit: 120              seconds (default 60)
"""
import argparse
import os
import re
import signal
import subprocess
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guest"))
import harness  # noqa: E402

DOMAIN = "/proc/sys/kernel/domainname"
CANARY = """
import signal, sys, time
got = 0
def hit(*_):
    global got
    got += 1
    print("hit", flush=True)
signal.signal(signal.SIGURG, hit)
print("ready", flush=True)
while True:
    time.sleep(100)
"""


class Canary:
    """A process outside the sandbox that says when it is signalled."""

    def __init__(self):
        self.p = subprocess.Popen([sys.executable, "-c", CANARY], stdout=subprocess.PIPE, start_new_session=True)
        assert self.p.stdout.readline() == b"ready\n"
        os.set_blocking(self.p.stdout.fileno(), False)

    def harmed(self):
        time.sleep(0.02)
        if self.p.poll() is not None:
            return f"ended with {self.p.returncode}"
        if self.p.stdout.read():
            return "was signalled"
        return "was reniced" if os.getpriority(os.PRIO_PROCESS, self.p.pid) == 19 else None

    def end(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        self.p.stdout.close()


class Stage:
    """HOST, RW and RO trees below one directory."""

    def __init__(self, tool, path):
        self.path, self.host = path, harness.Fixture(tool, os.path.join(path, "host"))
        self.tool, self.rw, self.ro = tool, os.path.join(path, "rw"), os.path.join(path, "ro")

    def make(self):
        harness.remove(self.path)
        os.makedirs(self.rw)
        os.mkdir(self.ro)
        self.put(os.path.join(self.ro, "file"), "read only\n")
        self.host.make()
        for d in ("hidden", "hidden/sub"):
            os.mkdir(os.path.join(self.host.path, d))
            self.put(os.path.join(self.host.path, d, "secret.txt"), "TOPSECRET\n")
        return self.sum()

    @staticmethod
    def put(path, text):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)

    def sum(self):
        return subprocess.run([self.tool, "sum", self.host.path, self.ro], check=True, stdout=subprocess.PIPE).stdout


def left_behind(mark):
    """Processes (not ours) whose command line names the stage."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
        except OSError:
            continue
        if mark in line and int(pid) != os.getpid():
            found.append(f"{pid}: " + line.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def directives(name):
    found = {"control": "no", "options": "", "limit": "60"}
    with open(os.path.join(HERE, name + ".c"), encoding="utf-8") as f:
        for key, value in re.findall(r"^[ /*]*(control|options|limit): *([^*\n]*)", f.read(4000), re.M):
            found[key] = value.strip()
    return found["control"] == "yes", found["options"].split(), int(found["limit"])


def domain():
    with open(DOMAIN, encoding="ascii") as f:
        return f.read()


def attack(prefix, prog, stage, rounds, limit, env=None):
    """One run: its result and what became of the host."""
    canary = Canary()
    before, name = stage.make(), domain()
    argv = prefix + [prog, stage.host.path, stage.rw, stage.ro, str(canary.p.pid), str(rounds)]
    r = harness.run(argv, limit, env=env, cwd=stage.path)
    notes = []
    harm = canary.harmed()
    if harm:
        notes.append(f"THE CANARY {harm}")
    canary.end()
    after = stage.sum()
    if after != before:
        notes += ["THE HOST CHANGED:"] + harness.diff(before, after, "before", "after", 30)
    if domain() != name:
        notes.append("THE HOST'S DOMAIN NAME CHANGED")
        with open(DOMAIN, "w", encoding="ascii") as f:
            f.write(name)
    return r, notes


def main():
    ap = argparse.ArgumentParser(description="run hostile guests inside bvisor and look for harm")
    ap.add_argument("--bvisor", help="the binary under test (default: $BVISOR)")
    ap.add_argument("--bin", required=True, help="directory of the compiled guests")
    ap.add_argument("--fixture", required=True, help="the compiled tests/guest/fixture.c")
    ap.add_argument("--build", help="build directory, a place to work in when it is not below /tmp")
    ap.add_argument("--rounds", type=int, default=10000)
    ap.add_argument("--repeat", type=int, default=1, help="run each guest so many times")
    ap.add_argument("--control-only", action="store_true", help="only prove that the attacks are attacks")
    ap.add_argument("names", nargs="+")
    args = ap.parse_args()

    box = None if args.control_only else harness.bvisor(args)
    work = harness.workdir(args.build)
    tap = harness.Tap()
    tool = shutil.copy2(args.fixture, os.path.join(work, "fixture"))
    for name in args.names:
        prog = shutil.copy2(os.path.join(args.bin, name), os.path.join(work, name))
        control, options, limit = directives(name)
        stage = Stage(tool, os.path.join(work, "s"))
        if control:
            r, notes = attack([], prog, stage, args.rounds, limit, dict(os.environ, HOSTILE_CONTROL="1"))
            works = bool(notes) or (r.status == 1 and b"BREACH" in r.out)
            tap.ok(works, f"{name}: the attack works natively", [] if works else
                   [f"status {r.status}, late {r.timed_out}"] + harness.text(r.out + r.err).splitlines()[-5:])
        if args.control_only:
            continue
        hide = ["--hide", os.path.join(stage.host.path, "hidden"), "--rw", stage.rw, "--ro", stage.ro]
        for turn in range(args.repeat):
            r, notes = attack([box, "run"] + hide + options + ["--"], prog, stage, args.rounds, limit)
            if r.timed_out:
                notes.append(f"hangs: killed after {limit} s")
            if r.status:
                notes.append(f"exit status {r.status}")
                notes += harness.text(r.out).splitlines()[:25] + harness.text(r.err).splitlines()[-10:]
            left = left_behind(os.fsencode(work))
            if left:
                time.sleep(1)  # "within 1 s"
                left = left_behind(os.fsencode(work))
            notes += ["left behind: " + line for line in left]
            tap.ok(not notes, f"{name}: nothing gets through" + (f", turn {turn + 1}" if args.repeat > 1 else ""), notes)
            for line in left:
                try:
                    os.kill(int(line.split(":")[0]), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        harness.remove(stage.path)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
