#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The wheel as its users have it: built, installed offline into a fresh venv, run from there."""
import argparse
import atexit
import glob
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
import harness  # noqa: E402

p = argparse.ArgumentParser()
p.add_argument("--build", required=True)
p.add_argument("--make", required=True, help="make-wheel.sh")
args = p.parse_args()
tap = harness.Tap()
# In /tmp, where many make their environments, and of which guests have one of their own.
work = tempfile.mkdtemp(prefix="bvisor-wheel-", dir="/tmp")
atexit.register(shutil.rmtree, work, True)
env = {k: v for k, v in os.environ.items() if not k.startswith("BVISOR_") and k != "PYTHONPATH"}


def run(what, *argv, **kw):
    r = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, **{"cwd": work, **kw})
    tap.ok(r.returncode == 0, what, (r.stdout + r.stderr).splitlines()[-20:] if r.returncode else ())
    return r


if subprocess.run(["/usr/bin/python3", "-c", "import setuptools, wheel, venv"], capture_output=True, check=False).returncode:
    print("1..0 # SKIP setuptools, wheel or venv of /usr/bin/python3 is missing")
    raise SystemExit(0)
run("a wheel is built", args.make, args.build, work)
wheels = glob.glob(f"{work}/bvisor-*.whl")
tap.ok(len(wheels) == 1 and "py3-none-linux" in wheels[0], "for every Python of this platform", wheels)
run("a fresh venv", "/usr/bin/python3", "-m", "venv", f"{work}/venv")
python = f"{work}/venv/bin/python"
run("it is installed offline", python, "-m", "pip", "install", "--no-index", "--no-deps", *wheels)
r = run("and runs from there", python, "-c", "from bvisor import Sandbox\nwith Sandbox() as sb: print(sb.bash('echo hello; hostname').stdout, end='')")
tap.ok(r.stdout == "hello\nbvisor\n", "hello", [r.stdout, r.stderr])
HIDDEN = """
import os, sys
from bvisor import Sandbox
with Sandbox(hide=[sys.argv[1]]) as sb:
    sb.files.write("/tmp/file", "text")
    print(sb.files.read("/tmp/file").decode(), sb.bash("ls -A /tmp").stdout.split(), os.path.basename(sb.bash("cat /proc/$PPID/comm").stdout))
    print([f.name for f in sb.files.list("/tmp")], sb.run(["id", "-u"], user=(65534, 65534)).stdout if os.getuid() == 0 else "65534\\n")
"""
r = run("also where guests do not see it", python, "-c", HIDDEN, work, cwd="/")
tap.ok(r.stdout.split() == ["text", "['file']", "bvisor-init", "['file']", "65534"], "with all it does", [r.stdout, r.stderr])
r = run("with its own program", python, "-c", "from bvisor import _broker; print(_broker.find_bvisor())")
tap.ok(r.stdout.startswith(f"{work}/venv/lib/"), "which it brings along", [r.stdout])
raise SystemExit(tap.done())
