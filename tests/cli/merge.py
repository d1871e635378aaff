#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor merge: two sandboxes become a third, with what they came from taken into account."""
import os
import shutil

from kept import changes, check, fresh, layers, ok, repo, run, sh, tap, tree


def write(name, text):
    with open(os.path.join(repo, name), "w") as f:
        f.write(text)


def content(name):
    """Every file of the repository as the sandbox sees it: name, type, mode, links, target, content."""
    r = sh(name, "find . -mindepth 1 | LC_ALL=C sort | while read -r f; do stat -c '%n %A %h' \"$f\"; readlink \"$f\"; "
                 "[ -f \"$f\" ] && [ ! -L \"$f\" ] && cat \"$f\"; done; :")
    return r.out.decode() if r.status == 0 else r.err


# Nothing in common but the host.
fresh()
before = tree(repo)
sh("a", "echo A >a; echo only >na; mkdir -p d/x; echo 1 >d/x/1; rm b; rm -r dir/sub; echo same >both; ln na nb; ln -s na nl")
sh("b", "echo B >keep; mkdir -p d/x d/y; echo 2 >d/x/2; echo 3 >d/y/3; rm b; rm ren; mv old moved; echo same >both; chmod 600 dir/in")
check("two that do not meet", run("merge", "a", "b", "--into", "m"), 0, b"", b"")
want = dict(changes("a")) | dict(changes("b"))
ok(changes("m") == want, "both sides' changes", [changes("m"), want])
sh("seq", "echo A >a; echo only >na; mkdir -p d/x d/y; echo 1 >d/x/1; rm b; rm -r dir/sub; echo same >both; ln na nb; ln -s na nl; "
          "echo B >keep; echo 2 >d/x/2; echo 3 >d/y/3; rm ren; mv old moved; chmod 600 dir/in")
ok(content("m") == content("seq"), "as if one had done it all", [content("m"), content("seq")])
ok(tree(repo) == before, "the host is as it was")
check("the new one is committed as any other", run("commit", "m"), 0)
ok(changes("m") == {}, "and is empty then", [changes("m")])
check("what it came from sees conflicts", run("commit", "b"), 3)

# Conflicts.
fresh()
sh("a", "echo A >a; rm b; rm -r dir/sub; rm -r old; mkdir old; echo f >f; rm keep; mkdir keep; chmod 700 dir")
sh("b", "echo B >a; echo B >b; echo B >>dir/sub/deep; echo B >old/y; mkdir f; echo B >keep; chmod 711 dir; echo fine >g")
r = check("conflicts", run("merge", "a", "b", "--into", "m"), 3, b"")
said = sorted(line.split(repo, 1)[1] for line in r.err.decode().splitlines() if " conflict: " in line)
ok(said == ["/a: a file in a, a file in b", "/b: deleted in a, a file in b",
            "/dir/sub: deleted in a, a directory in b", "/dir: a directory in a, a directory of other mode or owner in b",
            "/f: a file in a, a directory in b", "/keep: a new directory in a, a file in b",
            "/old: a new directory in a, a directory in b"], "each by its path", [said])
ok(b"nothing was made; 7 conflicts" in r.err, "and counted", [r.err])
ok(sorted(os.listdir(layers)) == ["a", "b"], "nothing is made, nothing is left", os.listdir(layers))
check("--prefer one", run("merge", "a", "b", "--into", "ma", "--prefer", "a"), 0, b"", b"")
ok(changes("ma") == dict(changes("a")) | {"g": "A"}, "which keeps what the other alone did", [changes("ma"), changes("a")])
check("--prefer the other", run("merge", "a", "b", "--into", "mb", "--prefer", "b"), 0, b"", b"")
ok(sh("mb", "cat a b dir/sub/deep old/y keep g; stat -c %a dir").out == b"B\nB\none\ndir/sub/deep\nthree\nB\nB\nB\nfine\n711\n",
   "has its files", [sh("mb", "cat a b dir/sub/deep old/y keep g; stat -c %a dir")])

# With a common past.
fresh()
sh("base", "echo 1 >one; echo 2 >two; echo 3 >three; mkdir -p t/u; echo x >t/u/x; echo y >t/u/y; echo gone >gone; rm b; echo base >a")
run("snapshot", "base", "s")
run("fork", "base@s", "l")
run("fork", "base@s", "r")
sh("base", "echo later >one; echo later >two")
sh("l", "echo L >one; rm gone; echo L >t/u/x; echo new >l; cp /etc/passwd b")
sh("r", "echo R >two; echo R >t/u/y; rm three; mv t/u/x t/u/z; mv t/u/z t/u/x")
check("forks of a snapshot", run("merge", "l", "r", "--into", "m"), 0, b"", b"")
ok(sh("m", "cat one two t/u/x t/u/y l a; ls gone three 2>/dev/null; cmp b /etc/passwd && echo same").out ==
   b"L\nR\nL\nR\nnew\nbase\nsame\n", "each side's changes since", [sh("m", "cat one two t/u/x t/u/y l a; ls gone three")])
check("the other way round", run("merge", "r", "l", "--into", "m2"), 0, b"", b"")
ok(content("m") == content("m2"), "is the same", [content("m"), content("m2")])
check("with what went on meanwhile", run("merge", "l", "base", "--into", "m3"), 3)
ok(b"/one: a file in l, a file in base" in run("merge", "l", "base", "--into", "m3").err and
   b"/two" not in run("merge", "l", "base", "--into", "m3").err, "only what both changed is a conflict", [run("merge", "l", "base", "--into", "m3").err])
check("a snapshot and what came of it", run("merge", "base@s", "l", "--into", "m4"), 0, b"", b"")
ok(content("m4") == content("l"), "is the latter", [content("m4"), content("l")])
fresh()
sh("base", "echo 1 >one; echo 2 >two")
run("fork", "base", "l")
run("fork", "base", "r")
sh("l", "echo L >one")
sh("r", "echo R >two")
check("forks of one that nobody used since", run("merge", "l", "r", "--into", "m"), 0, b"", b"")
ok(sh("m", "cat one two").out == b"L\nR\n", "count as of a snapshot")
sh("base", "echo 3 >>one")
check("of one that was used there is no past", run("merge", "l", "r", "--into", "m5"), 3)
shutil.rmtree(f"{layers}/base")
check("nor of one that is gone", run("merge", "l", "r", "--into", "m5"), 3)

# The host goes on: records come along.
fresh()
sh("a", "echo A >a")
sh("b", "echo B >keep; echo n >n")
run("merge", "a", "b", "--into", "m")
write("keep", "host\n")
r = run("commit", "m")
ok(r.status == 3 and b"keep" in r.err and b"repo/a" not in r.err, "a conflict with the host is seen in a merged one", [r.err])
write("a", "host\n")
ok(run("commit", "m").err.count(b"conflict: ") == 2, "of either side", [run("commit", "m").err])

# Odd names, and names that the format itself uses.
fresh()
sh("a", "mkdir n; touch n/.wh.x 'n/new\nline'; rm -r dir; mkdir dir; touch dir/.wh.in dir/new")
sh("b", r"mkdir n; echo mine >n/.wh.y; mkdir n/.wh.z; echo too >n/.wh.z/in; touch n/$(printf %0255d 7) n/$(printf '\377'); rm old/x")
check("odd names", run("merge", "a", "b", "--into", "m"), 0, b"", b"")
r = sh("m", "ls -A n dir old | od -v -An -c | tr -d ' \\n'")
ok(r.status == 0 and b"new\\nline" in r.out and b"377" in r.out and b"0" * 254 + b"7" in r.out and b".wh.x" in r.out and b"dir:" in r.out, "are all there", [r.out, r.err])

r = sh("m", "cat n/.wh.y n/.wh.z/in; ls n")
ok(r.status == 0 and r.out.startswith(b"mine\ntoo\n"), "files of guests that only look like whiteouts", [r.out, r.err])

# Misuse.
check("without --into", run("merge", "a", "b"), 2, b"", b"--into NEW is missing")
check("of one", run("merge", "a", "--into", "x"), 2, b"", b"needs two names")
check("with itself", run("merge", "a", "a", "--into", "x"), 2, b"", b"with itself")
check("--prefer a stranger", run("merge", "a", "b", "--into", "x", "--prefer", "c"), 2, b"", b"is neither")
check("into what is there", run("merge", "a", "b", "--into", "m"), 125, b"", b"'m': File exists")
check("of nothing", run("merge", "a", "nothing", "--into", "x"), 125, b"", b"there is no sandbox 'nothing'")
check("and the other way round", run("merge", "nothing", "a", "--into", "x"), 125, b"", b"there is no sandbox 'nothing'")
check("into a bad name", run("merge", "a", "b", "--into", "../x"), 125, b"", b"is no name")
raise SystemExit(tap.done())
