#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the results in meson's testlog.json, subtests of TAP and Criterion programs included.

Usage: summary.py testlog.json MESON-EXIT-CODE.  Prints what TAP programs said of their failures, and
one line, "N passed, N failed, N skipped", last on stdout; exits with 1 when anything failed or nothing ran.
"""
import json
import re
import sys

TAP = re.compile(r"^(not )?ok\b(?:.*?#\s*(skip)\b)?", re.I)
CRITERION = re.compile(r"Tested: .*?(\d+).*?Passing: .*?(\d+).*?Failing: .*?(\d+).*?Crashing: .*?(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def subtests(text):
    """(passed, failed, skipped) as the program itself counts, or None."""
    counts = [0, 0, 0]
    for line in COLOUR.sub("", text).splitlines():
        tap, criterion = TAP.match(line), CRITERION.search(line)
        if criterion:
            tested, passing, failing, crashing = map(int, criterion.groups())
            return passing, failing + crashing, tested - passing - failing - crashing
        if tap:
            counts[2 if tap.group(2) else 1 if tap.group(1) else 0] += 1
    return counts if any(counts) else None


def complaints(text):
    """Each "not ok" with the diagnostics after it: meson's own listing of a failed TAP test leaves them out."""
    shown, lines = False, []
    for line in text.splitlines():
        shown = line.startswith("not ok") or (shown and line.startswith("#"))
        if shown:
            lines.append(line)
    return lines


def count(test):
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if test["result"] == "SKIP":
        return 0, 0, 1
    passed, failed, skipped = subtests(test.get("stdout", "") + "\n" + test.get("stderr", "")) or (int(good), 0, 0)
    if not good and failed == 0:
        failed = 1  # it crashed, or ran out of time
    return passed, failed, skipped


def main():
    log, code = sys.argv[1], int(sys.argv[2])
    total, bad = [0, 0, 0], []
    try:
        with open(log) as f:
            tests = [json.loads(line) for line in f]
    except FileNotFoundError:
        tests = []
    for test in tests:
        result = count(test)
        total = [a + b for a, b in zip(total, result)]
        if result[1]:
            bad.append(test["name"])
            for line in complaints(test.get("stdout", ""))[:200]:
                print(f"{test['name']}: {line[:1000]}")
    if (code or not tests) and not bad:
        bad.append("meson test itself")
        total[1] += 1
    sys.stdout.flush()
    if bad:
        print("failed: " + ", ".join(bad))
    print("{} passed, {} failed, {} skipped".format(*total))
    sys.exit(1 if bad else 0)


main()
