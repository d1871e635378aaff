#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores of other modules (examples/depot-store): lazy layers, checkpoints, and what guests cannot do to them."""
import glob
import json
import os
import re
import signal
import subprocess
import time

from clitest import start, until

tap, bvisor, work = start()
ok = tap.ok
DEPOT_STORE = os.path.join(os.path.dirname(os.environ["BVISOR_MODULE_DIR"]), "examples", "depot-store.so")
depot, tmp = f"{work}/depot", f"{work}/tmp"
ini = f"{work}/bvisor.ini"
os.mkdir(depot)
os.mkdir(tmp)
with open(os.environ["BVISOR_CONFIG"], encoding="utf-8") as f:
    text = f.read()
modules = re.search(r"^modules = (.*)$", text, re.M).group(1)
user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def write_ini(path, order):
    with open(path, "w", encoding="utf-8") as out:
        out.write(re.sub(r"^modules = .*$", f"modules = {order}", text, flags=re.M))


write_ini(ini, f"{DEPOT_STORE} {modules}")


def argv(command, options=(), place=None, config=ini):
    return [bvisor, "run", "-c", config, "-o", f"vfs-cow.upper=depot:{place or depot}", *options, "--", *command]


def run(*command, options=(), place=None, config=ini, **more):
    return subprocess.run(argv(command, options, place, config), capture_output=True, stdin=subprocess.DEVNULL, check=False,
                          env=dict(os.environ, TMPDIR=tmp), timeout=60, **more)


def sh(script, **more):
    return run("bash", "-c", script, **more)  # dash takes an EINTR for an answer: docs/compatibility.md


def out(what, script, want, **more):
    r = sh(script, **more)
    ok(r.returncode == 0 and r.stdout.decode() == want and not r.stderr, what, [str(r)])


def fails(what, r, pattern, status=125):
    ok(r.returncode == status and re.search(pattern, r.stderr.decode()) and r.stderr.count(b"\n") == 1, what, [str(r)])


def index():
    """{path: (kind, size, object)}"""
    with open(f"{depot}/index", encoding="utf-8") as f:
        records, found = iter(f.read().split("\0")[1:-1]), {}
    for record in records:
        kind, _, _, _, _, size, number, path = record.split(" ", 7)
        found[path] = (kind, int(size), int(number))
        if kind == "l":
            next(records)
    return found


# ---- which stores there are ----
fails("no such store", run("true", options=["-o", "vfs-cow.upper=nowhere:x"]), r"upper = nowhere:x: no such store; known: .*local:.*stands before vfs-cow")
write_ini(f"{work}/late.ini", f"{modules} {DEPOT_STORE}")
fails("a store after vfs-cow", run("true", config=f"{work}/late.ini"), r"no such store; known:")
fails("no such depot", run("true", place=f"{work}/none"), r"upper = depot:\S+: \S+/none: No such file")
fails("no path", run("true", options=["-o", "vfs-cow.upper=depot:here"]), r"no absolute path")

# ---- what is written comes back, and only when it is needed ----
WRITE = f"""
mkdir -p {work}/d/sub && cd {work}/d
echo hello >a; ln -s a link; mkfifo fifo; : >empty; echo secret >closed; chmod 0444 closed
dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\\0' x >big; truncate -s 1M holes; echo end >>holes
cp /bin/echo echo; cp "$(readlink -f /lib*/ld-linux-*.so.*)" loader; printf '#!{work}/d/echo script\\n' >script; chmod +x script
cp /bin/echo setgid; chmod 2755 setgid; touch -d @1000000 a; echo new >'odd
name'; rm /etc/motd 2>/dev/null; echo mine >/etc/hostname
"""
r = sh(WRITE)
ok(r.returncode == 0 and not os.path.exists(f"{work}/d"), "a layer is filled", [str(r)])
made = index()
top = f"{work}/d"[1:]
ok(made[f"{top}/big"][:2] == ("f", 8 << 20) and made[f"{top}/link"][0] == "l" and made[f"{top}/odd\nname"][0] == "f" and
   not os.listdir(tmp), "and kept, with nothing left behind", [str(made), str(os.listdir(tmp))])
out("names, sizes and times without the bytes", f"cd {work}/d; stat -c '%n %s %b' big holes; stat -c '%Y %A' a setgid; cat empty; ls | wc -l",
    f"big {8 << 20} 0\nholes {(1 << 20) + 4} 0\n1000000 -rw-r--r--\n" + sh(f"stat -c '%Y %A' {work}/d/setgid").stdout.decode() + "14\n")
out("bytes when they are read", f"cd {work}/d; cat a link 'odd\nname' closed; tail -c 4 holes; md5sum <big; stat -c %Y a; cat /etc/hostname",
    "hello\nhello\nnew\nsecret\nend\n" + subprocess.run(["md5sum"], input=b"x" * (8 << 20), capture_output=True, check=True).stdout.decode() + "1000000\nmine\n")
out("a program, a script's interpreter, a loader", f"cd {work}/d; ./echo ran; ./script; ./loader /bin/echo loaded; stat -c %A setgid; ./setgid kept; stat -c %A setgid",
    f"ran\nscript ./script\nloaded\n-rwxr-sr-x\nkept\n-rwxr-sr-x\n")
out("one that was renamed and linked before", f"cd {work}/d; mv big sub/b; ln a sub/a; mv sub moved; ln moved/b b; head -c 3 b; cat moved/a", "xxxhello\n")
out("after the next start too", f"cd {work}/d; head -c 3 moved/b; cat moved/a; test ! -e sub", "xxxhello\n")
out("changed in place", f"cd {work}/d; printf HEL | dd of=a conv=notrunc 2>/dev/null; echo more >>moved/a; truncate -s 2 b; (: >closed) 2>/dev/null; cat a moved/a b", "HELlo\nhello\nmore\nxx")
out("and that, again", f"cd {work}/d; cat a moved/a b", "HELlo\nhello\nmore\nxx")
r = sh("true", options=["--diff=json"])
changes = {c["path"]: c["kind"] for c in json.loads(r.stdout)} if r.returncode == 0 else {}
ok(changes.get("/etc/hostname") == "M" and changes.get(f"{work}/d/a") == "A", "diff", [str(r)])

# ---- what cannot be had ----
number = index()[f"{top}/holes"][2]
os.rename(f"{depot}/objects/{number}", f"{work}/away")
r = sh(f"cd {work}/d; cat a; ls holes; cat holes; echo $?; mv holes other; cat other 2>/dev/null || echo still")
ok(r.stdout == b"HELlo\nholes\n1\nstill\n" and b"Input/output error" in r.stderr and b"holes: the store did not bring it" in r.stderr, "a file that the store lost", [str(r)])
os.rename(f"{work}/away", f"{depot}/objects/{number}")
out("and found again", f"tail -c 4 {work}/d/other", "end\n")

# ---- one that takes its time: a FIFO nobody writes to stands for it ----
number = index()[f"{top}/other"][2]
os.rename(f"{depot}/objects/{number}", f"{work}/away")
os.mkfifo(f"{depot}/objects/{number}")
out("others need not wait", f"""cd {work}/d; cat other & one=$!; cat other & two=$!
for i in 1 2 3; do cat a; done; dd if=/dev/zero of=new bs=1M count=4 2>/dev/null; exec 2>/dev/null; kill -9 $one $two; wait; echo over""", "HELlo\n" * 3 + "over\n")
begin = time.monotonic()
p = subprocess.Popen(argv(["cat", f"{work}/d/other"]), env=dict(os.environ, TMPDIR=tmp))
time.sleep(0.3)
p.send_signal(signal.SIGTERM)
ok(p.wait(10) == 128 + signal.SIGTERM and time.monotonic() - begin < 5, "nor does the end", [str(p.returncode)])
os.unlink(f"{depot}/objects/{number}")
os.rename(f"{work}/away", f"{depot}/objects/{number}")
out("and then it comes", f"tail -c 4 {work}/d/other", "end\n")

# ---- many at once ----
out("forty readers of what nobody had", f"cd {work}/d; for i in $(seq 40); do md5sum <moved/b & done | sort | uniq -c | wc -l; for i in $(seq 40); do tail -c 4 other & done | sort -u; wait",
    "1\nend\n")

# ---- guests and the mark ----
GUEST = f"""
import os
os.chdir("{work}/d")
def t(f, *a):
    try: print(f(*a))
    except OSError as e: print(e.strerror)
M = "user.bvisor.absent"
fd = os.open("a", os.O_RDWR)
t(os.setxattr, "a", M, b"1"); t(os.setxattr, fd, M, b"1"); t(os.setxattr, "moved", M, b"1")
t(os.removexattr, "other2", M); t(os.getxattr, "other2", M); t(os.listxattr, "other2")
os.setxattr("a", "user.x", b"1"); t(os.listxattr, "a"); t(os.listxattr, fd)
t(os.path.exists, "{depot}"); t(os.listdir, "{tmp}")
"""
sh(f"cd {work}/d; cp other other2")
ok(index()[f"{top}/other2"][1] == (1 << 20) + 4, "a copy")
r = run("python3", "-c", GUEST)
ok(r.stdout.decode().splitlines() == ["Operation not permitted"] * 3 + ["No data available"] * 2 + ["[]"] + ["['user.x']"] * 2 + ["False", "[]"], "the mark is the store's", [str(r)])
forged = f"{work}/host"
with open(forged, "w", encoding="utf-8") as f:
    f.write("the host's own\n")
try:
    os.setxattr(forged, "user.bvisor.absent", str(index()[f"{top}/a"][2]).encode())
    out("a host file with a mark is no file of the store", f"echo more >>{forged}; cat {forged}", "the host's own\nmore\n")
    out("nor its copy", f"cat {forged}", "the host's own\nmore\n")
except OSError as e:
    tap.skip("a host file with a mark", str(e))

if os.geteuid() == 0:
    # Who may write and not read gets the bytes to write into all the same.
    out("a file that others may only write", f"cd {work}/d; echo hello >w; chmod 0602 w; chmod 0755 . ..", "")
    r = run("python3", "-c", f"import os\nos.setgroups([])\nos.setgid(1000)\nos.setuid(1000)\n"
            f"os.write(os.open('{work}/d/w', os.O_WRONLY), b'HEL')\ntry: os.open('{work}/d/w', os.O_RDONLY)\nexcept PermissionError: print('no')")
    ok(r.stdout == b"no\n", "is written by them", [str(r)])
    out("in place", f"cat {work}/d/w", "HELlo\n")

# ---- checkpoints ----
p = subprocess.Popen(argv(["sh", "-c", f"cd {work}/d; echo one >c1; sync; echo two >c2; exec sleep 60"]), env=dict(os.environ, TMPDIR=tmp), stderr=subprocess.DEVNULL)
ok(until(lambda: f"{top}/c1" in index() and f"{top}/c2" not in index()), "sync(2) makes a checkpoint")
front = p.pid
sup = int(open(f"/proc/{front}/task/{front}/children", encoding="ascii").read().split()[0])
os.kill(sup, signal.SIGKILL)
p.wait(10)
kept = os.listdir(tmp)
out("it is what is left after SIGKILL", f"cd {work}/d; cat c1; ls c2 2>/dev/null; cat a", "one\nHELlo\n")
ok(len(kept) == 1 and not os.listdir(tmp), "and its directory is collected", [str(kept), str(os.listdir(tmp))])
SYNCFS = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.chdir("{work}/d")
open("c3", "w").write("three")
for what in ("/", "/etc", ".", "c3"):
    print(libc.syncfs(os.open(what, os.O_RDONLY)), ctypes.get_errno())
print(libc.syncfs(os.pipe()[0]), libc.syncfs(999), ctypes.get_errno())
"""
r = run("python3", "-c", SYNCFS)
ok(r.stdout.decode() == "0 0\n" * 4 + "0 -1 9\n" and f"{top}/c3" in index(), "syncfs(2)", [str(r)])
if os.geteuid() == 0:
    # A full depot: the guest is told, and what it wrote is not thrown away.
    full = f"{work}/full"
    os.mkdir(full)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", full], capture_output=True, check=False).returncode == 0:
        r = run("python3", "-c", SYNCFS.replace(f"{work}/d", "/opt").replace('"three"', '"x" * (3 << 20)'), place=full)
        left = glob.glob(f"{tmp}/.bvisor-depot-*/u/opt/c3")
        ok("-1 28" in r.stdout.decode() and b"cannot bring back" in r.stderr and len(left) == 1 and os.path.getsize(left[0]) == 3 << 20,
           "a depot that is full", [str(r), str(left)])
        subprocess.run(["umount", full], check=False)
    else:
        tap.skip("a depot that is full", "mounting is not allowed here")

# ---- as an ordinary user ----
if user:
    theirs = f"{work}/theirs"
    for d in (theirs, f"{work}/their-tmp"):
        os.mkdir(d)
        os.chown(d, 65534, 65534)
    env = dict(os.environ, TMPDIR=f"{work}/their-tmp", HOME="/nonexistent")
    a = subprocess.run(argv(["sh", "-c", "mkdir -m 700 /tmp/d; cd /tmp/d; echo ro >f; chmod 0400 f; echo no >g; chmod 0 g"], place=theirs), env=env, capture_output=True, check=False, **user)
    b = subprocess.run(argv(["sh", "-c", "cd /tmp/d; cat f; stat -c %a f g; cat g"], place=theirs), env=env, capture_output=True, check=False, **user)
    ok(a.returncode == 0 and b.stdout == b"ro\n400\n0\n" and b"Permission denied" in b.stderr, "read-only files of an ordinary user", [str(a), str(b)])

# ---- one at a time, and nonsense ----
p = subprocess.Popen(argv(["sleep", "60"]), env=dict(os.environ, TMPDIR=tmp))
until(lambda: os.path.lexists(f"{depot}/work"))
fails("in use", run("true"), r"Device or resource busy")
p.terminate()
p.wait(10)
good = open(f"{depot}/index", "rb").read()
for bad in (b"x\0", good[:-1], good.replace(b"f 644", b"q 644", 1), good.replace(b" " + top.encode(), b" /etc/" + top.encode(), 1), b"bvisor depot 2 next 1\0"):
    with open(f"{depot}/index", "wb") as f:
        f.write(bad)
    fails(f"an index that is nonsense: {bad[:12]!r}", run("true"), r"its index is not as this store writes it")
with open(f"{depot}/index", "wb") as f:
    f.write(good)
out("and it is whole still", f"cat {work}/d/a", "HELlo\n")
raise SystemExit(tap.done())
