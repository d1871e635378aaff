#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that are kept: run --name, ls, diff, commit, rollback, rm."""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import clitest
from clitest import harness
from kept import bvisor, changes, check, env, fresh, layers, ok, repo, run, sh, state, tap, tree, work

rounds = int(os.environ.get("ROUNDS", "20"))

EDIT = """set -e
sed -i s/one/ONE/ a; rm b; echo new >n; ln n n2; mkdir -p fresh/er; echo q >fresh/er/q; ln -sf keep link
chmod 751 keep; rm -r dir/sub; mv old moved; mv ren renamed; rm -r dir; mkdir dir; echo other >dir/in; mkfifo pipe; printf x >'odd
name'; mkdir empty; mv a a2; mv a2 a
"""

# A sandbox goes on where it was.
fresh()
before = tree(repo)
check("run --name", sh("one", "echo x >f; rm b; mkdir d; echo y >d/g; echo z >/tmp/t"), 0)
ok(tree(repo) == before, "the host is as it was")
check("the next run goes on in it", sh("one", "cat f d/g /tmp/t; ls b 2>/dev/null; echo +x >>f; cat f"), 0, b"x\ny\nz\nx\n+x\n")
check("another one has its own", sh("two", "ls f 2>/dev/null; cat b"), 0, b"one\nb\nthree\n")
check("no other name", sh("../evil", "true"), 125, b"", b"is no name for a sandbox")
check("nor an empty one", sh("", "true"), 125, b"", b"is no name for a sandbox")
check("guests see nothing of the layers", sh("one", f"ls -d {state}/bvisor {layers} 2>/dev/null; echo"), 0, b"\n")
check("nor does one without a name, even with its directory open for writing",
      run("run", "--rw", work, "--", "sh", "-c", f"ls -d {state}/bvisor {layers} 2>/dev/null; echo"), 0, b"\n")
r = run("ls", "--json")
ok(r.status == 0 and [s["name"] for s in json.loads(r.out)] == ["one", "two"] and json.loads(r.out)[0]["start"] == repo,
       "ls --json", [r.out, r.err])
busy = clitest.popen([bvisor, "run", "--name", "one", "--", "sh", "-c", "echo; exec sleep 60"], cwd=repo, env=env, stdout=subprocess.PIPE)
busy.stdout.readline()
pid = clitest.supervisor(busy.pid)
check("one sandbox at a time", sh("one", "true"), 125, b"", f"sandbox 'one' is in use by process {pid}".encode())
check("what a killed one left", run("snapshot", "one", "bvisor-look.999999999"), 0)
now = sorted(changes("one"))
ok(now and run("diff", "one").status == 0 and run("log", "one").out.count(b"one") == 1, "it is looked at meanwhile, and nothing stays of that", [now])
check("not removed", run("rm", "one"), 125, b"", b"in use by process")
ok(str(pid).encode() in run("ls").out, "ls tells who runs")
busy.kill()
busy.wait()
clitest.until(lambda: not clitest.children(pid) and clitest.state(pid) is None)
check("rm", run("rm", "one", "two"), 0, b"")
check("and they are gone", run("ls"), 0, b"")

# What they take.
sh("big", "head -c 3000000 /dev/urandom >big; ln big again; mkdir dir; head -c 100 /dev/urandom >dir/small; truncate -s 1G hole")
sh("small", "true")
r = run("ls", "--size", "--json")
sizes = {x["name"]: (x["bytes"], x["files"]) for x in json.loads(r.out)}
ok(3000000 <= sizes["big"][0] < 3200000 and sizes["big"][1] >= 4 and sizes["small"][0] < 100000, "ls --size --json: with links once, and holes not", [sizes])
table = {line.split()[0]: line.split() for line in run("ls", "-s").out.decode().splitlines()}
ok(table["NAME"][3] == "SIZE" and table["big"][4] in ("2.9M", "3.0M") and table["big"][5] == repo, "ls -s", table)
ok("bytes" not in json.loads(run("ls", "--json").out)[0] and b"SIZE" not in run("ls").out, "only when asked for")
check("of nothing else", run("log", "-s", "big"), 2, b"", b"-s")
run("rm", "big", "small")
check("and they are gone", run("ls", "-s"), 0, b"")
check("no such sandbox", run("diff", "one"), 125, b"", b"there is no sandbox 'one'")
check("rm of none", run("rm", "one"), 125, b"", b"there is no sandbox 'one'")

# What changed.
fresh()
check("changes of every kind", sh("s", EDIT), 0)
want = {"a": "M", "b": "D", "n": "A", "n2": "A", "fresh": "A", "fresh/er": "A", "fresh/er/q": "A", "link": "M", "keep": "M",
        "old": "D", "moved": "A", "moved/x": "A", "dir/in": "M", "dir/sub": "D", "pipe": "A", "odd\nname": "A", "empty": "A", "renamed": "R"}
ok(changes("s") == want, "diff lists them", [changes("s")])
check("a mode by itself", run("diff", "s"), 0)
ok(f"R {repo}/ren -> {repo}/renamed  14\n".encode() in run("diff", "s").out, "a rename", [run("diff", "s").out])
ok(b"keep  15  mode 644 -> 751\n" in run("diff", "s").out, "says from what to what", [run("diff", "s").out])
patch = run("diff", "-p", "s").out
copy = os.path.join(work, "copy")
shutil.rmtree(copy, ignore_errors=True)
shutil.copytree(repo, copy, symlinks=True)
depth = repo.strip("/").count("/") + 2
r = subprocess.run(["git", "apply", f"-p{depth}", "--whitespace=nowarn", "-"], input=patch, cwd=copy, capture_output=True,
                   env=dict(env, GIT_CEILING_DIRECTORIES=work))
ok(r.returncode == 0, "the patch applies with git", [r.stderr, patch])
left = {k: v[1] for k, v in tree(copy).items() if v[1] is not None}
check("commit", run("commit", "s"), 0, b"19 changes committed\n")
made = {k: v[1] for k, v in tree(repo).items() if v[1] is not None}
ok(left == made, "and gives what was committed", [left, made])

# Commit.
fresh()
sh("s", EDIT)
inside = sh("s", "find . -mindepth 1 -printf '%p %y %m %s %l %n\\n' | sort; cat a n dir/in")
check("--dry-run names all", run("commit", "-n", "s"), 0)
ok(tree(repo) == before, "and does nothing")
check("one path", run("commit", "s", "a"), 0, b"1 change committed\n")
ok(open(f"{repo}/a").read().startswith("ONE") and os.path.exists(f"{repo}/b"), "that alone")
ok("a" not in changes("s") and "b" in changes("s"), "which has left the layer", [changes("s")])
check("a file of a new directory", run("commit", "s", "fresh/er/q"), 0, b"1 change committed\n")
ok(os.path.exists(f"{repo}/fresh/er/q"), "brings its directory")
check("--exclude", run("commit", "-v", "s", "-x", "dir", "-x", "n2", "-x", "pipe"), 0)
ok(set(changes("s")) == {"n2", "pipe", "dir/in", "dir/sub"}, "leaves out", [changes("s")])
check("the rest", run("commit", "s"), 0)
ok(changes("s") == {}, "nothing is left", [changes("s")])
after = harness.run(["sh", "-c", "find . -mindepth 1 -printf '%p %y %m %s %l %n\\n' | sort; cat a n dir/in"], cwd=repo, env=env)
a, b = (x.out.decode().replace(" 2\n", " 1\n") for x in (inside, after))  # n and n2 came one by one
ok(a == b, "the host is now as the sandbox was", [a, b])
check("and again", run("commit", "s"), 0, b"0 changes committed\n")
upper = [p for p, _, files in os.walk(f"{layers}/s/upper") for _ in files]
ok(not upper, "the layer is empty", upper)
fresh()
sh("s", EDIT)
run("commit", "s")
ok(os.stat(f"{repo}/n").st_ino == os.stat(f"{repo}/n2").st_ino, "hard links of one commit are links")

# Conflicts: nothing is written.
for what, do in (("changed", "echo host >>a"), ("replaced", "cp a t; mv t a"), ("deleted", "rm a"), ("made", "echo h >n"),
                 ("deleted what was deleted", None), ("changed below what was deleted", "echo h >>dir/sub/deep")):
    fresh()
    sh("s", EDIT)
    subprocess.run(["sh", "-c", do or "rm b"], cwd=repo, check=True)
    was = tree(repo)
    r = run("commit", "s")
    if do is None:
        ok(r.status == 0, f"no conflict: the host {what} too", [r.out, r.err])
        continue
    ok(r.status == 3 and tree(repo) == was and r.err.count(b"commit: conflict: ") == 1, f"conflict: the host {what}", [r.status, r.out, r.err])
    ok(run("commit", "--force", "s").status == 0 and changes("s") == {}, "--force", [changes("s")])
fresh()
sh("s", f"echo x >{work}/beside; echo y >n")
check("outside of where it was started", run("commit", "s"), 3, b"", b"outside: " + work.encode())
ok(not os.path.exists(f"{repo}/n"), "nothing is written")
check("but by name", run("commit", "s", "."), 0, b"1 change committed\n")
check("or by force", run("commit", "-f", "s"), 0, b"1 change committed\n")

fresh()
sh("s", "cp /bin/true t; chmod 4755 t; chmod 2755 dir; chmod 4644 a")
check("set-user-ID files are not brought by accident", run("commit", "s"), 3, b"", b"set-user-ID")
ok(not os.path.exists(f"{repo}/t"), "nothing is written")
check("a set-group-ID directory gives nobody anything", run("commit", "s", "dir"), 0, b"1 change committed\n")
check("by force they are", run("commit", "--force", "s"), 0)
ok(os.stat(f"{repo}/t").st_mode & 0o4000, "as they were")

# No symlink of the host is followed.
fresh()
os.makedirs(f"{work}/victim", exist_ok=True)
sh("s", "echo evil >>dir/in; echo new >dir/new")
shutil.rmtree(f"{repo}/dir")
os.symlink(f"{work}/victim", f"{repo}/dir")
check("a directory became a symlink: a conflict", run("commit", "s"), 3)
r = run("commit", "--force", "s")
ok(r.status == 0 and os.listdir(f"{work}/victim") == [] and not os.path.islink(f"{repo}/dir"), "by force a directory again", [r.out, r.err])
fresh()
sh("s", "mkdir -p dir/x/y; echo evil >dir/x/y/z")
os.rename(f"{repo}/dir", f"{repo}/elsewhere")
os.symlink(f"{work}/victim", f"{repo}/dir")
r = run("commit", "--force", "s", "dir/x/y/z")
ok(r.status == 1 and os.listdir(f"{work}/victim") == [], "nothing is put behind a symlink", [r.status, r.out, r.err])

# Rollback.
fresh()
sh("s", EDIT)
check("rollback of a path", run("rollback", "s", "a", "fresh"), 0, b"4 changes rolled back\n")
ok("a" not in changes("s") and "fresh" not in changes("s") and "b" in changes("s"), "that alone", [changes("s")])
check("of a part of what was replaced as a whole", run("rollback", "s", "dir/in"), 1, None, b"replaced as a whole")
check("of all", run("rollback", "s"), 0)
ok(changes("s") == {}, "nothing is left", [changes("s")])
check("the sandbox shows the host again", sh("s", "cat a b dir/sub/deep; readlink link; ls"), 0,
      harness.run(["sh", "-c", "cat a b dir/sub/deep; readlink link; ls"], cwd=repo, env=env).out)

# Directories that a guest closed.
fresh()
check("closed directories", sh("s", "mkdir -p closed/er; echo x >closed/er/f; chmod 0 closed/er closed; chmod 500 dir; rm old/x; chmod 0 old"), 0)
ok(changes("s") == {"closed": "A", "closed/er": "A", "closed/er/f": "A", "dir": "M", "old": "M", "old/x": "D"}, "are looked into", [changes("s")])
check("and stay closed", sh("s", "stat -c %a closed dir old"), 0, b"0\n500\n0\n")
check("a sandbox with them can be removed", run("rm", "s"), 0)

# Snapshots and forks.
fresh()
sh("s", "echo 1 >v; rm b; chmod 700 dir; ln v w; mkfifo p; truncate -s 1M hole; setfattr -n user.x -v y v 2>/dev/null; rm -r old; mkdir old")
check("snapshot", run("snapshot", "s", "one"), 0, b"")
sh("s", "echo 2 >v; echo x >b")
check("snapshot of the next state", run("snapshot", "s", "two"), 0, b"")
check("no tag twice", run("snapshot", "s", "two"), 125, b"", b"'s@two': File exists")
sh("s", "rm v")
check("fork of a snapshot", run("fork", "s@one", "f1"), 0, b"")
check("is as it was", sh("f1", "cat v; ls b 2>/dev/null; stat -c %a,%h dir v | sort; ls -d old/* 2>/dev/null; test -p p && stat -c %s,%b hole"), 0)
ok(sh("f1", "cat v; ls b 2>&1 >/dev/null | wc -l; stat -c %h v").out == b"1\n1\n2\n", "with its links")
check("fork of another", run("fork", "s@two", "f2"), 0, b"")
check("is as that was", sh("f2", "cat v b"), 0, b"2\nx\n")
check("fork of the present", run("fork", "s", "f3"), 0, b"")
check("is as it is", sh("f3", "cat b; ls v 2>/dev/null || echo gone"), 0, b"x\ngone\n")
sh("f1", "echo changed >v")
check("forks do not touch each other", run("fork", "s@one", "f4"), 0)
check("nor snapshots", sh("f4", "cat v"), 0, b"1\n")
ok(changes("f1").get("v") == "A" and changes("f1").get("b") == "D", "a fork can be reviewed", [changes("f1")])
check("and committed", run("commit", "f1"), 0)
ok(open(f"{repo}/v").read() == "changed\n" and not os.path.exists(f"{repo}/b"), "as any other")
check("which its origin then sees as a conflict", run("commit", "f4"), 3)
check("fork to what is there", run("fork", "s", "f1"), 125, b"", b"'f1': File exists")
check("fork of nothing", run("fork", "nothing", "f9"), 125, b"", b"there is no sandbox 'nothing'")
check("fork of no snapshot", run("fork", "s@nine", "f9"), 125, b"", b"sandbox 's' has no snapshot 'nine'")
check("diff of a snapshot", run("diff", "s@one"), 0)
ok("v" in changes("s@one") and "v" in changes("s@two"), "which tells what was changed then", [changes("s@one")])
check("diff of no snapshot", run("diff", "s@nine"), 125, b"", b"sandbox 's' has no snapshot 'nine'")
check("no commit of a snapshot", run("commit", "s@one"), 2, b"", b"fork it first")
check("nor a run in it", run("run", "--name", "s@one", "true"), 2, b"", b"fork it")
r = run("run", "-o", "vfs-cow.upper=local:s@one", "-o", "vfs-cow.create=no", "--", "sh", "-c", "echo x >new || :")
ok("new" not in changes("s@one"), "whatever one tries", [r.out, r.err])
check("a snapshot is removed", run("snapshot", "s", "three"), 0)
check("by itself", run("rm", "s@three"), 0, b"")
check("once", run("rm", "s@three"), 125, b"", b"sandbox 's' has no snapshot 'three'")
check("snapshot to a bad name", run("snapshot", "s", "../x"), 125, b"", b"is no name")
log = run("log", "f1").out.decode()
ok([x.split("  ", 1)[1] for x in log.splitlines()] == ["s", "  f3", "  s@one", "    f1", "    f4", "  s@two", "    f2"], "log", [log])
ok({s["name"]: s["parent"] for s in json.loads(run("log", "--json").out)} ==
   {"s": "", "s@one": "s", "s@two": "s", "f1": "s@one", "f2": "s@two", "f3": "s", "f4": "s@one"}, "log --json")
check("log of nothing", run("log", "nothing"), 125, b"", b"there is no sandbox 'nothing'")
busy = clitest.popen([bvisor, "run", "--name", "s", "--", "sh", "-c", "echo; while :; do for i in 1 2 3 4 5 6 7 8; do echo $i >r$i; mv r$i q$i; done; done"],
                     cwd=repo, env=env, stdout=subprocess.PIPE)
busy.stdout.readline()
rs = [run("snapshot", "s", f"busy{i}") for i in range(5)]
ok(sum(r.status == 0 for r in rs) >= 1, "snapshots of one that runs", [r.err for r in rs])
busy.terminate()
busy.wait()
good = [i for i, r in enumerate(rs) if r.status == 0]
ok(all(run("fork", f"s@busy{i}", f"b{i}").status == 0 and sh(f"b{i}", "ls >/dev/null; cat b").out == b"x\n" for i in good), "open as after a crash")
check("rm takes snapshots along", run("rm", "s"), 0)
check("forks live on", sh("f2", "cat v b"), 0, b"2\nx\n")
ok("s@two (removed)" in run("log", "f2").out.decode(), "and the log says of what", [run("log", "f2").out])
ok(not [d for d in os.listdir(layers) if d.startswith(".")], "nothing half made is left")

# What nobody uses is shared, not copied.
trees = os.path.join(state, "bvisor", "trees")


def shared(*names):
    """Of which of them the tree is somebody else's too, and how many such trees there are."""
    return [n for n in names if not os.path.exists(f"{layers}/{n}/upper")], len(os.listdir(trees))


LOOK = "cat v; stat -c %h,%a v w dir; test -p p && ls; echo new >>v"
SEEN = b"1\n2,644\n2,644\n3,700\na\ndir\nkeep\nlink\nold\np\nren\nv\nw\n"
MADE = "echo 1 >v; rm b; chmod 700 dir; ln v w; mkfifo p"


def made():
    fresh()
    sh("s", MADE)
    check("snapshot", run("snapshot", "s", "t"), 0)


made()
check("fork of a shared one", run("fork", "s", "f1"), 0)
check("fork of a shared snapshot", run("fork", "s@t", "f2"), 0)
ok(shared("s", "s/snapshots/t", "f1", "f2") == (["s", "s/snapshots/t", "f1", "f2"], 1), "four have one tree", [shared("s", "f1", "f2")])
ok(run("merge", "f1", "f2", "--into", "m").status == 0 and sh("m", LOOK).out == SEEN, "a merge reads it")
for name in ("f1", "s", "f2"):
    check(f"{name} is as it was", sh(name, LOOK), 0, SEEN)
ok(shared("s", "s/snapshots/t", "f1", "f2") == (["s/snapshots/t"], 1), "who is used has its own", [shared("s", "f1", "f2")])
check("fork of what is left", run("fork", "s@t", "f3"), 0)
check("rm of the others", run("rm", "s"), 0)
ok(shared("f3") == (["f3"], 1), "the tree stays while somebody has it", [shared("f3")])
inode = os.stat(f"{trees}/{os.listdir(trees)[0]}/upper{repo}/v").st_ino
check("the last one", sh("f3", LOOK), 0, SEEN)
ok(shared("f3") == ([], 0) and os.stat(f"{layers}/f3/upper{repo}/v").st_ino == inode, "gets it, and not a copy", [shared("f3")])
made()
run("fork", "s", "f")
run("rm", "s")
run("rm", "f")
ok(os.listdir(trees) == [], "and with the last one it goes", [os.listdir(trees)])

# Killed in the middle of it: each state that could be found.
def move(part, come):
    tree = f"{trees}/{os.listdir(trees)[0]}"
    a, b = f"{tree}/{part}", f"{layers}/s/{part}"
    os.rename(*((a, b) if come else (b, a)))


def alone():
    shutil.rmtree(f"{layers}/s/snapshots")


def copied(*parts):
    for part, name in parts:
        subprocess.run(["cp", "-a", f"{trees}/{os.listdir(trees)[0]}/{part}", f"{layers}/s/{name}"], check=True)


for what, steps in (
        ("about to be shared", lambda: (alone(), move("meta", True), move("upper", True))),
        ("its records shared", lambda: (alone(), move("upper", True))),
        ("half copied", lambda: copied(("meta", "meta.new"), ("meta", "upper.new"))),
        ("its records copied", lambda: copied(("meta", "meta"), ("upper", "upper.new"))),
        ("copied, and not told", lambda: copied(("meta", "meta"), ("upper", "upper"))),
        ("its records given back", lambda: (alone(), move("meta", True))),
        ("given back, and not told", lambda: (alone(), move("meta", True), move("upper", True)))):
    made()
    steps()
    check(what, sh("s", LOOK), 0, SEEN)
    ok(changes("s").get("v") == "A" and sorted(os.listdir(f"{layers}/s"))[:3] == ["lock", "manifest", "meta"] and
       "tree" not in open(f"{layers}/s/manifest").read(), "is whole again", [changes("s"), os.listdir(f"{layers}/s")])
made()
shutil.rmtree(trees)
check("a tree that is gone", sh("s", "echo ran"), 125, b"", b"shared tree: No such file")
with open(f"{layers}/s/manifest", "a") as f:
    f.write("tree ../../../../etc\n")
check("a tree that leads elsewhere", sh("s", "echo ran"), 125, b"", b"the layer's manifest, line")

# Layers edited into nonsense.
for what, path, text, err in (
        ("manifest of another version", "manifest", "bvisor layer 9\n", b"the layer's manifest, line 1"),
        ("manifest of nonsense", "manifest", "bvisor layer 1\ncreated soon\n", b"the layer's manifest, line 2"),
        ("manifest of zeros", "manifest", "\0" * 64, b"is no manifest of bvisor"),
        ("whiteout of nothing", "upper/.wh.", "", b"holds names (.wh.*) that bvisor does not give"),
        ("whiteout of ..", "upper/.wh...", "", b"holds names (.wh.*) that bvisor does not give"),
        ("long whiteout that lies", "upper/.wh..wh.long.0123456789abcdef", "x/../../etc", b"holds names (.wh.*)"),
        ("origins of nonsense", "meta/origins", "x\0", b"meta/origins is not as bvisor writes it")):
    fresh()
    sh("s", "true")
    with open(f"{layers}/s/{path}", "w") as f:
        f.write(text)
    r = sh("s", "echo ran")
    ok(r.status == 125 and r.out == b"" and err in r.err and r.err.count(b"\n") == 1, what, [r.status, r.out, r.err])
fresh()
sh("s", "true")
shutil.rmtree(f"{layers}/s/upper")
os.symlink("/etc", f"{layers}/s/upper")
check("an upper that is a symlink", sh("s", "echo ran"), 125, b"", b"upper: ")

# Misuse.
check("commit without a name", run("commit"), 2, b"", b"no name")
check("diff without anything", run("diff"), 2, b"", b"neither the name")
check("diff of two", run("diff", "a", "b"), 2, b"", b"one name is enough")
check("rollback --force", run("rollback", "-f", "s"), 2, b"", b"unknown option")
check("rm without a name", run("rm"), 2, b"", b"no name")
check("ls with one", run("ls", "x"), 2, b"", b"takes no arguments")
check("snapshot without a tag", run("snapshot", "s"), 2, b"", b"needs two names")
check("fork of three", run("fork", "a", "b", "c"), 2, b"", b"two names only")
check("log without a name", run("log"), 2, b"", b"no name")

# Killed at every step of a commit; the next one comes to the same end.
preload = os.environ.get("BVISOR_KILLAT", "")
if os.environ.get("ASAN_OPTIONS") or not os.path.exists(preload):
    tap.skip("killed at every step of a commit", "a preloaded library does not go with a sanitizer")
else:
    fresh()
    sh("s", EDIT)
    run("commit", "s")
    want, bad, step, stride = tree(repo), [], 1, int(os.environ.get("STRIDE", "3"))
    while True:
        fresh()
        sh("s", EDIT)
        r = run("commit", "s", extra={"LD_PRELOAD": preload, "KILL_AT": str(step)})
        killed = r.status != 0
        again = run("commit", "s")
        got = tree(repo)
        if again.status != 0 or got != want or changes("s") != {}:
            bad.append((step, again.err, {k: (want.get(k), got.get(k)) for k in {**want, **got} if want.get(k) != got.get(k)}))
        if not killed:
            break
        step += stride
    ok(not bad and step > 30, f"killed before every {stride}th of {step} steps of a commit", bad[:3])

# Killed under load: the layer opens and holds what was synced.
WRITER = r"""
import os, sys
i = 0
os.makedirs("w", exist_ok=True)
while True:
    name = "w/%06d" % i
    fd = os.open(name + ".t", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, name.encode() * 100)
    os.fsync(fd)
    os.close(fd)
    os.rename(name + ".t", name)
    d = os.open("w", os.O_RDONLY); os.fsync(d); os.close(d)
    print(name, flush=True)
    if i % 3 == 0:
        os.system("rm -rf dir; cp -r /usr/share/doc/bash dir 2>/dev/null; mv dir dir2; rm -rf dir2; mkdir dir; sed -i s/one/two/ a") if i % 30 == 0 else None
        open("keep", "a").write("x")
    i += 1
"""
fresh()
bad, total = [], 0
for n in range(rounds):
    p = clitest.popen([bvisor, "run", "--name", "k", "--", "python3", "-c", WRITER], cwd=repo, env=env, stdout=subprocess.PIPE,
                      stderr=subprocess.DEVNULL)
    first = p.stdout.readline()
    pid = clitest.supervisor(p.pid)
    time.sleep(random.random() * 0.15)
    os.kill(pid, signal.SIGKILL)
    said = [first.decode().strip()] + [s.decode().strip() for s in p.stdout.read().splitlines(True) if s.endswith(b"\n")]
    p.wait()
    clitest.until(lambda: not clitest.children(pid))
    total += len(said)
    r = sh("k", "for f in w/*; do case $f in *.t) continue;; esac; echo $f $(wc -c <$f); done; ls a keep >/dev/null")
    have = dict(line.split() for line in r.out.decode().splitlines() if len(line.split()) == 2)
    lost = [s for s in said if have.get(s) != str(100 * len(s))]
    if r.status != 0 or lost or run("diff", "k").status != 0:
        bad.append((n, r.status, r.err, lost[:3]))
ok(not bad, f"killed {rounds} times under load, nothing of {total} synced files lost", bad[:3])

raise SystemExit(tap.done())
