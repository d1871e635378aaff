#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests here, or those named, and prints TAP."""
import faulthandler
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


# Where it hangs, if it does, before its caller loses patience.
faulthandler.dump_traceback_later(240 + int(os.environ.get("BVISOR_CYCLES", "0")) // 10, exit=True)


class Tap(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.n = 0

    def say(self, good, test, note="", detail=""):
        self.n += 1
        print(f"{'ok' if good else 'not ok'} {self.n} - {test.id()}{note}", flush=True)
        for line in detail.splitlines():
            print("# " + line, flush=True)

    def addSuccess(self, test):
        self.say(True, test)

    def addError(self, test, err):
        super().addError(test, err)
        self.say(False, test, detail=self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say(False, test, detail=self.failures[-1][1])

    def addSkip(self, test, reason):
        self.say(True, test, f" # SKIP {reason}")


sys.path[:0] = [os.environ["BVISOR_SDK"]] if "BVISOR_SDK" in os.environ else [os.path.dirname(HERE)]
os.environ["PYTHONPATH"] = sys.path[0]
print("TAP version 13")
result = Tap()
loader = unittest.TestLoader()
loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]] or None
loader.discover(HERE).run(result)
print(f"1..{result.n}")
sys.exit(0 if result.wasSuccessful() and result.n else 1)
