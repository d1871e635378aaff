# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: killed brokers and applications, much output, many sandboxes, leaks."""
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings

import bvisor
from bvisor import Sandbox
from bvisor import _broker
from support import descendants, marked, setUpModule, tearDownModule, until  # noqa: F401  pylint: disable=unused-import


class Faults(unittest.TestCase):
    def test_much_output(self):
        """A slow reader stops the guest, and nobody else."""
        with Sandbox() as sb:
            p = sb.start("head -c 300M /dev/zero; echo done >&2")
            time.sleep(0.5)
            self.assertIsNone(p.poll(), "nobody has read")
            self.assertEqual(sb.bash("echo others go on").stdout, "others go on\n")
            n = 0
            while True:
                data = p.stdout.read(1 << 20)
                if not data:
                    break
                n += len(data)
            self.assertEqual((n, p.wait(10)), (300 << 20, 0))
            p.close()

    def test_output_not_read(self):
        with Sandbox() as sb:
            p = sb.start("echo first; exec head -c 300M /dev/zero")
            time.sleep(0.3)
            self.assertIsNone(p.poll())
            p.kill()
            self.assertEqual(p.wait(20), 137)
            self.assertEqual(p.stdout.readline(), b"first\n")
            self.assertGreater(len(p.stdout.read()), 1 << 20)
            with sb.start("exec head -c 300M /dev/zero") as p:
                time.sleep(0.3)
            p = sb.start("head -c 3M /dev/zero", timeout=0.5)
            time.sleep(1)
            self.assertEqual(p.wait(20), 137)

    def test_closed_meanwhile(self):
        sb, codes = Sandbox(), []
        ps = [sb.start("sleep 60"), sb.start("exec head -c 300M /dev/zero")]
        waiting = [threading.Thread(target=lambda p=p: codes.append(p.wait())) for p in ps]
        for t in waiting:
            t.start()
        time.sleep(0.2)
        sb.close()
        for t in waiting:
            t.join(20)
        self.assertEqual(codes, [137, 137], "who waits is told")

    def test_input_not_read(self):
        with Sandbox() as sb:
            p = sb.start(["sleep", "303"])
            writer = threading.Thread(target=lambda: self.assertRaises(OSError, p.stdin.write, b"x" * (4 << 20)), daemon=True)
            writer.start()
            time.sleep(0.3)
            self.assertTrue(writer.is_alive())
            self.assertEqual(sb.bash("echo free").stdout, "free\n")
            p.kill()
            writer.join(5)
            self.assertFalse(writer.is_alive())
            p.close()

    def test_closed_stdout(self):
        with Sandbox() as sb:
            with sb.start("exec >&- 2>&-; sleep 0.3; exit 5") as p:
                self.assertEqual(p.stdout.read(), b"")
                self.assertEqual(p.wait(), 5)

    def test_sandbox_killed(self):
        with Sandbox() as sb:
            p = sb.start(["sleep", "304"])
            time.sleep(0.3)  # past its loader, whose calls nobody would answer
            for pid in descendants(sb._broker._child.pid):
                try:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                        name = f.read()
                except OSError:
                    continue
                if name == "bvisor-sup\n":
                    os.kill(pid, signal.SIGKILL)
            self.assertEqual(p.wait(10), 137)
            self.assertTrue(until(lambda: not marked("304")))
            until(lambda: sb._ended is not None)
            with self.assertRaises(bvisor.SandboxError):
                sb.bash("true")

    def test_broker_killed(self):
        own = _broker.Broker()
        sb = Sandbox(broker=own)
        p = sb.start(["sleep", "305"])
        os.kill(own._child.pid, signal.SIGKILL)
        with self.assertRaises(bvisor.SandboxError):
            p.wait(10)
        with self.assertRaises(bvisor.SandboxError):
            sb.bash("true")
        self.assertTrue(until(lambda: not marked("305"), 3), "all below is gone")
        sb.close()
        own.close()
        with Sandbox() as other:
            self.assertEqual(other.bash("echo new").stdout, "new\n")

    def test_application_killed(self):
        code = ("import bvisor, time\nsb = bvisor.Sandbox()\np = sb.start(['sh', '-c', 'trap \"\" TERM HUP; sleep 306'])\n"
                "sb.bash('setsid sleep 306 &')\nprint('up', flush=True)\ntime.sleep(60)")
        app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        app.stdout.readline()
        self.assertTrue(marked("306"))
        app.kill()
        app.wait()
        app.stdout.close()
        self.assertTrue(until(lambda: not marked("306"), 2), "everything below is gone soon")

    def test_fork(self):
        with Sandbox() as sb:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    try:
                        sb.bash("true")
                    except bvisor.SandboxError:
                        with Sandbox() as own:
                            code = 0 if own.bash("echo child").stdout == "child\n" else 2
                finally:
                    _broker._close_shared()
                    os._exit(code)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertEqual(sb.bash("echo parent").stdout, "parent\n")

    def test_no_program(self):
        env = dict(os.environ, BVISOR_BIN="/nowhere/bvisor")
        for program, words in (("/nowhere/bvisor", "is no program"), ("/bin/true", "ended at once")):
            r = subprocess.run([sys.executable, "-c", "import bvisor; bvisor.Sandbox()"], env=dict(env, BVISOR_BIN=program),
                               capture_output=True, text=True, check=False)
            self.assertIn("UnsupportedHost", r.stderr)
            self.assertIn(words, r.stderr)

    def test_version(self):
        old, _broker.PROTOCOL = _broker.PROTOCOL, 99
        try:
            with self.assertRaises(bvisor.ProtocolError):
                _broker.Broker()
        finally:
            _broker.PROTOCOL = old

    def test_home_read_only(self):
        r = subprocess.run([sys.executable, "-c", "import bvisor\nwith bvisor.Sandbox() as sb: print(sb.bash('echo up').stdout)"],
                           env=dict(os.environ, HOME="/proc", XDG_STATE_HOME="/proc/none"), capture_output=True, text=True, check=False)
        self.assertEqual(r.stdout, "up\n\n", r.stderr)

    def test_warns(self):
        sb = Sandbox()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del sb
            gc.collect()
        self.assertTrue(any(issubclass(w.category, ResourceWarning) for w in seen))

    def test_many(self):
        many = int(os.environ.get("BVISOR_MANY", "40"))
        boxes = [Sandbox() for _ in range(many)]
        ps = [sb.start(["sh", "-c", f"echo {i}"]) for i, sb in enumerate(boxes)]
        self.assertEqual([p.stdout.read() for p in ps], [f"{i}\n".encode() for i in range(many)])
        for p in ps:
            p.close()
        for sb in boxes:
            sb.close()
        self.assertTrue(until(lambda: not descendants(boxes[0]._broker._child.pid), 20))  # the one made ahead too

    def test_leaks(self):
        def count():
            gc.collect()
            broker = _broker.shared()._child.pid
            return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{broker}/fd")), len(descendants()), threading.active_count()
        with Sandbox() as sb:
            sb.run(["true"])
        before = count()
        for i in range(int(os.environ.get("BVISOR_CYCLES", "100"))):
            with Sandbox() as sb:
                sb.run(["true"])
        # (One made ahead may be there before as well as after.)
        self.assertTrue(until(lambda: all(now <= then for now, then in zip(count(), before)), 20), (before, count()))


if __name__ == "__main__":
    unittest.main()
