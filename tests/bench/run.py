#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The benchmarks: native, bvisor and, where they work, bwrap and proot, all in one run and taking
turns, so that a slow moment hits all of them.  Prints a table of medians, ratios and targets.

  single operations   micro.c, inside a running sandbox
  programs            timed inside a running sandbox (micro time), so without its start
  starts              from outside: the whole of `bvisor run -- /bin/true`
  floor               floor.c: what the kernel's notification costs by itself
"""
import argparse
import datetime
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guest"))
import harness  # noqa: E402
from layers import Layers  # noqa: E402

IMPORTS = "import json, asyncio, email.mime.text, http.client, unittest, xml.dom.minidom, sqlite3, argparse, logging"


class Row:
    """One line of the table: the median of each system's figures, in nanoseconds."""

    def __init__(self, name, runs, target=None):
        self.name, self.runs, self.target = name, runs, target

    def value(self, system):
        v = self.runs.get(system)
        return statistics.median(v) if v else None

    def spread(self, system):
        v = self.runs.get(system)
        return (max(v) - min(v)) / statistics.median(v) if v and len(v) > 1 else 0.0


def ratio(limit):
    def judge(row):
        r = row.value("bvisor") / row.value("native")
        return f"<= {limit:.2f}x", r <= limit
    return judge


def plus(limit, unit):
    def judge(row):
        more = row.value("bvisor") - row.value("native")
        return f"<= native + {limit:g} {unit}", more <= limit * {"ns": 1, "ms": 1e6}[unit]
    return judge


def floor_ratio(floor, name, limit):
    def judge(row):
        base = floor.get(name)
        if not base:
            return f"<= {limit:g}x floor", None
        return f"<= {limit:g}x floor ({show(base)})", row.value("bvisor") <= limit * base
    return judge


def merged_readdir(floor):
    """1,000 entries are two calls of 32 KiB and the one that says it is the end."""
    def judge(row):
        limit = 2 * row.value("native") + 3 * floor.get("getppid_trapped", 0)
        return f"<= 2x native + 3 traps ({show(limit)})", row.value("bvisor") <= limit if floor else None
    return judge


def show(ns):
    if ns is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:.0f} {unit}"
    return f"{ns:.0f} ns"


class Bench:
    def __init__(self, build, box, quick):
        self.box, self.quick, self.build, self.work = box, quick, build, harness.workdir(build)
        self.runs = 3 if quick else 7
        for tool in ("micro", "floor"):
            shutil.copy2(os.path.join(build, "tests", "bench", tool), os.path.join(self.work, tool))
        self.micro = os.path.join(self.work, "micro")
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": self.work, "LANG": "C.UTF-8", "TERM": "dumb"}
        self.env.update({k: v for k, v in os.environ.items() if k.startswith("BVISOR_")})
        self.systems = {"native": [], "bvisor": [box, "run", "--env-all", "--"]}
        for name, prefix in (("bwrap", ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--"]),
                             ("proot", ["proot"])):
            if shutil.which(name) and self.call(prefix + ["/bin/true"]).returncode == 0:
                self.systems[name] = prefix
        self.failed = []

    def call(self, argv, **kw):
        return subprocess.run(argv, cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=600, check=False, **kw)

    def prepare(self):
        w = self.work
        with open(os.path.join(w, "data"), "wb") as f:
            f.write(os.urandom(1 << 16))
        for name, n in (("many", 1000), ("repo", 500 if self.quick else 5000)):
            for i in range(n):
                d = os.path.join(w, name) if name == "many" else os.path.join(w, name, f"d{i % 50}")
                os.makedirs(d, exist_ok=True)
                with open(os.path.join(d, f"file{i}"), "w", encoding="ascii") as f:
                    f.write(f"content {i}\n")
        with open(os.path.join(w, "x.c"), "w", encoding="ascii") as f:
            f.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <pthread.h>\n#include <sys/socket.h>\n"
                    "int main(void) { puts(\"x\"); return 0; }\n")
        self.call(["git", "init", "-q", "repo"])
        self.call(["git", "-C", "repo", "add", "."])
        self.call(["git", "-C", "repo", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"])
        self.call(["git", "-C", "repo", "status"])
        os.mkdir(os.path.join(w, "pkg"))
        with open(os.path.join(w, "pkg", "package.json"), "w", encoding="ascii") as f:
            f.write('{"name": "pkg", "version": "1.0.0"}')
        if shutil.which("npm"):
            self.call(["npm", "pack", "--silent", "./pkg"])

    def floor(self):
        """The bare loop, and the same watching other events too, as a real supervisor must."""
        found = {}
        for how in ([], ["poll"]) * (1 if self.quick else 3):
            r = self.call([os.path.join(self.work, "floor")] + how)
            for line in r.stdout.decode().splitlines():
                name, _, ns = line.rpartition(" ")
                if name and ns.replace(".", "").isdigit():
                    found.setdefault(("poll " if how else "") + name.strip(), []).append(float(ns))
        return {name: statistics.median(v) for name, v in found.items()}

    def single(self):
        runs = {}
        for turn in range(self.runs):
            for system, prefix in self.systems.items():
                if system == "proot" and turn > 1:
                    continue  # a hundred times slower: enough is enough
                scale = "4" if system == "proot" else "20" if self.quick else "100"
                r = self.call(prefix + [self.micro, "all", scale])
                if r.returncode:
                    self.failed.append(f"{system}: micro: {r.stderr.decode()[-300:]}")
                for line in r.stdout.decode().splitlines():
                    name, ns = line.split("\t")
                    runs.setdefault(name, {}).setdefault(system, []).append(float(ns))
        return runs

    def program(self, name, argv, n, needs=None):
        runs = {}
        if not shutil.which(needs or argv[0]):
            return None
        for _ in range(max(2, self.runs // 2)):
            for system, prefix in self.systems.items():
                r = self.call(prefix + [self.micro, "time", str(max(1, n // 3 if self.quick else n))] + argv)
                if r.returncode:
                    self.failed.append(f"{system}: {name}: {r.stderr.decode()[-300:]}")
                    continue
                runs.setdefault(system, []).append(float(r.stdout.split()[-1]))
        return runs

    def start(self, argv, n):
        runs = {s: [] for s in self.systems}
        for i in range(n + 2):
            for system, prefix in self.systems.items():
                full = prefix + argv
                path = shutil.which(full[0])
                t = time.perf_counter_ns()
                pid = os.posix_spawn(path, full, self.env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
                status = os.waitpid(pid, 0)[1]
                t = time.perf_counter_ns() - t
                if status:
                    self.failed.append(f"{system}: {shlex.join(argv)}: wait status {status:#x}")
                if i > 1:
                    runs[system].append(float(t))
        return runs

    def memory(self):
        """Private memory, in bytes, of each process of bvisor itself while a guest runs that has worked a little."""
        p = subprocess.Popen([self.box, "run", "--env-all", "--", "bash", "-c",
                              "find /usr/include >/dev/null; for i in {1..50}; do /bin/true; echo $i >f$i; done; echo ready; exec sleep 60"],
                             cwd=self.work, env=self.env, stdout=subprocess.PIPE)
        p.stdout.readline()
        found, todo = [], [p.pid]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                    todo += map(int, f.read().split())
                if os.path.realpath(f"/proc/{pid}/exe") != os.path.realpath(self.box):
                    continue
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                    kib = sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
                found.append((pid, kib * 1024))
            except OSError:
                continue
        p.terminate()
        p.wait()
        p.stdout.close()
        # The front process is the one we started, the supervisor its child.
        return {("front" if pid == p.pid else "supervisor"): b for pid, b in found}


def collect(b, only):
    wanted = (lambda *names: any(o in n for o in only for n in names)) if only else (lambda *names: True)
    floor = b.floor() if wanted("floor", "open", "stat") else {}
    rows = []
    same = ratio(1.03)
    targets = {"getuid": plus(60, "ns"), "read 4 KiB": same, "write 4 KiB": same, "lseek": same, "mmap+touch 64 KiB": same,
               "pipe ping": same, "fork+exit+wait": ratio(1.1), "open+close": floor_ratio(floor, "open_close", 1.5),
               "stat": floor_ratio(floor, "stat", 1.5)}
    if wanted("start", "true"):
        rows.append(Row("start /bin/true", b.start(["/bin/true"], 20 if b.quick else 60), plus(2.5, "ms")))
        rows.append(Row("start bash -c 'echo hi'", b.start(["bash", "-c", "echo hi"], 20 if b.quick else 60)))
    if wanted("micro", *targets):
        rows += [Row(name, runs, targets.get(name)) for name, runs in b.single().items()]
    npm = "rm -rf node_modules package-lock.json; npm install --silent --no-progress --offline --no-audit --no-fund ./pkg-1.0.0.tgz"
    for name, argv, n, target, needs in (
            ("100 pipelines of 3 builtins", ["bash", "-c", "for i in {1..100}; do echo a b | { read x y; echo $y $x; } | { read z; echo $z; }; done"],
             9, ratio(1.25), None),
            ("loop of 1,000 /bin/true", ["bash", "-c", "for ((i = 0; i < 1000; i++)); do /bin/true; done"], 3, ratio(1.25), None),
            ("git status, 5,000 files", ["git", "-C", "repo", "status"], 9, None, None),
            ("find /usr", ["find", "/usr", "-xdev"] if not b.quick else ["find", "/usr/share", "-xdev", "-maxdepth", "3"], 3, None, None),
            ("python3 imports", ["/usr/bin/python3", "-c", IMPORTS], 9, None, None),
            ("gcc -c", ["gcc", "-c", "-O1", "x.c", "-o", "x.o"], 9, None, None),
            ("tar of 5,000 files", ["tar", "cf", "out.tar", "repo"], 5, None, None),
            ("npm install, offline", ["bash", "-c", npm], 3, None, "npm")):
        if wanted(name):
            runs = b.program(name, argv, n, needs)
            if runs:
                rows.append(Row(name, runs, target))
    rows += layer_rows(b, wanted, floor)
    memory = b.memory() if wanted("memory") else {}
    if wanted("SDK", "sdk"):
        more, idle = sdk_rows(b)
        rows += more
        memory.update(idle)
    return rows, floor, memory


def throughput(mib, per_second):
    def judge(row):
        speed = mib / (row.value("bvisor") / 1e9)
        return f">= {per_second} MiB/s ({speed:.0f})", speed >= per_second
    return judge


def sdk_rows(b):
    """The Python SDK's rows, and the private memory of one idle sandbox."""
    env = dict(b.env, BVISOR_BIN=b.box)
    r = subprocess.run([sys.executable, os.path.join(HERE, "sdk.py"), "20" if b.quick else "60"], cwd=b.work, env=env, capture_output=True, text=True,
                       timeout=600, check=False)
    if r.returncode:
        b.failed.append("bvisor SDK: " + r.stderr.strip()[-300:])
        return [], {}
    told = json.loads(r.stdout)
    targets = {"SDK: create + true": plus(1, "ms"), "SDK: 256 MiB of output": throughput(256, 400)}
    return [Row(name, runs, targets.get(name)) for name, runs in told["rows"].items()], {"idle sandbox": told["memory"]}


def layer_rows(b, wanted, floor):
    rows, layers = [], Layers(b)
    if wanted("dirs", "clean", "merged", "upper"):
        for name, runs in layers.dirs().items():
            target = None
            if ", clean" in name and "readdir" not in name:
                target = floor_ratio(floor, "open_close" if "open" in name else "stat", 1.4)
            elif name == "readdir of 1,000, merged":
                target = merged_readdir(floor)
            rows.append(Row(name, runs, target))
    for key, part in (("copy-up", layers.copyup), ("rm -rf cp -r commit", layers.trees), ("git checkout", layers.checkout),
                      ("commit", layers.commit)):
        if wanted(key):
            rows += [Row(name, runs) for name, runs in part()]
    return rows


def table(b, rows, floor, memory):
    others = [s for s in b.systems if s not in ("native", "bvisor")]
    head = ["", "native", "bvisor", "ratio"] + [c for s in others for c in (s, "ratio")] + ["target", ""]
    lines, missed = [head], 0
    for row in rows:
        base = row.value("native")

        def cell(system):
            v = row.value(system)
            return [show(v), f"{v / base:.2f}x" if v and base else "-"]
        text, met = row.target(row) if row.target and base and row.value("bvisor") else ("", None)
        missed += met is False
        lines.append([row.name, show(base) if base else "-"] + cell("bvisor") + [c for s in others for c in cell(s)] +
                     [text, {True: "met", False: "MISSED", None: ""}[met]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("  ".join(c.ljust(w) if i in (0, len(head) - 2) else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())
    if floor:
        print("\nfloor, a bare notify loop: " + ", ".join(f"{k} {show(v)}" for k, v in floor.items()))
    for who, size in memory.items():
        limit = {"supervisor": 4, "idle sandbox": 1.5}.get(who)
        met = not limit or size <= limit * (1 << 20)
        missed += not met
        print(f"private memory of {'an' if who[0] == 'i' else 'the'} {who}: {size / (1 << 20):.2f} MiB" +
              (f" (<= {limit} MiB: {'met' if met else 'MISSED'})" if limit else ""))
    return missed


def main():
    ap = argparse.ArgumentParser(description="compare native, bvisor, bwrap and proot")
    ap.add_argument("build", help="build directory (tests/bench/micro and floor)")
    ap.add_argument("only", nargs="*", help="only rows whose name contains one of these (micro, start, memory, git, ...)")
    ap.add_argument("--bvisor", help="the binary under test (default: $BVISOR)")
    ap.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    ap.add_argument("--json", action="store_true", help="every figure as JSON instead of the table")
    args = ap.parse_intermixed_args()

    b = Bench(os.path.abspath(args.build), harness.bvisor(args), args.quick)
    b.prepare()
    header = (f"{datetime.date.today()}, Linux {os.uname().release} {os.uname().machine}, {os.cpu_count()} CPUs, "
              f"median of {b.runs} runs: {shlex.join([os.path.relpath(sys.argv[0])] + sys.argv[1:])}")
    if not args.json:
        print(header, flush=True)
    rows, floor, memory = collect(b, args.only)
    if args.json:
        print(json.dumps({"header": header, "floor_ns": floor, "memory_bytes": memory, "failed": b.failed, "rows": [
            {"name": r.name, "median_ns": {s: r.value(s) for s in r.runs}, "spread": {s: round(r.spread(s), 3) for s in r.runs},
             "target": r.target(r)[0] if r.target and r.value("bvisor") else None,
             "met": r.target(r)[1] if r.target and r.value("bvisor") else None} for r in rows]}, indent=1))
    else:
        missed = table(b, rows, floor, memory)
        print(f"targets missed: {missed}")
    for line in dict.fromkeys(b.failed):
        print("failed: " + line, file=sys.stderr)
    return int(any(line.startswith(("native", "bvisor")) for line in b.failed))


if __name__ == "__main__":
    sys.exit(main())
