# SPDX-License-Identifier: Apache-2.0
"""A kept sandbox that runs while it is reviewed, and what is done in it."""
import json
import subprocess

import clitest
from kept import bvisor, env, repo, run, tree

EDIT = """set -e
sed -i s/one/ONE/ a; rm b; echo new >n; ln n n2; mkdir -p fresh/er; echo q >fresh/er/q; ln -sf keep link
chmod 751 keep; rm -r dir/sub; mv old moved; mv ren renamed; rm -r dir; mkdir dir; echo other >dir/in; mkfifo pipe; printf x >'odd
name'; mkdir empty; mv a a2; mv a2 a
"""

# What tree() of kept.py says, said inside.
TREE = """
import json, os
out = {}
for where, dirs, files in os.walk("."):
    for name in sorted(dirs + files):
        path = os.path.join(where, name)
        st = os.lstat(path)
        what = os.readlink(path) if os.path.islink(path) else None
        if not what and os.path.isfile(path):
            what = open(path).read()
        out[os.path.relpath(path, ".")] = (oct(st.st_mode), what, st.st_nlink if not os.path.isdir(path) else 0)
print(json.dumps(out))
"""


class Box:
    """A sandbox that runs until it is told to end."""

    def __init__(self, name):
        self.name = name
        self.process = clitest.popen([bvisor, "run", "--name", name, "--", "sh", "-c", "echo up; read end"], cwd=repo, env=env,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stdout.readline()

    def sh(self, script):
        return run("exec", self.name, "--", "sh", "-c", script)

    def tree(self):
        r = run("exec", self.name, "--", "python3", "-c", TREE)
        return {k: tuple(v) for k, v in json.loads(r.out).items()} if r.status == 0 else r.err

    def end(self):
        self.process.communicate(b"\n")
        return self.process.returncode


def host():
    return {k: (mode, what.decode() if isinstance(what, bytes) else what, n) for k, (mode, what, n) in tree(repo).items()}


OPS = """
import os, random, shutil, sys
random.seed(int(sys.argv[1]))
names = ["a", "b", "c", "d", "e"]
def path():
    return "/".join(random.choices(names, k=random.randint(1, 3)))
for _ in range(60):
    p, q = path(), path()
    try:
        random.choice([
            lambda: open(p, "a").write(str(random.random())), lambda: os.makedirs(p), lambda: os.unlink(p), lambda: shutil.rmtree(p),
            lambda: os.rename(p, q), lambda: os.link(p, q), lambda: os.symlink(random.choice(names), p), lambda: os.chmod(p, random.choice([0o755, 0o700])),
            lambda: os.truncate(p, random.randint(0, 5)), lambda: os.replace(p, q)])()
    except (OSError, shutil.Error):
        pass
"""


def names(listing):
    """Without link counts: names of one file that came to the host by several commits are copies there."""
    return {k: v[:2] for k, v in listing.items()} if isinstance(listing, dict) else listing
