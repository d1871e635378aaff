#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor diff --who: which command changed each path last."""
import json
import os
import time

from kept import bvisor, check, fresh, layers, ok, repo, run, sh, tap


def who(name):
    r = run("diff", "--who", "--json", name)
    return {c["path"].removeprefix(repo + "/"): c.get("command") for c in json.loads(r.out)} if r.status == 0 else r.err


fresh()
began = int(time.time())
script = ("sed -i s/one/ONE/ a; rm b; touch n 'with space' \"it's\"; mkdir d; cp a d/in; ln a link2; ln -s x sym; chmod 700 keep; "
          "mv old new; mkfifo p; truncate -s 3 dir/in; python3 -c 'import os; os.setxattr(\"ren\", \"user.x\", b\"1\")'")
sh("s", script)
got = who("s")
want = {"a": "sed -i s/one/ONE/ a", "b": "rm b", "n": "touch n 'with space' 'it'\\''s'", "with space": "touch n 'with space' 'it'\\''s'",
        "it's": "touch n 'with space' 'it'\\''s'", "d": "mkdir d", "d/in": "cp a d/in", "link2": "ln a link2", "sym": "ln -s x sym",
        "keep": "chmod 700 keep", "old": "mv old new", "new": "mv old new", "new/x": "mv old new", "p": "mkfifo p", "dir/in": "truncate -s 3 dir/in"}
ok({k: v for k, v in got.items() if k != "ren"} == want, "each change by its command", [got, want])
ok("os.setxattr" in got.get("ren", ""), "attributes too", [got.get("ren")])
r = run("diff", "--who", "--json", "s")
ok(all(began <= c["changed"] <= time.time() for c in json.loads(r.out)), "and its time", [r.out])
r = run("diff", "--who", "s")
today = time.strftime("%Y-%m-%d ", time.localtime(began))
ok(f"D {repo}/b  0  {today}".encode() in r.out and b"  rm b\n" in r.out, "as text", [r.out])
ok(b"rm b" not in run("diff", "s").out, "only if asked for")
sh("s", "echo later >>n; rm d/in; exec dd if=/dev/null of=a conv=notrunc status=none")
got = who("s")
ok(got.get("n", "").startswith("sh -c 'echo later") and got["a"].startswith("dd if=") and got["d"] == "mkdir d", "the last one counts", [got])
sh("s", "cat a b n d/in >/dev/null 2>&1; ls -l . >/dev/null; test -w a")
ok(who("s") == got, "who only reads is none", [who("s"), got])

if os.geteuid() == 0:
    sh("s", "echo mine >own; chmod 644 own")
    r = sh("s", "setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ': >>own'")
    ok(r.status != 0 and who("s")["own"] == "chmod 644 own", "nor who was refused", [r.err, who("s").get("own")])
    sh("s", "chmod 666 own; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'id -u >>own'; :")
    ok(os.path.dirname(repo).startswith("/root") or "id -u" in who("s")["own"], "other users count", [who("s").get("own")])
    got = who("s")

# With the layer wherever it goes.
run("snapshot", "s", "t")
run("fork", "s@t", "f")
ok(who("f") == got, "a fork knows it")
sh("o", "tee own </dev/null; rm keep")
sh("p", "touch other")
check("merge", run("merge", "o", "p", "--into", "m"), 0)
ok(who("m") == {"own": "tee own", "keep": "rm keep", "other": "touch other"}, "a merged one too", [who("m")])
run("commit", "m", "own")
ok("own" not in open(f"{layers}/m/meta/who").read(), "what was committed is forgotten")

# Odd commands.
fresh()
argv = ["run", "--name", "s", "--", "python3", "-c", "import sys; open(sys.argv[1], 'w')", "f", b"\xff\x1b[31m\n", "x" * 3000]
run(*argv)
r = run("diff", "--who", "s")
ok(r.status == 0 and b"\\377\\033[31m\\n" in r.out and b"\x1b" not in r.out and r.out.count(b"\n") == 1 and len(r.out) < 1300,
   "what could steer a terminal is escaped, what is long is cut", [r.out])
got = json.loads(run("diff", "--who", "--json", "s").out)[0]
ok(bytes.fromhex(got["command_hex"]).startswith(b"python3 -c") and "..." in got["command"], "no UTF-8 in JSON", [got])

# What has no name records only if asked.
r = run("diff", "--who", "--", "sh", "-c", "touch z")
ok(r.status == 0 and b"touch z\n" in r.out, "a sandbox without a name", [r.out, r.err])
run("run", "--name", "q", "-o", "vfs-cow.provenance=no", "--", "touch", "z")
r = run("diff", "--who", "q")
ok(r.status == 0 and r.out == f"A {repo}/z  0\n".encode() and not os.path.exists(f"{layers}/q/meta/who"), "provenance = no", [r.out, r.err])
check("--who with a patch", run("diff", "--who", "-p", "s"), 2, b"", b"--who goes with the list")
check("run has no --who", run("run", "--who", "true"), 2, b"", b"unknown option")
with open(f"{layers}/s/meta/who", "wb") as f:
    f.write(b"nonsense\0x\0")
check("a file of nonsense", run("diff", "s"), 125, b"", b"meta/who is not as bvisor writes it")
with open(f"{layers}/s/meta/who", "wb") as f:
    f.write(f"1 {repo}/f\0good\0{'2'} {repo}/f\0torn".encode())
ok(who("s").get("f") == "good", "one that was torn off", [who("s")])
raise SystemExit(tap.done())
