#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The differential harness: runs each program of this directory natively and inside bvisor, at the
same path, on the same tree, and compares what it prints, its exit status and the tree it leaves.
The host's tree must come out of the sandboxed run unchanged.

Modes, each a tree in another layer:
  lower   the tree exists on the host
  merged  the same, after one entry was added or removed in every directory
  upper   the tree is made by the program's own sandbox
  tmp     the same below /tmp

Where bvisor differs from Linux on purpose, accepted/NAME says so: comment lines with the reason,
then per mode the differing lines, exactly.  Any other difference fails, and so does an accepted
one that no longer shows, so the list stays true.  `--accept` rewrites the lines, not the reasons.

A program's source may say in a comment `modes: lower` (fs_* have all four, others only lower),
`bvisor-options: --net host` (arguments for bvisor run) and `timeout: 120` (seconds).
"""
import argparse
import os
import re
import shutil
import sys

import harness

HERE = os.path.dirname(os.path.abspath(__file__))
STEP = """
mode=$1 dir=$2 prog=$3 tool=$4
case $mode in
merged) "$tool" dirty "$dir" ;;
upper|tmp) "$tool" make "$dir" ;;
esac || exit 97
cd "$dir" || exit 98
"$prog"
status=$?
echo "== tree"
"$tool" list .
exit $status
"""


def directives(source, name):
    found = {"modes": "lower merged upper tmp" if name.startswith("fs_") else "lower", "bvisor-options": "", "timeout": "60"}
    try:
        with open(os.path.join(source, name + ".c"), encoding="utf-8") as f:
            for key, value in re.findall(r"^[ /*]*(modes|bvisor-options|timeout): *([^*\n]*)", f.read(4000), re.M):
                found[key] = value
    except OSError:
        pass
    return found["modes"].split(), found["bvisor-options"].split(), int(found["timeout"])


class Accepted:
    """The differences accepted of one program."""

    def __init__(self, name):
        self.path = os.path.join(HERE, "accepted", name)
        self.reasons, self.modes, mode = [], {}, None
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as f:
                for line in f.read().splitlines():
                    if line.startswith("["):
                        mode = line.strip("[]")
                        self.modes[mode] = []
                    elif mode is None:
                        self.reasons.append(line)
                    elif line:
                        self.modes[mode].append(line)

    def save(self):
        reasons = self.reasons or ["# TO EXPLAIN"]
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("\n".join(reasons) + "\n")
            for mode, lines in self.modes.items():
                if lines:
                    f.write(f"[{mode}]\n" + "\n".join(lines) + "\n")


def differing(native, inside, place):
    """The differing lines alone, without what differs by machine: the tree's place, the user."""
    user = f" {os.geteuid()}:{os.getegid()}"
    lines = harness.diff(native, inside, "", "", limit=100000, context=0)[2:]
    return [line.replace(place, "TREE").replace(user, " USER") for line in lines if not line.startswith("@@")]


def main():
    ap = argparse.ArgumentParser(description="run guest programs natively and inside bvisor and compare")
    ap.add_argument("--bvisor", help="the binary under test (default: $BVISOR)")
    ap.add_argument("--bin", required=True, help="directory of the compiled programs")
    ap.add_argument("--build", help="build directory, a place to work in when it is not below /tmp")
    ap.add_argument("--modes", help="only these, comma separated")
    ap.add_argument("--native-only", action="store_true", help="compare two native runs: is the program deterministic?")
    ap.add_argument("--accept", action="store_true", help="record today's differences (then write down why)")
    ap.add_argument("--repeat", type=int, default=1, help="run each program so many times")
    ap.add_argument("names", nargs="+")
    args = ap.parse_args()

    box = None if args.native_only else harness.bvisor(args)
    work = harness.workdir(args.build)
    tap = harness.Tap()
    tool = shutil.copy2(os.path.join(args.bin, "fixture"), os.path.join(work, "fixture"))

    for name in args.names * args.repeat:
        prog = shutil.copy2(os.path.join(args.bin, name), os.path.join(work, name))
        modes, options, timeout = directives(HERE, name)
        accepted = Accepted(name)
        for mode in modes:
            if args.modes and mode not in args.modes.split(","):
                continue
            what = f"{name} ({mode})"
            there = mode in ("lower", "merged")
            path = os.path.join("/tmp" if mode == "tmp" else work, f"bvt{os.getpid()}")
            # What natively depends on the user differs by user.
            section = mode if os.geteuid() == 0 else mode + " user"
            tree = harness.Fixture(tool, path)
            step = ["/bin/sh", "-c", STEP, "step", mode, path, prog, tool]

            def attempt(prefix):
                harness.remove(path)
                before = tree.make() if there else b""
                return harness.run(prefix + step, timeout, cwd=work), before

            native, _ = attempt([])
            if native.timed_out or native.status >= 90:
                notes = [f"natively: status {native.status}, late {native.timed_out}"]
                notes += [line for line in harness.text(native.out).splitlines() if "cannot set up" in line]
                tap.ok(False, what, notes + harness.text(native.err).splitlines()[-5:])
                harness.remove(path)
                continue
            inside, before = attempt([] if args.native_only else [box, "run"] + options + ["--"])
            notes = []
            if inside.timed_out:
                notes.append(f"hangs: killed after {timeout} s; last lines:")
                notes += harness.text(inside.out).splitlines()[-3:]
            if inside.status != native.status:
                notes.append(f"exit status {inside.status}, natively {native.status}")
            if inside.out != native.out and not (inside.status == 125 and not inside.out):
                found = differing(native.out, inside.out, path)
                if args.accept:
                    accepted.modes[section] = found
                elif found != accepted.modes.get(section, []):
                    notes += harness.diff(native.out, inside.out, "native", "bvisor")
                    if accepted.modes.get(section):
                        notes += ["not what is accepted:"]
                        notes += harness.diff("\n".join(accepted.modes[section]).encode(), "\n".join(found).encode(), "accepted", "found")
            elif accepted.modes.get(section) and not args.native_only:
                if args.accept:
                    accepted.modes[section] = []
                else:
                    notes.append("the accepted differences are gone: remove them from accepted/" + name)
            if not args.native_only:
                after = tree.sum() if there else (b"" if not os.path.lexists(path) else b"made on the host\n")
                if after != before:
                    notes.append("THE HOST CHANGED:")
                    notes += harness.diff(before, after, "before", "after")
            if notes and inside.err:
                notes += ["stderr: " + line for line in harness.text(inside.err).splitlines()[-10:]]
            tap.ok(not notes, what, notes)
            harness.remove(path)
        if args.accept and (accepted.reasons or any(accepted.modes.values())):
            accepted.save()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
