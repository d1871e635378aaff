#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor rollback of a sandbox that runs: the host's is seen again, and guests go on."""
import os
import random
import subprocess
import time

import clitest
from kept import bvisor, changes, check, env, fresh, layers, ok, repo, run, tap
from lively import EDIT, OPS, Box, host, names

rounds = int(os.environ.get("ROUNDS", "8"))

# Everything, and it goes on.
fresh()
before = host()
box = Box("live")
shell = clitest.popen([bvisor, "exec", "live", "--", "bash"], cwd=repo, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def say(line):
    shell.stdin.write(line.encode() + b"\n")
    shell.stdin.flush()


def heard():
    return shell.stdout.readline()


check("changes", box.sh(EDIT), 0)
say("cd fresh/er; exec 3<>q 5<../../a; cat <&3; echo more >&3; pwd")
ok([heard(), heard()] == [b"q\n", f"{repo}/fresh/er\n".encode()], "somebody stands in a directory and has files open")
check("rollback", run("rollback", "live"), 0, None, b"")
ok(box.tree() == before, "the sandbox has what the host has", [box.tree(), before])
ok(changes("live") == {}, "nothing is left to say", [changes("live")])
ok(host() == before and run("log", "live").out.count(b"live") == 1, "the host is as it was, and no snapshot is left")
say("echo evenmore >&3; cat /proc/self/fd/3; head -1 <&5; ls; /bin/pwd 2>/dev/null || echo gone")
ok([heard() for _ in range(3)] == [b"q\n", b"more\n", b"evenmore\n"], "what is open stays open")
ok(heard() == b"ONE\n", "with what was in it")
ok(heard() == b"gone\n", "the directory that somebody stood in is gone")
check("again", run("rollback", "live"), 0, b"0 changes rolled back\n", b"")
check("new changes", box.sh("echo x >>a; mkdir fresh; echo f >fresh/f; rm -r dir; echo k >>keep"), 0)
ok(set(changes("live")) == {"a", "fresh", "fresh/f", "dir", "keep"}, "are told", [changes("live")])

# Parts.
check("a path", run("rollback", "live", "a"), 0, b"1 change rolled back\n", b"")
ok("a" not in changes("live") and "keep" in changes("live"), "is of no other", [changes("live")])
ok(box.sh("cat a").out == b"one\na\nthree\n", "and is the host's")
check("all but one", run("rollback", "live", "--exclude", "keep"), 0, None, b"")
ok(set(changes("live")) == {"keep"} and box.sh("cat dir/in; ls fresh").out == b"one\ndir/in\nthree\n", "leaves that one", [changes("live")])
check("a replaced directory", box.sh("rm -r dir; mkdir dir; echo 1 >dir/1; echo 2 >dir/2"), 0)
check("can only go as a whole", run("rollback", "live", "dir/1"), 1, None, b"replaced as a whole")
ok(box.sh("cat dir/1 dir/2").out == b"1\n2\n", "nothing is lost by that")
check("so", run("rollback", "live", "dir"), 0, None, b"")
ok(set(changes("live")) == {"keep"}, "it goes", [changes("live")])
check("a file that is named as a whiteout is", box.sh("mkdir own; echo 1 >own/x; echo 2 >own/.wh.x"), 0)
check("is no whiteout", run("rollback", "live", "own/x"), 0, b"1 change rolled back\n", b"")
ok(box.sh("ls -A own").out == b".wh.x\n", "where nothing of the host's is", [box.sh("ls -A own").out])
check("the rest", run("rollback", "live"), 0, None, b"")
ok(box.tree() == before and changes("live") == {}, "is as before")

# A directory with much in it is gone at once; its files are removed meanwhile.
check("many files", box.sh("mkdir many; cd many; seq 20000 | xargs touch; chmod 0 ."), 0)
check("rollback of them", run("rollback", "live"), 0, b"20001 changes rolled back\n", b"")
check("they are not there", box.sh("ls -d many || mkdir many && ls many"), 0, b"")
clitest.until(lambda: os.listdir(f"{layers}/live/trash") == [])
ok(os.listdir(f"{layers}/live/trash") == [], "and go")
check("rollback once more", run("rollback", "live"), 0, b"1 change rolled back\n", b"")

# Who watches is told.
box.sh("echo x >a; rm b; echo n >new")
w = clitest.popen([bvisor, "exec", "live", "--", "python3", "-Bu", "-c", """
import ctypes, os, struct
fd = ctypes.CDLL(None).inotify_init1(0)
ctypes.CDLL(None).inotify_add_watch(fd, b".", 0x3c0)
print("ready")
seen = {}
while len(seen) < 3 or len(seen["a"]) < 2:
    buf, at = os.read(fd, 4096), 0
    while at < len(buf):
        _, mask, _, n = struct.unpack_from("iIII", buf, at)
        seen.setdefault(buf[at + 16:at + 16 + n].rstrip(b"\\0").decode(), []).append(mask)
        at += 16 + n
print(sorted(seen.items()))
"""], cwd=repo, env=env, stdout=subprocess.PIPE, text=True)
w.stdout.readline()
check("rollback under a watch", run("rollback", "live"), 0, b"3 changes rolled back\n", b"")
ok(w.stdout.readline() == "[('a', [512, 256]), ('b', [256]), ('new', [512])]\n", "is told as removing and making")
shell.communicate(b"")
ok(box.end() == 0 and changes("live") == {}, "at the end nothing is left", [changes("live")])

# Killed in the middle, by either side.
box = Box("live")
check("a whole and parts", box.sh("mkdir w; cd w; seq 3000 | xargs touch; cd ..; for i in $(seq 300); do echo $i >f$i; done; rm -r dir old"), 0)
p = clitest.popen([bvisor, "rollback", "live"], cwd=repo, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(0.05)
os.kill(clitest.supervisor(box.process.pid), 9)
p.wait()
box.process.wait()
left = changes("live")
ok(left is not None and all(k.split("/")[0] in {"w", "dir", "old", *(f"f{i}" for i in range(1, 301))} for k in left), "what is left is what was", [len(left)])
check("the rest goes when it does not run", run("rollback", "live"), 0, None, b"")
ok(changes("live") == {} and run("run", "--name", "live", "--", "true").status == 0 and not os.path.exists(f"{layers}/live/trash"), "and nothing is left")

# By chance: what a rollback leaves is what one of a copy that does not run leaves, and who goes on finds what a new sandbox would.
fresh()
before = host()
box = Box("chance")
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
print(f"# SEED={seed}")
random.seed(seed)
bad = None
for n in range(rounds):
    for name in ("chance", "other"):
        if name == "other":
            r = run("run", "--name", name, "--", "python3", "-c", OPS, str(seed + n))
        else:
            r = run("exec", name, "--", "python3", "-c", OPS, str(seed + n))
        if r.status:
            bad = [n, name, r.err]
    mine = box.tree()
    theirs = Box("other")
    if not bad and names(mine) != names(theirs.tree()):
        bad = [n, "does not go on as a new one", {k: (mine.get(k), theirs.tree().get(k)) for k in {*mine, *theirs.tree()} if mine.get(k) != theirs.tree().get(k)}]
    theirs.end()
    part = random.choice("abcde")
    if not bad and random.random() < 0.7:
        a, b = run("rollback", "chance", part), run("rollback", "other", part)
        if (a.status, a.out, a.err) != (b.status, b.out, b.err) or changes("chance") != changes("other"):
            bad = [n, part, a.status, a.out, a.err, b.status, b.out, b.err, changes("chance"), changes("other")]
    a = run("rollback", "chance")
    if not bad and (a.status or box.tree() != before or changes("chance")):
        bad = [n, a.status, a.err, box.tree(), changes("chance")]
    run("rm", "other")
    if bad:
        break
ok(bad is None, f"{rounds} rounds of changes and rollbacks", [bad])
ok(box.end() == 0 and changes("chance") == {}, "and at its end nothing is left", [changes("chance")])
raise SystemExit(tap.done())
