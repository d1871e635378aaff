#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--rw, --ro, --hide, --bind, --net and the printing of changes."""
import json
import os
import shutil
import subprocess
import tempfile

import clitest
from clitest import harness

tap, bvisor, work = clitest.start()


def run(*args, **kw):
    return harness.run([bvisor, *args], preexec_fn=clitest.reset_signals, cwd=work, **kw)


def sh(script, *options):
    return run("run", *options, "--", "sh", "-c", script)


def check(what, r, status, out=None):
    tap.ok(r.status == status and (out is None or r.out == out), what,
           [f"status {r.status}, wanted {status}; stdout {r.out!r}, wanted {out!r}; stderr {r.err!r}"])


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return None


for name in ("d", "e", "secret"):
    os.mkdir(os.path.join(work, name))
    with open(os.path.join(work, name, "f"), "w") as f:
        f.write(name)
os.symlink("d", os.path.join(work, "link"))
os.symlink("secret", os.path.join(work, "alias"))

check("writes stay inside", sh("echo in >d/f; cat d/f"), 0, b"in\n")
tap.ok(read(f"{work}/d/f") == "d", "and the host's file is untouched")
check("--rw", sh("echo out >d/f; echo in >e/f", "--rw", "d"), 0)
tap.ok(read(f"{work}/d/f") == "out\n" and read(f"{work}/e/f") == "e", "writes through, there only")
check("--rw through a symlink", sh("echo link >link/f", "--rw", "link"), 0)
tap.ok(read(f"{work}/d/f") == "link\n", "reaches its target")
check("--ro", sh("echo x >d/f || echo refused; cat d/f", "--ro", "d"), 0, b"refused\nlink\n")
check("--hide", sh("ls d secret alias/ 2>/dev/null; echo end", "--hide", "secret"), 0, b"d:\nf\nend\n")
check("--hide of a path that ends in a dot", sh("ls d secret alias/ 2>/dev/null; echo end", "--hide", "d/../secret/."), 0, b"d:\nf\nend\n")
check("--hide of a symlink hides its target", sh("cat secret/f alias/f 2>/dev/null || echo none", "--hide", "alias"), 0, b"none\n")
check("--hide of what is not there", sh("echo fine", "--hide", "no/such/thing"), 0, b"fine\n")
check("--hide of what holds something shown", sh("cat d/f secret/f 2>/dev/null; ls; echo x >new; echo y >d/f; ls; cat d/f; cd d/..; pwd", "--hide", work, "--bind", f"d:{work}/d",
                                                 "-C", work), 0, f"link\nd\nd\nnew\ny\n{work}\n".encode())
check("with what is hidden in it, but not in what is shown", sh("mkdir own; echo x >own/x; ls; cat d/f 2>/dev/null || echo none", "--hide", work,
      "--bind", f"d:{work}/d", "--hide", f"{work}/own", "--hide", f"{work}/d/f", "-C", work), 0, b"d\nown\nnone\n")
check("the host's own is untouched", sh("cat d/f; ls new 2>/dev/null || echo none"), 0, b"link\nnone\n")
check("and read-only", sh("cat d/f; echo y >d/f || echo refused; ls", "--hide", work, "--ro", "d", "-C", work), 0, b"link\nrefused\nd\n")
r = harness.run([bvisor, "run", "--hide", work, "--bind", f"{work}/d:{work}/d", "--", "sh", "-c", "pwd"], cwd=f"{work}/e")
check("the directory it is started in is not shown for that", r, 0, b"/\n")
check("--bind", sh("cat /mnt-x/f; echo y >/mnt-x/f; cat /mnt-x/f", "--bind", "e:/mnt-x"), 0, b"ey\n")
tap.ok(read(f"{work}/e/f") == "e", "is copy-on-write")
check("--bind :rw", sh("echo rw >/mnt-x/f", "--bind", "e:/mnt-x:rw"), 0)
tap.ok(read(f"{work}/e/f") == "rw\n", "reaches the host")
check("--bind :ro", sh("echo y >/mnt-x/f || cat /mnt-x/f", "--bind", "e:/mnt-x:ro"), 0, b"rw\n")

# Any path there is.
odd = "a b\t\n\"c\\n"
os.mkdir(f"{work}/{odd}")
os.mkdir(f"{work}/{odd}/in")
open(f"{work}/{odd}/f", "w").write("odd")
check("--rw of an odd name", sh('echo out >"$(printf "a b\\t\\n\\"c\\\\\\\\n")/f"', "--rw", odd), 0)
tap.ok(read(f"{work}/{odd}/f") == "out\n", "writes through", [repr(read(f"{work}/{odd}/f"))])
check("--hide", sh("ls -d 'a '* 2>/dev/null; echo end", "--hide", odd), 0, b"end\n")
check("--ro", sh("cd 'a '*; echo x >f || cat f", "--ro", odd), 0, b"out\n")
check("--bind", sh("cat '/mnt x'/f", "--bind", f"{odd}:/mnt x"), 0, b"out\n")
ini = os.path.join(work, "odd.ini")
for text, good in (('rw "%s"' % odd.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"), True), ('rw "/tmp', False), ('rw "/tmp"x', False),
                   ('rw "/tmp\\x"', False)):
    with open(ini, "w") as f:
        f.write("[core]\nmodules = blocklist vfs-cow procns sysinfo net\n[vfs-cow]\nmount = " + text.replace("rw \"a", f"rw \"{work}/a") + "\n")
    r = run("run", "-c", ini, "--", "true")
    tap.ok(good == (r.status == 0) and (good or b"double quotes" in r.err), f"quoted in the table: {text!r}", [repr(r)])

# Changes.
os.mkdir(f"{work}/t")
for name in ("gone", "changed", "same", "becomes-dir"):
    with open(f"{work}/t/{name}", "w") as f:
        f.write("old")
script = r"""cd t && rm gone && printf 12345 >changed && cat same >/dev/null && rm becomes-dir && mkdir becomes-dir &&
printf '' >"$(printf 'a\nb')" && printf 1 >"$(printf 'x\377')" && printf 12 >"q\"u" && printf 123 >'sp ace' && printf 1 >ü &&
echo printed"""
want = [
    rf'A "{work}/t/a\nb"  0',
    f"T {work}/t/becomes-dir  0",
    f"M {work}/t/changed  5",
    f"D {work}/t/gone  0",
    rf'A "{work}/t/q\"u"  2',
    f"A {work}/t/sp ace  3",
    rf'A "{work}/t/x\377"  1',
    f"A {work}/t/ü  1",
]
r = run("diff", "--", "sh", "-c", script)
lines = r.out.decode("utf-8", "surrogateescape").splitlines()
got = [line for line in lines[1:] if f"{work}/t/" in line]
tap.ok(r.status == 0 and lines[0] == "printed" and sorted(got) == sorted(want), "diff as text",
       [f"status {r.status}, {r.err!r}"] + lines)
r = run("run", "--diff=json", "--", "sh", "-c", script.replace("echo printed", "exit 3"))
changes = {c["path"]: c for c in json.loads(r.out) if c["path"].startswith(f"{work}/t/")}
tap.ok(r.status == 3 and len(changes) == len(want), "diff as JSON, with the command's exit code", [harness.text(r.out), repr(r.err)])
tap.ok(changes.get(f"{work}/t/changed") == {"kind": "M", "type": "f", "size": 5, "path": f"{work}/t/changed", "what": ["data"]}, "a change")
strange = [c for c in changes.values() if "path_hex" in c]
tap.ok(len(strange) == 1 and bytes.fromhex(strange[0]["path_hex"]) == f"{work}/t/x".encode() + b"\xff", "bytes that are not UTF-8")
tap.ok(json.loads(run("diff", "--json", "--", "true").out) == [], "no changes")
tap.ok(sorted(os.listdir(f"{work}/t")) == ["becomes-dir", "changed", "gone", "same"], "the host is as before")
r = subprocess.run(f"'{bvisor}' diff -- sh -c 'for i in $(seq 3000); do echo >d/$i; done' | head -n 1", shell=True, cwd=work,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
tap.ok(r.stdout.count(b"\n") == 1 and not r.stderr, "nobody reads to the end", [repr(r)])

# Started in a directory of a private one.
host_tmp = tempfile.mkdtemp(dir="/tmp")
project = os.path.join(host_tmp, "project")
os.makedirs(os.path.join(project, "sub"))
with open(os.path.join(project, "f"), "w") as f:
    f.write("host\n")
with open(os.path.join(host_tmp, "beside"), "w") as f:
    f.write("not shown\n")


def at(where, script, *options):
    return harness.run([bvisor, "run", *options, "--", "sh", "-c", script], preexec_fn=clitest.reset_signals, cwd=where,
                       env=dict(os.environ, XDG_STATE_HOME=f"{work}/state"))


check("a project below /tmp is shown", at(project, f"cat f; ls; ls {host_tmp}; pwd"), 0, f"host\nf\nsub\nproject\n{project}\n".encode())
check("in part", at(os.path.join(project, "sub"), f"ls -a; ls {project}"), 0, b".\n..\nsub\n")
check("it stays as it was", at(project, "echo mine >f; rm -r sub; cat f; ls"), 0, b"mine\nf\n")
tap.ok(read(os.path.join(project, "f")) == "host\n" and os.path.isdir(os.path.join(project, "sub")), "on the host")
r = at(project, "rm -rf $PWD")
tap.ok(r.status != 0 and b"busy" in r.err, "it cannot be removed, as a mount point cannot", [repr(r.err)])
check("/tmp itself is private", at("/tmp", "ls"), 0, b"")
check("not if the policy says no", at(project, "pwd", "-o", "vfs-cow.show_cwd=no"), 0, b"/\n")
check("kept", at(project, "rm f; echo new >new; echo t >/tmp/t", "--name", "below"), 0, b"")
check("it is shown when the sandbox goes on elsewhere", at("/", f"ls {project} /tmp/t", "--name", "below"), 0, f"/tmp/t\n\n{project}:\nnew\nsub\n".encode())
r = harness.run([bvisor, "diff", "below"], cwd="/", env=dict(os.environ, XDG_STATE_HOME=f"{work}/state"))
tap.ok(r.out.decode().splitlines() == [f"D {project}/f  0", f"A {project}/new  4"], "and reviewed", [repr(r.out), repr(r.err)])
r = harness.run([bvisor, "commit", "below"], cwd="/", env=dict(os.environ, XDG_STATE_HOME=f"{work}/state"))
tap.ok(r.status == 0 and sorted(os.listdir(project)) == ["new", "sub"], "and committed", [repr(r.out), repr(r.err)])
shutil.rmtree(host_tmp)

# Layers that do not lie in a directory that is private inside: nobody sees another one's, or its own.
os.mkdir(f"{work}/layers")
env = dict(os.environ, TMPDIR=f"{work}/layers")
p = subprocess.Popen([bvisor, "run", "sh", "-c", "echo mine >/etc/f; echo; exec sleep 60"], env=env, cwd=work, stdout=subprocess.PIPE)
p.stdout.readline()
tap.ok(os.listdir(f"{work}/layers") == [f".bvisor-{os.geteuid()}"], "a layer in $TMPDIR", [str(os.listdir(f"{work}/layers"))])
check("is not visible to others", run("run", "sh", "-c", "ls -A layers; find layers; echo x >layers/x; ls -A layers", env=env), 0, b"layers\nx\n")
p.terminate()
p.wait()
p.stdout.close()
# In a private directory the names are the guest's, also that of the layer.
deep = tempfile.mkdtemp(dir="/tmp")
for place in ("/tmp", deep):
    name = f"{place}/.bvisor-{os.geteuid()}"
    check(f"and has no name in {place}", run("run", "sh", "-c", f"mkdir -p {name}/x && rm -r /tmp/* {name} 2>/dev/null; ls -A /tmp", env=dict(os.environ, TMPDIR=place)), 0, b"")
check("unless it is shown", harness.run([bvisor, "run", "sh", "-c", "ls -A"], cwd=deep, env=dict(os.environ, TMPDIR=deep)), 0, b"")
harness.remove(deep)

# Network.
connect = ("import socket\ns = socket.socket()\ns.settimeout(5)\ntry: s.connect(('192.0.2.1', 9))\n"
           "except OSError as e: print(type(e).__name__, e.errno)")
r = run("run", "python3", "-c", connect)
tap.ok(r.out.strip() == b"OSError 101", "--net none is the default", [repr(r.out), repr(r.err)])
server = ("import socket\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n"
          "c, _ = s.accept()\nc.sendall(b'hello')")
p = subprocess.Popen(["python3", "-c", server], stdout=subprocess.PIPE)
port = p.stdout.readline().decode().strip()
client = f"import socket\nprint(socket.create_connection(('127.0.0.1', {port}), 5).recv(9).decode())"
r = run("run", "--net", "none", "python3", "-c", client)
tap.ok(r.status == 1, "the host's loopback is out of reach", [repr(r.out), repr(r.err)])
check("--net host", run("run", "--net", "host", "python3", "-c", client), 0, b"hello\n")
p.kill()
p.wait()
raise SystemExit(tap.done())
