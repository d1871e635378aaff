# SPDX-License-Identifier: Apache-2.0
"""Rows about files: layers, copy-up, whole trees, and what becomes of a sandbox's changes."""
import os
import shutil
import subprocess
import time

MIB = 1 << 20


def fill(path, size):
    """A file of random bytes: nothing may compress it or leave holes."""
    block = os.urandom(min(size, MIB))
    with open(path, "wb") as f:
        for _ in range(max(1, size // len(block))):
            f.write(block)
        os.fsync(f.fileno())


def tree(top, files, dirs=100):
    for i in range(files):
        d = os.path.join(top, f"d{i % dirs}")
        os.makedirs(d, exist_ok=True)
        with open(os.path.join(d, f"file{i}"), "w", encoding="ascii") as f:
            f.write(f"content {i}\n" * 20)


class Layers:
    """Measures with a Bench's systems; `say` turns named runs into rows."""

    def __init__(self, bench):
        self.b = bench
        self.work = os.path.join(bench.work, "layers")
        self.tool = os.path.join(self.work, "files")
        self.systems = {s: p for s, p in bench.systems.items() if s != "proot"}
        os.mkdir(self.work)
        shutil.copy2(os.path.join(bench.build, "tests", "bench", "files"), self.tool)

    def call(self, system, argv):
        r = subprocess.run(self.systems[system] + argv, cwd=self.work, env=self.b.env, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=600, check=False)
        if r.returncode:
            self.b.failed.append(f"{system}: {' '.join(argv[:3])}: {r.stderr.decode()[-300:]}")
        return r

    def path(self, name):
        return os.path.join(self.work, name)

    def fresh(self, *names):
        for name in names:
            shutil.rmtree(self.path(name), ignore_errors=True)

    def dirs(self):
        """open, stat and readdir by where a directory lives."""
        runs = {}
        for _ in range(self.b.runs):
            for system in self.systems:
                self.fresh("clean", "merged", "upper")
                for name in ("clean", "merged"):
                    tree(self.path(name), 1000, 1)
                    for entry in os.listdir(self.path(name + "/d0")):
                        os.rename(self.path(f"{name}/d0/{entry}"), self.path(f"{name}/{entry}"))
                    os.rmdir(self.path(name + "/d0"))
                for line in self.call(system, [self.tool, "dirs", "200" if self.b.quick else "1000"]).stdout.decode().splitlines():
                    name, ns = line.split("\t")
                    runs.setdefault(name, {}).setdefault(system, []).append(float(ns))
        return runs

    def timed(self, argv, before=lambda: None, runs=None):
        """The tool's own figure."""
        found = {}
        for _ in range(runs or max(2, self.b.runs // 2)):
            for system in self.systems:
                before()
                out = self.call(system, argv).stdout.split()
                if out:
                    found.setdefault(system, []).append(float(out[-1]))
        return found

    def copyup(self):
        """The first open for writing of a host file, by its size, and what others wait meanwhile."""
        big = 64 * MIB if self.b.quick else 1024 * MIB
        name = f"{big // MIB} MiB" if big < 1024 * MIB else "1 GiB"
        for size, n, label in ((1024, 200, "1 KiB"), (MIB, 20, "1 MiB"), (big, 1, name)):
            files = [self.path(f"{size}-{i}") for i in range(n)]
            for f in files:
                fill(f, size)
            yield f"copy-up of {label}", self.timed([self.tool, "open"] + files, self.settle)
        yield f"open beside a copy-up of {name}, worst", self.timed([self.tool, "beside", self.path(f"{big}-0"), self.path("1024-0")])
        os.unlink(self.path(f"{big}-0"))

    @staticmethod
    def settle():
        """ext4 gives no inode away that was freed less than 5 seconds ago (recently_deleted(), fs/ext4/ialloc.c,
        Linux 3.14), and looks long for another: what the run before has removed shall not count."""
        os.sync()
        time.sleep(6)

    def program(self, argv, before):
        """Of a program that can run once only: within the system, without its start."""
        def ready():
            before()
            self.settle()
        return self.timed([self.b.micro, "once"] + argv, ready)

    def trees(self):
        n = 2000 if self.b.quick else 10000
        tree(self.path("source"), n)

        def victim():
            self.fresh("victim")
            shutil.copytree(self.path("source"), self.path("victim"))

        def copy():
            self.fresh("copy")

        yield f"rm -rf of {n:,} host files", self.program(["rm", "-rf", "victim"], victim)
        yield f"cp -r of {n:,} host files", self.program(["cp", "-r", "source", "copy"], copy)
        self.fresh("victim", "copy")

    def checkout(self):
        """A tree with the shape of a kernel's: git switches between two commits of it."""
        n = 2000 if self.b.quick else 20000
        repo = self.path("kernel")

        def git(*args):
            subprocess.run(["git", "-C", repo, "-c", "user.name=x", "-c", "user.email=x@x", *args], check=True, capture_output=True, env=self.b.env)

        tree(repo, n, 400)
        git("init", "-q", "-b", "one")
        git("add", ".")
        git("commit", "-qm", "one")
        git("switch", "-qc", "two")
        for i in range(0, n, 4):
            with open(os.path.join(repo, f"d{i % 400}", f"file{i}"), "a", encoding="ascii") as f:
                f.write("more\n")
        git("commit", "-qam", "two")

        def back():
            git("checkout", "-q", "two")

        yield f"git checkout, {n // 4:,} of {n:,} files change", self.program(["git", "-C", "kernel", "checkout", "-q", "one"], back)
        self.fresh("kernel")

    def commit(self):
        """bvisor commit, beside the cp -a that would do the same natively."""
        n = 2000 if self.b.quick else 10000
        runs = {"native": [], "bvisor": []}
        env = dict(self.b.env, XDG_STATE_HOME=self.path("state"))
        for _ in range(2 if self.b.quick else 3):
            self.fresh("made", "state")
            self.settle()
            t = time.perf_counter_ns()
            subprocess.run(["cp", "-a", "source", "made"], cwd=self.work, check=True)
            runs["native"].append(time.perf_counter_ns() - t)
            self.fresh("made")
            self.settle()
            for argv in (["run", "--name", "bench", "--", "cp", "-a", "source", "made"], ["commit", "bench"]):
                t = time.perf_counter_ns()
                r = subprocess.run([self.b.box, *argv], cwd=self.work, env=env, capture_output=True, check=False)
                t = time.perf_counter_ns() - t
                if r.returncode:
                    self.b.failed.append(f"bvisor: {argv[0]}: {r.stderr.decode()[-300:]}")
            runs["bvisor"].append(t)
        self.fresh("made", "state")
        yield f"commit of {n:,} files (native: cp -a)", runs
