#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor commit of a sandbox that runs: what is the host's now, and how the sandbox goes on."""
import os
import random
import signal
import subprocess
import time

import clitest
from kept import bvisor, changes, check, env, fresh, layers, ok, repo, run, tap, tree
from lively import EDIT, OPS, Box, host, names

rounds = int(os.environ.get("ROUNDS", "8"))
preload = os.environ.get("BVISOR_KILLAT", "")

def put(name, text):
    with open(os.path.join(repo, name), "w", encoding="utf-8") as f:
        f.write(text)


def begin_commit(name, wanted):
    """A commit that is stopped when the host has the first of the files of which many are wanted."""
    p = clitest.popen([bvisor, "commit", name], cwd=repo, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    some = os.path.join(repo, wanted)
    clitest.until(lambda: os.path.exists(some) or p.poll() is not None)
    p.send_signal(signal.SIGSTOP)
    return p


# Everything, and it goes on.
fresh()
box = Box("live")
shell = clitest.popen([bvisor, "exec", "live", "--", "sh"], cwd=repo, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
check("changes", box.sh(EDIT), 0)
shell.stdin.write(b"cd fresh/er; exec 3<>q; echo in\n")
shell.stdin.flush()
shell.stdout.readline()
before = tree(repo)
check("a dry run", run("commit", "--dry-run", "live"), 0, None, b"")
ok(tree(repo) == before, "does nothing")
check("commit", run("commit", "live"), 0, None, b"")
ok(host() == box.tree(), "the host has what the sandbox has", [host(), box.tree()])
ok(changes("live") == {}, "nothing is left to say", [changes("live")])
ok(run("log", "live").out.count(b"live") == 1, "no snapshot is left")
check("again", run("commit", "live"), 0, b"0 changes committed\n", b"")

# A directory that was only inside lies over the host's now.
shell.stdin.write(b"echo more >&3; rm q; echo w >w; ls; pwd\n")
shell.stdin.flush()
ok([shell.stdout.readline(), shell.stdout.readline()] == [b"w\n", f"{repo}/fresh/er\n".encode()], "who stands in it goes on")
check("more changes", box.sh("echo x >>n; rm fresh/er/w n2; echo y >fresh/z; rm -r moved; mkdir moved; echo m >moved/m; rm pipe link"), 0)
ok({k: v for k, v in changes("live").items() if k.startswith(("fresh", "n"))} == {"fresh/er/q": "D", "fresh/z": "A", "n": "M", "n2": "D"},
   "and are told", [changes("live")])
put("fresh/er/host", "host\n")
ok(box.sh("cat fresh/er/host").out == b"host\n", "what the host puts into it is seen inside")
check("commit of a path", run("commit", "live", "fresh"), 0, b"2 changes committed\n", b"")
ok(not os.path.exists(os.path.join(repo, "fresh/er/q")) and os.path.exists(os.path.join(repo, "n2")), "is of no other")
check("with exclusions", run("commit", "live", "--exclude", "moved"), 0, None, b"")
ok(sorted(os.listdir(os.path.join(repo, "moved"))) == ["x"], "which stay", [os.listdir(os.path.join(repo, "moved"))])
check("the rest", run("commit", "live"), 0, None, b"")
ok(host() == box.tree() and changes("live") == {}, "the same again", [host(), box.tree(), changes("live")])

# A directory in the place of one that was committed, removed and committed again.
for n, script in enumerate(("mkdir t; echo x >t/f", "rm -r t", "mkdir t u; echo y >u/f; mv -T u t", "rm t/f; echo z >t/g")):
    check(f"turn {n}", box.sh(script), 0)
    check("is committed", run("commit", "live"), 0, None, b"")
    ok(host() == box.tree() and changes("live") == {}, "and the same", [host(), box.tree(), changes("live")])

# Conflicts.
check("something in the way", box.sh("echo inside >a; echo fine >fine"), 0)
put("a", "outside, longer\n")
r = check("is a conflict", run("commit", "live"), 3, b"", b"conflict: ")
ok(not os.path.exists(os.path.join(repo, "fine")), "nothing was written")
check("or is forced", run("commit", "--force", "live"), 0, b"2 changes committed\n", b"")
check("and then the sandbox's turn again", box.sh("echo inside too >>a; cat a"), 0, b"inside\ninside too\n")
check("without a conflict", run("commit", "live"), 0, b"1 change committed\n", b"")

# Guests go on while it is written.
MANY = 800
check("many files", box.sh(f"mkdir many; cd many; for i in $(seq {MANY}); do echo $i >$i; done"), 0)
p = begin_commit("live", "many/1")
done = len(os.listdir(os.path.join(repo, "many")))
ok(0 < done < MANY, "a commit is under way", [done])
check("meanwhile", box.sh(f"cd many; rm 1 {MANY} 7; echo changed >2; echo changed >{MANY - 1}; echo new >new; mv 3 three; rm -rf ../dir"), 0)
p.send_signal(signal.SIGCONT)
ok(p.wait() == 0, "it ends well", [p.stderr.read()])
inside = box.tree()
ok("many/1" not in inside and "many/3" not in inside and "many/three" in inside and "dir" not in inside, "what was removed stays removed inside",
   [sorted(k for k in inside if k in ("many/1", "many/3", f"many/{MANY}", "dir"))])
ok({k: v for k, v in changes("live").items() if k.startswith("many")} ==
   {f"many/{k}": v for k, v in {"1": "D", "2": "M", "3": "D", "7": "D", "new": "A", "three": "A", str(MANY): "D", str(MANY - 1): "M"}.items()} or
   {k: v for k, v in changes("live").items() if k.startswith("many")} ==
   {f"many/{k}": v for k, v in {"1": "D", "2": "M", "7": "D", "new": "A", "three": "R", str(MANY): "D", str(MANY - 1): "M"}.items()},
   "and is a change", [changes("live")])
check("the next commit", run("commit", "live"), 0, None, b"")
ok(host() == box.tree() and changes("live") == {}, "makes them the same")

# It is killed, and made again.
check("many others", box.sh(f"mkdir other; cd other; for i in $(seq {MANY}); do echo $i >$i; done"), 0)
p = begin_commit("live", "other/1")
p.kill()
p.wait()
done = len(os.listdir(os.path.join(repo, "other")))
check("what it had written is removed inside", box.sh("rm other/1; ls other/1 2>/dev/null || echo gone"), 0, b"gone\n")
check("after a killed commit", run("commit", "live"), 0, None, b"")
ok(0 < done < MANY and not os.path.exists(os.path.join(repo, "other/1")) and host() == box.tree() and changes("live") == {}, "the next one does the rest", [done, changes("live")])
ok(run("log", "live").out.count(b"live") == 1, "and sweeps", [run("log", "live").out, p.pid])

# The sandbox ends while it is written.
check("and others", box.sh(f"mkdir last; cd last; for i in $(seq {MANY}); do echo $i >$i; done"), 0)
p = begin_commit("live", "last/1")
check("a change before the end", box.sh("echo end >last/2"), 0)
shell.communicate(b"")
ok(box.end() == 0, "the sandbox ends")
p.send_signal(signal.SIGCONT)
ok(p.wait() == 0, "the commit ends well", [p.stderr.read()])
ok(changes("live") == {"last/2": "M"}, "what it had not seen is left", [changes("live")])
check("and no conflict", run("commit", "live"), 0, b"1 change committed\n", b"")

# A commit that was interrupted when nothing ran knows its paths, but not what they held.
box = Box("live")
check("a change", box.sh("echo j >journal"), 0)
journal = os.path.join(layers, "live", "meta", "commit")
with open(journal, "wb") as f:
    f.write(os.fsencode(repo) + b"/journal\0")
check("an interrupted one", run("commit", "live"), 1, None, b"an earlier commit was interrupted: end the sandbox")
ok(not os.path.exists(os.path.join(repo, "journal")), "is not gone on with while it runs")
ok(box.end() == 0, "but afterwards")
check("is finished", run("commit", "live"), 0, None, b"")
ok(os.path.exists(os.path.join(repo, "journal")) and not os.path.exists(journal), "as it was meant")

# By chance: calls of all kinds, commits of all or a part, some of them killed.
fresh()
box = Box("chance")
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
print(f"# SEED={seed}")
random.seed(seed)
bad = None
for n in range(rounds):
    r = run("exec", "chance", "--", "python3", "-c", OPS, str(seed + n))
    if r.status:
        bad = [n, r.err]
        break
    if random.random() < 0.3:
        run("commit", "chance", random.choice("abcde"))
    if random.random() < 0.4:
        run("commit", "chance", extra={"LD_PRELOAD": preload, "KILL_AT": str(random.randrange(1, 60))})
    r = run("commit", "chance")
    if r.status == 3: # changed inside after a killed commit: the user decides
        r = run("commit", "--force", "chance")
    if r.status or names(host()) != names(box.tree()) or changes("chance"):
        a, b = host(), box.tree()
        box.process.kill()
        bad = [n, r.status, r.err, box.process.stderr.read(), {k: (a.get(k), b.get(k)) for k in {*a, *b} if a.get(k) != b.get(k)} if isinstance(b, dict) else b, changes("chance")]
        break
ok(bad is None, f"{rounds} rounds of changes and commits", [bad])
ok(box.end() == 0 and changes("chance") == {}, "and at its end nothing is left", [changes("chance")])
raise SystemExit(tap.done())
