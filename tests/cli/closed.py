#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An ordinary user's sandboxes: directories and files that are closed to their owner, who bvisor is."""
import os
import subprocess
import sys

import clitest

tap, bvisor, work = clitest.start()
ok = tap.ok
home = os.path.join(work, "home")
repo = os.path.join(home, "repo")
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
env = dict(os.environ, HOME=home, XDG_STATE_HOME=os.path.join(home, "state"), LC_ALL="C", BVISOR_BIN=bvisor,
           PYTHONPATH=os.path.join(clitest.SOURCE, "sdk", "python"))
os.mkdir(home)
os.chmod(work, 0o755)
if who:
    os.chown(home, 65534, 65534)


def user(*argv, cwd=repo):
    """What the command says, and its status."""
    r = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=60 * clitest.SLOW, check=False, **who)
    return r.stdout + r.stderr + (f"status {r.returncode}\n" if r.returncode else "")


def bv(*argv):
    return user(bvisor, *argv)


def is_(got, want, what):
    ok(got == want, what, [f"{got!r}, wanted {want!r}"])


try:
    said = user("sh", "-c", f'mkdir repo && test -x "{bvisor}" && test -r "{env["PYTHONPATH"]}/bvisor/__init__.py"', cwd=home)
except OSError as e:
    said = str(e)
if said:
    tap.skip("an ordinary user", "cannot reach the programs here")
    sys.exit(tap.done())

# Read-only directories, as module caches have them: one of the host's, and new ones.
user("sh", "-c", "mkdir old; echo o >old/o; echo p >old/p; chmod 555 old")
is_(bv("run", "--name", "closed", "--", "sh", "-c",
       "mkdir -p ro/sub/deep; echo data >ro/f; echo q >ro/sub/q; echo z >ro/sub/deep/z; chmod 444 ro/f; chmod 555 ro/sub/deep ro/sub ro;"
       "chmod 755 old; echo n >old/n; rm old/o; echo pp >old/p; chmod 555 old"), "", "written")
changes = [("A", "old/n"), ("D", "old/o"), ("M", "old/p"), ("A", "ro"), ("A", "ro/f"), ("A", "ro/sub"), ("A", "ro/sub/deep"),
           ("A", "ro/sub/deep/z"), ("A", "ro/sub/q")]
is_([(line[0], line[2:].split("  ")[0].replace(repo + "/", "")) for line in bv("diff", "closed").splitlines()], changes, "a closed directory is no change")
is_(bv("commit", "closed"), "9 changes committed\n", "commit")
tree = "old 555\nold/n 644\nold/p 644\nro 555\nro/f 444\nro/sub 555\nro/sub/deep 555\nro/sub/deep/z 644\nro/sub/q 644\n"
listing = ("sh", "-c", "find . -mindepth 1 -printf '%P %m\\n' | sort; cat old/p ro/sub/deep/z")
is_(user(*listing), tree + "pp\nz\n", "the host has it, as closed as it was")
is_(bv("diff", "closed"), "", "and the layer nothing more")
is_(bv("run", "--name", "closed", "--", "sh", "-c", "chmod 755 ro ro/sub old; rm ro/f; echo 1 >ro/sub/new; mkdir ro/mine; echo 2 >ro/mine/x; rm old/p; chmod 555 ro/mine ro ro/sub old"),
    "", "changed once more")
is_(bv("rollback", "closed").split(" ")[0], "5", "rollback")
is_(bv("diff", "closed") + bv("run", "--name", "closed", "--", *listing), tree + "pp\nz\n", "is as before")
is_(bv("run", "--name", "closed", "--", "sh", "-c", "chmod 700 ro; mv ro/sub ro/bus; chmod 555 ro"), "", "a closed directory is renamed")
is_(bv("commit", "closed") and user("sh", "-c", "ls ro ro/bus/deep"), "ro:\nbus\nf\n\nro/bus/deep:\nz\n", "and committed")
is_(bv("rm", "closed"), "", "rm")

# Attributes of what may not be read.
is_(bv("run", "--name", "mute", "--", "sh", "-c",
       "echo data >f; mkdir d; echo x >d/x; python3 -c 'import os; [os.setxattr(p, \"user.k\", b\"v\") for p in \"fd\"]'; chmod 200 f; chmod 0 d"), "", "attributes")
is_(bv("fork", "mute", "branch"), "", "fork")
is_(bv("run", "--name", "branch", "--", "sh", "-c",
       "stat -c '%n %a' f d; chmod 600 f; chmod 700 d; cat f d/x; python3 -c 'import os; print([os.getxattr(p, \"user.k\") for p in \"fd\"])'"),
    "f 200\nd 0\ndata\nx\n[b'v', b'v']\n", "are the fork's too")
is_(bv("rm", "mute", "branch"), "", "rm of both")

# bvisor where guests do not see it.
is_(user("/usr/bin/python3", "-c", f"""
from bvisor import Sandbox
with Sandbox(hide=[{os.path.dirname(bvisor)!r}]) as sb:
    print(sb.bash("ls {os.path.dirname(bvisor)} 2>/dev/null; id -u").stdout)
"""), f"{who.get('user', os.geteuid())}\n\n", "an SDK's sandbox from a hidden place")
sys.exit(tap.done())
