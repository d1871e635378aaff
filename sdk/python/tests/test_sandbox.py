# SPDX-License-Identifier: Apache-2.0
"""The Python SDK against the real program.  BVISOR_BIN names it, if it is not in the package or in PATH."""
import asyncio
import os
import socket
import sys
import tempfile
import threading
import time
import unittest

import bvisor
from bvisor import AsyncSandbox, Sandbox
import support
from support import marked, setUpModule, tearDownModule, until  # noqa: F401  pylint: disable=unused-import


class Basics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sb = Sandbox()

    @classmethod
    def tearDownClass(cls):
        cls.sb.close()

    def test_hello(self):
        r = self.sb.bash("echo 'Hello, world!'")
        self.assertEqual((r.stdout, r.stderr, r.exit_code, r.ok), ("Hello, world!\n", "", 0, True))
        self.assertGreater(r.max_rss, 0)
        self.assertEqual(self.sb.run(["printf", "%s|", "a b", "", "c'"]).stdout, "a b||c'|")

    def test_failure(self):
        with self.assertRaises(bvisor.CommandError) as e:
            self.sb.bash("chroot /tmp")
        self.assertEqual(e.exception.exit_code, 125)
        self.assertIn("Operation not permitted", e.exception.stderr)
        r = self.sb.bash("echo out; echo err >&2; exit 7", check=False)
        self.assertEqual((r.exit_code, r.stdout, r.stderr), (7, "out\n", "err\n"))
        r = self.sb.bash("kill -9 $$", check=False)
        self.assertEqual((r.exit_code, r.signal), (137, 9))
        with self.assertRaises(FileNotFoundError):
            self.sb.run(["/nowhere/program"])
        with self.assertRaises(PermissionError):
            self.sb.run(["/etc/passwd"])

    def test_state(self):
        self.sb.bash("mkdir -p /tmp/d; echo kept >/tmp/d/f")
        self.assertEqual(self.sb.bash("cat f", cwd="/tmp/d").stdout, "kept\n")
        self.assertFalse(os.path.exists("/tmp/d/f"))
        self.sb.bash("sleep 300 & echo $! >/tmp/pid")
        self.assertEqual(self.sb.bash("kill -0 $(cat /tmp/pid) && echo alive; kill $(cat /tmp/pid)").stdout, "alive\n")
        with self.assertRaises(bvisor.BvisorError):
            self.sb.bash("pwd", cwd="/nowhere")

    def test_environment(self):
        os.environ["BVISOR_SECRET"] = "1"
        self.assertEqual(self.sb.bash("echo ${BVISOR_SECRET-none} ${X-none} ${HOME+home}", env={"X": "a b"}).stdout, "none a b home\n")
        self.assertEqual(self.sb.bash("echo ${HOME-none}", env={"HOME": None}).stdout, "none\n")
        with Sandbox(env={"Y": "y=1"}, cwd="/usr") as sb:
            self.assertEqual(sb.bash("echo $Y; pwd").stdout, "y=1\n/usr\n")

    def test_input(self):
        self.assertEqual(self.sb.run(["cat"], input="text").stdout, "text")
        data = os.urandom(1 << 20) * 5
        self.assertEqual(self.sb.run(["cat"], input=data).stdout_bytes, data)
        self.assertEqual(self.sb.run(["cat"]).stdout, "")
        self.assertEqual(self.sb.run(["true"], input=data).exit_code, 0, "who does not want it")

    def test_streams(self):
        with self.sb.start("read x; echo got $x; echo err >&2; read y; echo $y") as p:
            p.stdin.write(b"one\n")
            p.stdin.flush()
            self.assertEqual(p.stdout.readline(), b"got one\n")
            self.assertEqual(p.stderr.readline(), b"err\n")
            self.assertIsNone(p.poll())
            p.stdin.write(b"two\n")
            p.stdin.close()
            self.assertEqual(list(p), ["two\n"])
            self.assertEqual(p.wait(), 0)
        seen = []
        self.sb.bash("echo a; echo b >&2", on_stdout=lambda b: seen.append(b), on_stderr=lambda b: seen.append(b))
        self.assertEqual(sorted(seen), [b"a\n", b"b\n"])

    def test_terminal(self):
        with self.sb.start("stty size; tty >/dev/null && echo tty; read x; echo $x; stty size", tty=(30, 90)) as p:
            self.assertEqual(p.stdout.readline(), b"30 90\r\n")
            self.assertEqual(p.stdout.readline(), b"tty\r\n")
            p.resize(40, 100)
            p.stdin.write(b"typed\n")
            p.stdin.flush()
            self.assertEqual(p.stdout.read().replace(b"\r", b""), b"typed\ntyped\n40 100\n")
            self.assertEqual(p.wait(), 0)

    def test_timeout(self):
        began = time.monotonic()
        with self.assertRaises(bvisor.TimeoutError) as e:
            self.sb.bash("echo part; trap '' TERM; sleep 60", timeout=0.5)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(e.exception.stdout, "part\n")
        self.assertIsInstance(e.exception, bvisor.CommandError)
        p = self.sb.start(["sleep", "60"])
        with self.assertRaises(bvisor.TimeoutError):
            p.wait(0.1)
        self.assertIsNone(p.poll())
        p.terminate()
        self.assertEqual(p.wait(10), 143)
        self.assertEqual(p.result().signal, 15)

    def test_limits(self):
        with self.assertRaises(bvisor.LimitExceeded) as e:
            self.sb.bash("while :; do :; done", limits={"cpu_seconds": 1})
        self.assertEqual(e.exception.limit, "cpu_seconds")
        with self.assertRaises(bvisor.LimitExceeded):
            self.sb.run(["dd", "if=/dev/zero", "of=/tmp/big", "bs=1M", "count=4"], limits={"file_size": 1 << 20})
        self.assertEqual(self.sb.bash("ulimit -n", limits={"open_files": 50}).stdout, "50\n")
        with self.assertRaises(bvisor.PolicyError):
            self.sb.bash("true", limits={"fame": 15})
        with Sandbox(quota="1M") as sb:
            self.assertIn("No space left", sb.bash("head -c 2M /dev/zero >/tmp/f", check=False).stderr)

    def test_files(self):
        f = self.sb.files
        f.mkdir("/tmp/files/deep", parents=True)
        f.mkdir("/tmp/files/deep", parents=True)
        f.write("/tmp/files/a", "text\n", 0o640)
        f.append("/tmp/files/a", b"\xff\0more")
        self.assertEqual(f.read("/tmp/files/a"), b"text\n\xff\0more")
        info = f.stat("/tmp/files/a")
        self.assertEqual((info.type, info.mode, info.size, info.name), ("file", 0o640, 11, "a"))
        self.sb.bash("ln -s a /tmp/files/l; touch '/tmp/files/odd\n name'; mkfifo /tmp/files/p")
        self.assertEqual([(x.name, x.type) for x in f.list("/tmp/files")],
                         [("a", "file"), ("deep", "directory"), ("l", "symlink"), ("odd\n name", "file"), ("p", "fifo")])
        self.assertEqual(f.stat("/tmp/files/l", follow=False).target, "a")
        f.rename("/tmp/files/a", "/tmp/files/deep/b")
        self.assertFalse(f.exists("/tmp/files/a"))
        big = os.urandom(3 << 20)
        f.write("/tmp/files/big", big)
        self.assertEqual(f.read("/tmp/files/big"), big)
        for path, kind in (("/tmp/files/none", FileNotFoundError), ("/tmp/files", IsADirectoryError), ("/tmp/files/big/x", NotADirectoryError)):
            with self.assertRaises(kind) as e:
                f.read(path)
            self.assertEqual(e.exception.filename, path)
        with self.assertRaises(OSError):
            f.remove("/tmp/files")
        f.remove("/tmp/files", recursive=True)
        self.assertFalse(f.exists("/tmp/files"))
        with self.assertRaises(FileNotFoundError):
            f.read("/etc/shadow")

    def test_file_streams(self):
        f = self.sb.files
        block = bytes(range(256)) * 4096
        with f.open("/tmp/big", "wb") as out:
            for _ in range(40):
                out.write(block)
        self.assertEqual(f.stat("/tmp/big").size, 40 << 20)
        with f.open("/tmp/big", "rb") as back:
            self.assertEqual(back.read(len(block)), block)
            self.assertEqual(sum(len(part) for part in iter(lambda: back.read(1 << 20), b"")), 39 << 20)
        with f.open("/tmp/big", "rb") as back:
            self.assertEqual(back.read(3), b"\0\1\2")  # and no more of it
        with f.open("/tmp/text", "w", permissions=0o600) as out:
            out.write("ä\nb\n")
        with f.open("/tmp/text", "a") as out:
            out.write("c\n")
        with f.open("/tmp/text") as back:
            self.assertEqual(list(back), ["ä\n", "b\n", "c\n"])
        self.assertEqual(f.stat("/tmp/text").mode, 0o600)
        f.write("/tmp/empty", b"")
        with f.open("/tmp/empty", "rb") as back:
            self.assertEqual(back.read(), b"")
        with self.assertRaises(FileNotFoundError):
            f.open("/tmp/none")
        with self.assertRaises(IsADirectoryError):
            f.open("/tmp")
        with self.assertRaises(FileNotFoundError):
            with f.open("/tmp/none/x", "wb") as out:
                for _ in range(10):
                    out.write(block)
        for mode in ("x", "r+", "", "rbt", "bb"):
            with self.assertRaises(ValueError):
                f.open("/tmp/text", mode)
        self.assertTrue(until(lambda: self.sb.stats().processes == 0))

    def test_isolation(self):
        with Sandbox() as other:
            other.bash("echo other >/tmp/mine; sleep 301 &")
            self.assertEqual(self.sb.bash("cat /tmp/mine 2>/dev/null; pgrep -x sleep -f 'sleep 301'", check=False).stdout, "")
            self.assertEqual(self.sb.bash("hostname").stdout, "bvisor\n")
            self.assertIn("denied", self.sb.bash("cat /etc/shadow 2>&1; unshare -U true 2>&1; true").stdout + "denied")

    def test_bad_policy(self):
        for policy in ({"nonsense": 1}, {"net": "everything"}, {"options": {"vfs-cow.nope": "1"}}, {"rw": ["/no/such/dir"]}, {"quota": "12X"}):
            with self.assertRaises(bvisor.BvisorError) as e:
                Sandbox(policy=policy)
            self.assertTrue(str(e.exception).strip(), policy)
        with self.assertRaises(bvisor.PolicyError):
            self.sb.start([])
        with self.assertRaises(bvisor.PolicyError):
            self.sb.start("a\0b")

    def test_threads(self):
        seen, errors = [], []

        def work(n):
            try:
                for i in range(5):
                    seen.append(self.sb.bash(f"echo {n}.{i}").stdout == f"{n}.{i}\n")
            except Exception as e:
                errors.append(e)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual((seen, errors), ([True] * 80, []))


class Uses(unittest.TestCase):
    def test_stats(self):
        with Sandbox() as sb:
            idle = sb.stats()
            self.assertEqual(idle.processes, 0)
            sb.bash("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
            with sb.start("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo up; sleep 60 & sleep 60") as p:
                p.stdout.readline()
                self.assertTrue(until(lambda: sb.stats().processes == 3))
                busy = sb.stats()
            self.assertGreater(busy.memory, idle.memory + 20000000)
            self.assertGreater(busy.cpu_time, idle.cpu_time)
            self.assertGreater(busy.uptime, idle.uptime)
            self.assertTrue(until(lambda: sb.stats().processes <= 1))  # the one in the background is killed with the group, or stays

    def test_network(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        port = server.getsockname()[1]
        reach = ["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"]
        with Sandbox() as sb:
            self.assertNotEqual(sb.run(reach, check=False).exit_code, 0)
            sb.network.allow(f"127.0.0.1:{port}", "192.0.2.0/24")
            sb.run(reach)
            sb.diff()  # opens it anew
            sb.run(reach)
            sb.network.allow()
            for bad in ("*.example.com", "host:0", "no-such-host.invalid", "-x"):
                with self.assertRaises(bvisor.SandboxError) as e:
                    sb.network.allow(bad)
                self.assertIn(bad, str(e.exception))
        with Sandbox(allow=[f"127.0.0.1:{port}"]) as sb:
            sb.run(reach)
        with Sandbox() as sb:
            self.assertNotEqual(sb.run(reach, check=False).exit_code, 0)

    def test_rule(self):
        for policy, rule in (({"net": "all"}, "net"), ({"options": {"core.workers": "x"}}, "core.workers")):
            with self.assertRaises(bvisor.BvisorError) as e:
                Sandbox(**policy)
            self.assertEqual(e.exception.rule, rule)

    def test_giving_up(self):
        async def main():
            # At once, or while it starts: nothing is left.
            for delay in (0, 0.001, 0.003, 0.01):
                task = asyncio.ensure_future(bvisor.AsyncSandbox.create())
                await asyncio.sleep(delay)
                if not task.cancel():  # a fast machine has made it by now
                    await task.result().close()
                    continue
                with self.assertRaises(asyncio.CancelledError):
                    await task
            async with bvisor.AsyncSandbox() as sb:
                for delay in (0, 0.001, 0.003):
                    task = asyncio.ensure_future(sb.run(["sleep", "1000"]))
                    await asyncio.sleep(delay)
                    task.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await task
                await sb.bash("true")
                self.assertTrue(await asyncio.to_thread(until, lambda: sb.sandbox.stats().processes == 0))
                with tempfile.TemporaryDirectory() as d:
                    fifo = os.path.join(d, "fifo")
                    os.mkfifo(fifo)
                    task = asyncio.ensure_future(sb._call(lambda: sb.sandbox._broker.call("command", argv=["import", "x", "--oci", fifo])))
                    await asyncio.sleep(0.3)
                    task.cancel()
                    began = time.monotonic()
                    with self.assertRaises(asyncio.CancelledError):
                        await task
                    self.assertLess(time.monotonic() - began, 5)
        asyncio.run(main())
        broker = bvisor._broker.shared()
        self.assertTrue(until(lambda: broker.call("sandbox.list")["sandboxes"] == []))

    def test_denials(self):
        told = []
        with Sandbox(on_denied=told.append, quota="1M") as sb:
            sb.bash("true")
            self.assertEqual(sb.denials(), [])
            sb.bash("exec 3<>/dev/tcp/192.0.2.1/80; cat /etc/shadow; chroot /; dd if=/dev/zero of=/tmp/x bs=64k count=100; true")
            found = sb.denials()
            self.assertEqual([(d.kind, d.by, d.call, d.errno, d.what, d.command) for d in found], [
                ("denied", "net", "connect", "ENETUNREACH", "192.0.2.1:80", "bash"),
                ("denied", "vfs-cow", "openat", "ENOENT", "/etc/shadow", "cat"),
                ("denied", "blocklist", "chroot", "EPERM", None, "chroot"),
                ("limit", "vfs-cow", "write", "ENOSPC", "quota", "dd")])
            self.assertEqual(found, told)
            self.assertEqual(str(found[0]), "bash: connect 192.0.2.1:80: ENETUNREACH")
            self.assertEqual(str(found[2]), "chroot: chroot: EPERM")
            self.assertEqual(sb.denials(), [])
            sb.rollback()
            sb.bash("chroot /", check=False)  # opened anew
            with sb.fork() as other:
                other.bash("chroot /", check=False)
                self.assertEqual(len(other.denials()), 1)
            self.assertEqual((len(sb.denials()), len(told)), (1, 6))
            sb.run(["python3", "-c", "import os, ctypes\nopen('/proc/self/comm', 'wb').write(b'\\xff')\nctypes.CDLL(None).chroot(b'/')"])
            self.assertEqual(sb.denials()[0].command, "\udcff")
            sb.run(["python3", "-c", "import ctypes; c = ctypes.CDLL(None)\nfor i in range(20000): c.chroot(b'/')"])
            sb.bash("sleep 0.1; chroot /; true")
            many = sb.denials()
            self.assertTrue(200 <= len(many) <= 1000 and sum(d.lost for d in many) + len(many) == 20001, len(many))
        with Sandbox() as sb, self.assertRaises(bvisor.PolicyError):
            sb.denials()

        def bad(_):
            raise RuntimeError("mine")
        hook, caught = sys.excepthook, []
        sys.excepthook = lambda *e: caught.append(str(e[1]))
        try:
            with Sandbox(on_denied=bad) as sb:
                sb.bash("chroot /", check=False)
                self.assertEqual((caught, len(sb.denials())), (["mine"], 1))
        finally:
            sys.excepthook = hook

    def test_watch(self):
        with tempfile.TemporaryDirectory(dir=support.STATE) as directory, Sandbox(cwd=directory) as sb:
            for name in ("old", "other"):
                with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
                    f.write(name)
            with sb.files.watch(".") as watch:
                sb.bash("echo x >new; echo y >>old; mv new newer; rm newer; rm other; mkdir d; mv old d/; mv d/old .")
                events = []
                for event in watch:
                    events.append((event.kind, event.name))
                    if event == bvisor.FileEvent("moved_to", "old", os.path.join(".", "old")):
                        break
            self.assertEqual(events, [("created", "new"), ("modified", "new"), ("modified", "old"), ("moved_from", "new"), ("moved_to", "newer"),
                                      ("deleted", "newer"), ("deleted", "other"), ("created", "d"), ("moved_from", "old"), ("moved_to", "old")])
            with sb.files.watch("d") as watch:
                sb.bash("rmdir d")
                self.assertEqual(list(watch), [])
            with self.assertRaises(FileNotFoundError):
                sb.files.watch("missing")


class Shells(unittest.TestCase):
    def test_state(self):
        with Sandbox() as sb, sb.shell() as sh:
            sh.run("cd /usr; x='a  b'; f() { echo \"f $1\"; }; export Y=1")
            self.assertEqual(sh.run("pwd; echo \"$x\"; f z; sh -c 'echo $Y'").stdout, "/usr\na  b\nf z\n1\n")
            self.assertEqual(sh.cwd, "/usr")
            r = sh.run("echo out; echo err >&2; false", check=False)
            self.assertEqual((r.exit_code, r.stdout, r.stderr), (1, "out\n", "err\n"))
            with self.assertRaises(bvisor.CommandError):
                sh.run("( exit 7 )")
            self.assertEqual(sh.run("printf 'no newline'").stdout, "no newline")
            self.assertEqual(sh.run("cat; echo end").stdout, "end\n")
            self.assertEqual(sh.run("if", check=False).exit_code, 2)
            self.assertEqual(sh.run("echo \"'quoted'\"\necho $'\\n' second; cat <<END\nhere\nEND").stdout, "'quoted'\n\n second\nhere\n")
            self.assertEqual(len(sh.run("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2").stdout_bytes), 3000000)
            self.assertEqual(sh.run("exec >/tmp/log; echo hidden").stdout, "")
            self.assertEqual(sb.bash("cat /tmp/log").stdout, "hidden\n")
            self.assertEqual(sh.run("ls /proc/self/fd | wc -l >&2").stderr.strip(), "4")
            self.assertEqual(sh.run("").stdout, "")

    def test_end(self):
        with Sandbox() as sb:
            sh = sb.shell(cwd="/etc", env={"A": "b"})
            self.assertEqual(sh.run("echo $PWD $A").stdout, "/etc b\n")
            r = sh.run("echo last; echo e >&2; exit 3", check=False)
            self.assertEqual((r.exit_code, r.stdout, r.stderr, sh.closed), (3, "last\n", "e\n", True))
            with self.assertRaises(bvisor.SandboxError):
                sh.run("true")
            sh.close()
            with sb.shell() as sh:
                with self.assertRaises(bvisor.TimeoutError) as e:
                    sh.run("echo before; sleep 60", timeout=0.3)
                self.assertEqual(e.exception.stdout, "before\n")
                self.assertTrue(sh.closed)
            with sb.shell() as one, sb.shell() as two:
                one.run("x=1")
                self.assertEqual(two.run("echo ${x-none}").stdout, "none\n")
                one.run("echo $x >left")
                sb.rollback()
                self.assertEqual(sb.diff(), [])
                self.assertEqual(two.run("ls left 2>&1 | wc -l; test -e left; echo $?").stdout, "1\n1\n")
                self.assertEqual(one.run("echo $x").stdout, "1\n")
            self.assertEqual(sb.diff(), [])

    def test_threads(self):
        with Sandbox() as sb, sb.shell() as sh:
            seen = []
            threads = [threading.Thread(target=lambda i=i: seen.append(sh.run(f"echo {i}").stdout == f"{i}\n")) for i in range(20)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(seen, [True] * 20)


class Kept(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=support.STATE)
        for name in ("one", "two"):
            with open(f"{self.dir}/{name}", "w", encoding="utf-8") as f:
                f.write(f"{name}\n")

    def test_commit_while_it_runs(self):
        with Sandbox(cwd=self.dir) as sb, sb.shell() as shell:
            shell.run("mkdir sub; cd sub; echo 1 >made")
            sb.commit()
            with open(f"{self.dir}/sub/made", encoding="utf-8") as f:
                self.assertEqual(f.read(), "1\n")
            self.assertEqual(sb.diff(), [])
            self.assertEqual(shell.run("echo 2 >>made; cat made; pwd").stdout, f"1\n2\n{self.dir}/sub\n")
            self.assertEqual([c["kind"] for c in sb.diff()], ["M"])
            with open(f"{self.dir}/sub/made", "a", encoding="utf-8") as f:
                f.write("theirs\n")
            with self.assertRaises(bvisor.ConflictError):
                sb.commit()
            sb.commit(force=True)
            with open(f"{self.dir}/sub/made", encoding="utf-8") as f:
                self.assertEqual(f.read(), "1\n2\n")

    def test_review(self):
        sb = Sandbox("work", cwd=self.dir)
        self.addCleanup(lambda: sb.remove() if not sb._closed else None)
        sb.bash("echo more >>one; rm two; echo new >three")
        self.assertEqual({(c["kind"], os.path.basename(c["path"])) for c in sb.diff()}, {("M", "one"), ("D", "two"), ("A", "three")})
        self.assertIn("+more\n", sb.patch())
        sb.snapshot("before")
        sb.bash("rm three")
        with sb.fork("work2", "before") as other:
            self.assertEqual(other.bash("cat three").stdout, "new\n")
            other.remove()
        with sb.start("read go; cat two; echo x >here") as p:
            sb.rollback(f"{self.dir}/two")
            p.stdin.write(b"go\n")
            p.stdin.close()
            self.assertEqual(p.stdout.read(), b"two\n")
            p.wait()
            self.assertEqual({os.path.basename(c["path"]) for c in sb.diff()}, {"one", "here"})
            sb.bash("rm here two")
        sb.commit(f"{self.dir}/one")
        with open(f"{self.dir}/one", encoding="utf-8") as f:
            self.assertEqual(f.read(), "one\nmore\n")
        self.assertTrue(os.path.exists(f"{self.dir}/two"))
        sb.rollback(f"{self.dir}/two")
        self.assertEqual(sb.diff(), [])
        sb.bash("echo inside >one")
        with open(f"{self.dir}/one", "w", encoding="utf-8") as f:
            f.write("outside\n")
        with self.assertRaises(bvisor.ConflictError) as conflict:
            sb.commit()
        self.assertEqual(len(conflict.exception.conflicts), 1)
        sb.bash("true")
        with self.assertRaises(bvisor.SandboxError):
            Sandbox("work")
        sb.close()
        with Sandbox("work") as again:
            self.assertEqual(again.bash(f"cat {self.dir}/one").stdout, "inside\n")
            again.remove()

    def test_while_it_runs(self):
        with Sandbox(cwd=self.dir) as sb:
            with sb.start("echo more >>one; echo up; cat") as p:
                p.stdout.readline()
                self.assertEqual([(c["kind"], c["path"]) for c in sb.diff()], [("M", f"{self.dir}/one")])
                self.assertIn("\n+more\n", sb.patch())
                sb.snapshot("running")
                with sb.fork() as now, sb.fork(tag="running") as then:
                    self.assertEqual(now.bash("cat one").stdout, then.bash("cat one").stdout)
                sb.commit()
                self.assertEqual(sb.diff(), [])
                p.stdin.write(b"through\n")
                p.stdin.close()
                self.assertEqual(p.stdout.read(), b"through\n")
            sb.bash("echo most >>one; setsid sleep 303 >/dev/null 2>&1 &")
            self.assertTrue(until(lambda: marked("303")))
            self.assertEqual(len(sb.diff()), 1)
            sb.commit()
            self.assertTrue(marked("303"), "what runs in the background goes on")
            sb.bash("echo once >>one")
            sb.rollback()
            self.assertEqual(sb.diff(), [])
            self.assertTrue(marked("303"), "also then")

    def test_unnamed(self):
        with Sandbox(cwd=self.dir) as sb:
            sb.bash("echo more >>one; rm two; echo new >three")
            self.assertEqual({(c["kind"], os.path.basename(c["path"])) for c in sb.diff()}, {("M", "one"), ("D", "two"), ("A", "three")})
            sb.snapshot("before")
            sb.bash("rm three")
            sb.rollback(f"{self.dir}/two")
            with sb.fork() as now, sb.fork(tag="before") as then:
                self.assertEqual(now.bash("ls").stdout, "one\ntwo\n")
                self.assertEqual(then.bash("ls").stdout, "one\nthree\n")
                self.assertEqual((now.name, then.name), (None, None))
            with self.assertRaises(bvisor.PolicyError):
                sb.fork("named")
            sb.commit()
            with open(f"{self.dir}/one", encoding="utf-8") as f:
                self.assertEqual(f.read(), "one\nmore\n")
        self.assertEqual(sorted(os.listdir(self.dir)), ["one", "two"])
        with Sandbox("kept") as sb:
            with self.assertRaises(bvisor.PolicyError):
                sb.fork()
            sb.remove()


class Async(unittest.IsolatedAsyncioTestCase):
    async def test_all(self):
        async with AsyncSandbox() as sb:
            r = await sb.bash("echo hi")
            self.assertEqual(r.stdout, "hi\n")
            with self.assertRaises(bvisor.CommandError):
                await sb.bash("exit 3")
            rs = await asyncio.gather(*(sb.bash(f"sleep 0.05; echo {i}") for i in range(8)))
            self.assertEqual([r.stdout for r in rs], [f"{i}\n" for i in range(8)])
            async with await sb.shell() as sh:
                await sh.run("cd /usr")
                self.assertEqual((await sh.run("pwd")).stdout, "/usr\n")
                slow = asyncio.ensure_future(sh.run("sleep 60"))
                await asyncio.sleep(0.2)
                slow.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await slow
            async with await sb.start("for i in 1 2 3; do echo $i; done; cat") as p:
                await p.write("end\n")
                await p.close_stdin()
                self.assertEqual([line async for line in p.stdout], [b"1\n", b"2\n", b"3\n", b"end\n"])
                self.assertEqual(await p.wait(), 0)
            await sb.files.write("/tmp/x", "y")
            self.assertEqual(await sb.files.read_text("/tmp/x"), "y")
            async with await sb.files.open("/tmp/x", "a") as f:
                await f.write("\nz\n")
            async with await sb.files.open("/tmp/x") as f:
                self.assertEqual([line async for line in f], ["y\n", "z\n"])
            task = asyncio.create_task(sb.bash("sleep 302"))
            await asyncio.sleep(0.3)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(until(lambda: not marked("302")), "what is cancelled is killed")

    async def test_loop_is_free(self):
        sb = await AsyncSandbox.create()
        worst = 0.0

        async def tick():
            nonlocal worst
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.005)
                worst = max(worst, time.monotonic() - before - 0.005)
        ticking = asyncio.create_task(tick())
        await sb.bash("sleep 0.5; head -c 1M /dev/zero")
        ticking.cancel()
        await sb.close()
        self.assertLess(worst, 0.2)
