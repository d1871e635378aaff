#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's walk-through: every command prints what stands there."""
import os
import re
import subprocess

import clitest

tap, bvisor, work = clitest.start()
with open(os.path.join(clitest.SOURCE, "README.md")) as f:
    block = re.search(r"<!-- walk-through: begin.*?```console\n(.*?)```", f.read(), re.S).group(1)
project, bin_dir = os.path.join(work, "project"), os.path.join(work, "bin")
for d in (project, bin_dir, f"{project}/docs"):
    os.mkdir(d)
os.symlink(bvisor, f"{bin_dir}/bvisor")
steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)
with open(f"{project}/docs/manual.txt", "w") as f:
    f.write("Say hello.\n")
for command, text in steps[:2]:
    with open(os.path.join(project, command.removeprefix("cat ")), "w") as f:
        f.write(text)
env = dict(os.environ, PATH=bin_dir + ":" + os.environ["PATH"], XDG_STATE_HOME=os.path.join(work, "state"), LC_ALL="C")
for command, want in steps:
    r = subprocess.run(["bash", "-c", command], cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=60)
    got = r.stdout.replace(project, "/home/you/project")
    tap.ok(r.returncode == 0 and not r.stderr and got == want, command, [repr(got), repr(want), repr(r.stderr)])
raise SystemExit(tap.done())
