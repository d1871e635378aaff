# SPDX-License-Identifier: Apache-2.0
"""What the tests of kept sandboxes share: a small repository on the host, and the commands on it."""
import json
import os
import shutil
import subprocess

import clitest
from clitest import harness

tap, bvisor, work = clitest.start()
state = os.path.join(work, "state")
env = dict(os.environ, XDG_STATE_HOME=state)
repo = os.path.join(work, "repo")
layers = os.path.join(state, "bvisor", "sandboxes")


def ok(good, what, notes=()):
    return tap.ok(good, what, [repr(n) for n in notes])


def run(*args, cwd=repo, extra=None, **kw):
    return harness.run([bvisor, *args], preexec_fn=clitest.reset_signals, cwd=cwd, env=dict(env, **(extra or {})), **kw)


def sh(name, script, *options, **kw):
    return run("run", "--name", name, *options, "--", "sh", "-c", script, **kw)


def check(what, r, status, out=None, err=None):
    good = r.status == status and (out is None or r.out == out) and (err is None or err in r.err)
    ok(good, what, [f"status {r.status}, wanted {status}; stdout {r.out!r}, wanted {out!r}; stderr {r.err!r}, wanted {err!r}"])
    return r


def fresh(*names):
    """The repository as at the beginning, without sandboxes."""
    shutil.rmtree(state, ignore_errors=True)
    shutil.rmtree(repo, ignore_errors=True)
    os.mkdir(repo)
    for name in ("a", "b", "keep", "dir/in", "dir/sub/deep", "old/x", "ren"):
        path = os.path.join(repo, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(f"one\n{name}\nthree\n")
    os.symlink("a", os.path.join(repo, "link"))
    os.utime(repo, (1, 1))


def tree(top):
    """Everything below: type, mode, content, links."""
    out = {}
    for where, dirs, files in os.walk(top):
        for name in sorted(dirs + files):
            path = os.path.join(where, name)
            st = os.lstat(path)
            what = os.readlink(path) if os.path.islink(path) else None
            if not what and os.path.isfile(path):
                with open(path, "rb") as f:
                    what = f.read()
            out[os.path.relpath(path, top)] = (oct(st.st_mode), what, st.st_nlink if not os.path.isdir(path) else 0)
    return out


def changes(name):
    r = run("diff", "--json", name)
    return {c["path"].removeprefix(repo + "/"): c["kind"] for c in json.loads(r.out)} if r.status == 0 else r.err
