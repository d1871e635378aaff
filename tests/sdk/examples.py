#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every example of the Python SDK does what it says."""
import argparse
import atexit
import json
import os
import re
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guest"))
import harness  # noqa: E402

TOP = os.path.join(HERE, "..", "..")
EXAMPLES = os.path.join(TOP, "examples", "python")
p = argparse.ArgumentParser()
p.add_argument("--build", required=True)
args = p.parse_args()
tap = harness.Tap()
work = harness.workdir(args.build)
env = dict(os.environ, PYTHONPATH=os.path.join(TOP, "sdk", "python"), XDG_STATE_HOME=f"{work}/state", PYTHONDONTWRITEBYTECODE="1",
           GIT_CONFIG_GLOBAL="/dev/null")
seen = set()


def run(name, *argv, text=""):
    """Its output, if it succeeds."""
    seen.add(name)
    r = subprocess.run([sys.executable, os.path.join(EXAMPLES, name + ".py"), *argv], input=text, capture_output=True, text=True, env=env, cwd=work, check=False)
    tap.ok(r.returncode == 0, f"{name} runs", (r.stdout + r.stderr).splitlines()[-20:] if r.returncode else ())
    return r.stdout


def has(out, *lines):
    """All of these, in this order."""
    at = 0
    for line in lines:
        at = out.find(line, at)
        if at < 0:
            break
        at += len(line)
    tap.ok(at >= 0, f"and says {lines[-1]!r}", out.splitlines()[-30:] if at < 0 else ())


tap.ok(run("hello") == "Hello, world!\n", "hello says so")
has(run("run_python"), "{'sum': 6, 'squares': [1, 4, 9]}", "ModuleNotFoundError", "limit: cpu_seconds", "OSError")
out = run("boundaries")
tap.ok(out.count("kept: ") == len(out.splitlines()) == 14, "all promises are kept", out.splitlines())
has(run("filesystem"), "run.sh says 256", "directory logs", "the host still has ['config']", "+level = 3", "changes left: []", "committed: level = 3")
has(run("agent"), "AssertionError: Helo you!", "passed\n", "all is gone inside: True", "+    return f'Hello {name}!'", "not committed")
has(run("agent", "--yes"), "1 change committed", "greet.py | 2 +-")
has(run("parallel"), "ok  wc -l < data/numbers: 1000", "ok  rm -rf data; ls | wc -l: 0", "numbers: 5", "there", "FAILED  false")
has(run("repl", text="cd /usr; x=5\n%%\npwd; echo $x\n%%\nexit 3\n%%\npwd\n%%\nfalse"), "Out[2]: /usr\n5\n", "status 3", f"Out[4]: {work}\n", "Out[5]: \nstatus 1")

seen.add("server")


def server():
    """A server of strangers' programs, asked for some."""
    p = subprocess.Popen([sys.executable, os.path.join(EXAMPLES, "server.py"), "0"], env=env, cwd=work, stdout=subprocess.PIPE, text=True)
    atexit.register(p.kill)
    port = re.fullmatch(r"listening on (\d+)\n", p.stdout.readline())[1]

    def post(program):
        """The server's answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", program.encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                return r.status, json.load(r)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    status, answer = post("print(6 * 7)")
    tap.ok(status == 200 and (answer["status"], answer["stdout"], answer["limit"]) == (0, "42\n", None), "the server runs a program", [repr(answer)])
    status, answer = post("while True: pass")
    tap.ok(answer.get("limit") == "cpu_seconds", "with a limit on its time", [repr(answer)])
    status, answer = post("x = bytearray(1 << 30)")
    tap.ok("MemoryError" in answer["stderr"], "on its memory", [repr(answer)])
    status, answer = post("import socket; socket.create_connection(('127.0.0.1', %s))" % port)
    tap.ok(answer["status"] == 1, "without a network", [repr(answer)])
    status, answer = post("x" * 70000)
    tap.ok(status == 400 and "error" in answer, "not any size", [repr((status, answer))])
    p.kill()
    p.wait()


if os.path.realpath(os.environ["BVISOR_BIN"]).startswith(("/home/", "/root/", "/srv/")):
    tap.skip("server", "it hides /home, /root and /srv, and bvisor lies there")
else:
    server()
# The reference knows what there is.
sys.path.insert(0, os.path.join(TOP, "sdk", "python"))
import bvisor  # noqa: E402

with open(os.path.join(TOP, "docs", "api", "python.txt"), encoding="utf-8") as f:
    words = set(re.findall(r"\w+", f.read()))
names = set(bvisor.__all__) | {name for c in (bvisor.Sandbox, bvisor.Process, bvisor.Shell, bvisor.AsyncSandbox, bvisor.files.Files)
                               for name in vars(c) if not name.startswith("_") and name not in ("data", "end", "credit", "exited", "lost", "finish")}
tap.ok(names <= words, "docs/api/python.txt has every name (else ./dev docs)", [repr(names - words)])
with open(os.path.join(TOP, "docs", "api", "typescript.md"), encoding="utf-8") as f:
    words = set(re.findall(r"\w+", f.read()))
with open(os.path.join(TOP, "sdk", "typescript", "src", "sandbox.ts"), encoding="utf-8") as f:
    names = set(re.findall(r"^  (?:async |get |static async )?([a-z]\w+)\(", f.read(), re.M)) - {"constructor"}
with open(os.path.join(TOP, "sdk", "typescript", "src", "index.ts"), encoding="utf-8") as f:
    names |= set(re.findall(r"(?:type )?(\w+)[,;]? ?(?=[^{}]*\} from)", f.read())) - {"type"}
tap.ok(names <= words and "Sandbox" in names and "commit" in names, "docs/api/typescript.md too", [repr(names - words)])

every = {name[:-3] for name in os.listdir(EXAMPLES) if name.endswith(".py")}
tap.ok(seen == every, "no example was left out", [repr(every - seen)])
raise SystemExit(tap.done())
