# SPDX-License-Identifier: Apache-2.0
"""A command's streams: files and pipes of the application's own."""
import os
import signal
import tempfile
import time
import unittest

import bvisor
from bvisor import Sandbox
from support import setUpModule, tearDownModule, until  # noqa: F401  pylint: disable=unused-import


class Streams(unittest.TestCase):
    def test_own_descriptors(self):
        with Sandbox() as sb, tempfile.TemporaryFile() as f:
            sb.bash("echo to a file; echo too >&2", stdout=f, stderr="stdout")
            f.seek(0)
            self.assertEqual(f.read(), b"to a file\ntoo\n")
            f.seek(0)
            self.assertEqual(sb.bash("cat", stdin=f).stdout, "to a file\ntoo\n")
            r = sb.bash("echo a; echo b >&2", stderr="stdout")
            self.assertEqual((r.stdout, r.stderr), ("a\nb\n", ""))
            r = sb.bash("echo a; echo b >&2", stdout="null")
            self.assertEqual((r.stdout, r.stderr), ("", "b\n"))
            r, w = os.pipe()
            with sb.start("cat; echo end", stdin=r, stdout=w) as p:
                os.close(r)
                self.assertEqual(p.stdout.read(), b"")
                with self.assertRaises(BrokenPipeError):
                    p.stdin.write(b"x" * 100000)
                os.write(w, b"by itself\n")  # it reads its own output
                p.kill()
            os.close(w)
            for bad in ({"stdout": "file"}, {"stdin": "stdout"}, {"stderr": "x"}):
                with self.assertRaises(bvisor.PolicyError):
                    sb.start("true", **bad)
            with self.assertRaises(bvisor.BvisorError):
                sb.start("true", tty=True, stdout=f)
            with self.assertRaises(OSError):
                sb.run(["true"], stdout=99999)
            self.assertEqual(sb.bash("echo still").stdout, "still\n")

    def test_much_both_ways(self):
        data = os.urandom(3 << 20)
        with Sandbox() as sb:
            r = sb.bash("cat; head -c 5000000 /dev/zero | tr '\\0' e >&2", input=data)
            self.assertEqual((r.stdout_bytes, r.stderr), (data, "e" * 5000000))
            self.assertEqual(sb.bash("head -c 3", input=b"abc" + data).stdout, "abc")  # the rest is nobody's
            self.assertEqual(sb.bash("exec <&-; sleep 0.3; echo x", input=data).stdout, "x\n")

    def test_left_behind(self):
        before = len(os.listdir("/proc/self/fd"))
        with Sandbox() as sb:
            began = time.monotonic()
            r = sb.bash("(sleep 0.3; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; touch /tmp/done; exec sleep 1000) & echo now")
            self.assertEqual(r.stdout, "now\n")
            self.assertLess(time.monotonic() - began, 10)
            # It neither waits for a reader nor dies of having none.
            self.assertTrue(until(lambda: sb.bash("test -e /tmp/done", check=False).ok))
            for _ in range(20):
                sb.bash("sleep 1000 &")
            self.assertEqual(sb.stats().processes, 21)
        self.assertTrue(until(lambda: len(os.listdir("/proc/self/fd")) <= before + 4), os.listdir("/proc/self/fd"))

    def test_left_behind_by_the_broker(self):
        command = "(sleep 0.2; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; touch /tmp/done) & echo now"
        with Sandbox() as sb:
            def goes_on(begin):
                sb.bash("rm -f /tmp/done")
                begin()
                self.assertTrue(until(lambda: sb.bash("test -e /tmp/done", check=False).ok))

            def closed():
                with sb.start(command) as process:
                    process.wait()
            goes_on(lambda: self.assertEqual(sb.start(command).communicate().stdout, "now\n"))
            goes_on(lambda: sb.bash(command, on_stdout=lambda data: None))
            goes_on(closed)
            process = sb.start(command, stderr="stdout")
            self.assertEqual(process.wait(), 0)
            self.assertEqual(len(process.stdout.read()), 12000004)  # to the end, as of any pipe
            self.assertEqual(process.stderr.read(), b"")
            process = sb.start("echo hi", tty=True)
            self.assertEqual((process.stdout.read(), process.stderr.read(), process.wait()), (b"hi\r\n", b"", 0))
            for _ in range(20):
                sb.start("echo; sleep 1000 &").communicate()
                sb.start("true").wait()
            self.assertTrue(until(lambda: not sb._broker._sinks))

    def test_interrupted(self):
        class Stop(Exception):
            pass

        def stop(*_):
            raise Stop
        old = signal.signal(signal.SIGALRM, stop)
        try:
            with Sandbox() as sb:
                sb.bash("true")
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                with self.assertRaises(Stop):
                    sb.bash("sleep 1000")
                self.assertTrue(until(lambda: sb.stats().processes == 0))
        finally:
            signal.signal(signal.SIGALRM, old)


if __name__ == "__main__":
    unittest.main()
