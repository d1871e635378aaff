#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--audit: what policy refuses is told, and nothing else; nobody waits for who reads it."""
import fcntl
import json
import os
import signal
import socket
import subprocess
import time

from kept import bvisor, check, clitest, env, ok, repo, run, tap

os.makedirs(repo, exist_ok=True)
LOG = os.path.join(repo, "audit.log")
secret = os.path.join(repo, "secret")
with open(secret, "w", encoding="utf-8") as f:
    f.write("x\n")
with open(os.path.join(repo, "file"), "w", encoding="utf-8") as f:
    f.write("x\n")


def audited(script, *options, shell=("sh", "-c")):
    """What was told during a script: the records without what differs from run to run."""
    if os.path.exists(LOG):
        os.unlink(LOG)
    r = run("run", "--audit", LOG, *options, "--", *shell, script, timeout=120)
    with open(LOG, encoding="utf-8") as log:
        records = [json.loads(line) for line in log]
    for x in records:
        ok(abs(x["time"] - time.time()) < 120 and x["pid"] > 0, "time and process", [x]) if x is records[0] else None
    # A newer architecture has no mkdir(2).
    return r, [(x["event"], x["by"], x["call"].replace("mkdirat", "mkdir"), x["errno"], x.get("what"), x.get("command")) for x in records]


r, told = audited("cat file; ls / >/dev/null; cat no-such-file; echo y >new; rm file; python3 -c 'import json; print(1)'")
ok(r.out == b"x\n1\n" and told == [], "nothing is refused, nothing is told", told)

r, told = audited(f"cat {secret}; cat secret; mkdir secret/x; cat secret-not", "--hide", secret)
ok(told == [("denied", "vfs-cow", "openat", "ENOENT", secret, "cat")] * 2 + [("denied", "vfs-cow", "mkdir", "ENOENT", f"{secret}/x", "mkdir")],
   "what is hidden, if it is there or would be made", told)
inner = os.path.join(repo, "hidden")
os.makedirs(f"{inner}/deep")
os.symlink("/etc/passwd", f"{inner}/link")
r, told = audited(f"cat {inner}/deep/../deep {inner}/none hidden/link/x; ln -s {inner} to; cat to/deep", "--hide", inner)
ok([t[4] for t in told] == [f"{inner}/deep/../deep", f"{inner}/link/x", f"{inner}/deep"], "below what is hidden, without following links there", told)
r = run("run", "--audit", LOG, "--", "sh", "-c", f"cat {LOG}; cat /etc/shadow; cat {LOG}; echo x >{LOG}")
with open(LOG, encoding="utf-8") as f:
    ok(r.out == b"" and all(json.loads(x) for x in f) and b"No such file" in r.err, "the guest does not see the log", [r.out, r.err])
r, told = audited("cat /run/no-such-socket; stat /run >/dev/null")
ok({t[4] for t in told} == {"/run"}, "what the host does not have either is not refused", told)
r, told = audited("echo x >file; cat file", "--ro", repo)
ok(r.out == b"x\n" and [t[:5] for t in told] == [("denied", "vfs-cow", "openat", "EROFS", f"{repo}/file")], "what may not be written", told)

PYTHON = f"""
import ctypes, errno, os, signal, socket
c = ctypes.CDLL(None, use_errno=True)
print(c.chroot(b"/tmp"), errno.errorcode[ctypes.get_errno()])
print(c.unshare(0x10000000), errno.errorcode[ctypes.get_errno()])
print(c.unshare(0x400), c.syscall(9999), errno.errorcode[ctypes.get_errno()])
for a in (("192.0.2.1", 80), ("127.0.0.1", 1)):
    try: socket.create_connection(a, 5)
    except OSError as e: print(e.strerror)
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
try: s.sendto(b"x", ("2001:db8::1", 53))
except OSError as e: print(e.strerror)
try: os.kill({os.getpid()}, 0)
except OSError as e: print(e.strerror)
try: os.kill(2 ** 22 + 5, 0)
except OSError as e: print(e.strerror)
"""
r, told = audited(PYTHON, shell=("python3", "-c"))
unread = run("run", "--", "python3", "-c", PYTHON)
ok(r.out == unread.out and b"EPERM" in r.out and r.status == 0, "it is refused as without an audit", [r.out, unread.out])
ok(told == [("denied", "blocklist", "chroot", "EPERM", None, "python3"), ("denied", "blocklist", "unshare", "EPERM", None, "python3"),
            ("denied", "net", "connect", "ENETUNREACH", "192.0.2.1:80", "python3"),
            ("denied", "net", "connect", "ECONNREFUSED", "127.0.0.1:1", "python3"),
            ("denied", "net", "sendto", "ENETUNREACH", "[2001:db8::1]:53", "python3"),
            ("denied", "procns", "kill", "ESRCH", f"process {os.getpid()}", "python3")], "calls, addresses, processes", told)
with socket.create_server(("127.0.0.1", 0)) as server:
    where = f"127.0.0.1:{server.getsockname()[1]}"
    r, told = audited(f"exec 3<>/dev/tcp/{where.replace(':', '/')} && echo connected", "--allow", where, shell=("bash", "-c"))
    ok(r.out == b"connected\n" and told == [], "what is allowed is not told", told)
r, told = audited("dd if=/dev/zero of=/tmp/x bs=64k count=100; echo x >/tmp/y; rm /tmp/x; echo y >/tmp/y && cat /tmp/y", "--quota", "1M")
ok(r.out == b"y\n" and {t[:5] for t in told} == {("limit", "vfs-cow", "write", "ENOSPC", "quota")}, "a quota", told)

# Names that are no text, and many.
name = os.path.join(os.fsencode(repo), b"\xff\n")
with open(name, "wb"):
    pass
r = run("run", "--audit", LOG, "--hide", os.fsdecode(name), "--", "sh", "-c", "cp /bin/cat \"$(printf '\\376')\"; ./$(printf '\\376') \"$1\"", "sh", os.fsdecode(name))
with open(LOG, "rb") as f:
    line = f.read().splitlines()[-1]
last = json.loads(line)
ok(last.get("what_hex") == name.hex() and last.get("command_hex") == "fe" and "what" not in last, "names that are no UTF-8", [line])
os.unlink(LOG)
began = time.monotonic()
r = run("run", "--audit", LOG, "--", "python3", "-c", "import ctypes; c = ctypes.CDLL(None)\nfor i in range(50000): c.chroot(b'/')\nimport time; time.sleep(0.2); c.chroot(b'/')", timeout=120)
spent = time.monotonic() - began
with open(LOG, encoding="utf-8") as f:
    records = [json.loads(x) for x in f]
lost = sum(x.get("lost", 0) for x in records)
ok(200 <= len(records) <= 200 + 50 * spent + 2 and lost + len(records) == 50001, "a flood is counted", [len(records), lost, spent])
ok(os.stat(LOG).st_mode & 0o777 == 0o600, "the file is its user's")

# Who reads does not matter: a pipe that is full, and one that nobody reads any more.
REFUSED = "import ctypes; c = ctypes.CDLL(None)\nfor i in range(100): c.chroot(b'/')\nprint('done')"
fifo = os.path.join(repo, "fifo")
os.mkfifo(fifo)
check("a pipe without a reader", run("run", "--audit", fifo, "--", "true"), 2, b"", b"nobody reads")
reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
r = run("run", "--audit", fifo, "--", "python3", "-c", REFUSED)
ok(r.out == b"done\n" and all(json.loads(x) for x in os.read(reader, 65536).splitlines()), "a full pipe", [r.err])
p = subprocess.Popen([bvisor, "run", "--audit", fifo, "--", "sh", "-c", "echo up; read x; python3 -c \"$1\"", "sh", REFUSED], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, preexec_fn=clitest.reset_signals)
p.stdout.readline()
os.close(reader)
ok(p.communicate(b"go\n", timeout=60) == (b"done\n", b"") and p.returncode == 0, "a pipe whose reader has gone", [p.returncode])
check("a directory", run("run", "--audit", repo, "--", "true"), 2, b"", b"Is a directory")
check("no such directory", run("run", "--audit", repo + "/no/file", "--", "true"), 2, b"", b"No such file or directory")

# Processes that others start belong to the same sandbox.
p = subprocess.Popen([bvisor, "run", "--name", "audited", "--audit", LOG, "--", "sh", "-c", "echo up; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                     env=env, cwd=repo, preexec_fn=clitest.reset_signals)
p.stdout.readline()
os.truncate(LOG, 0)
subprocess.run([bvisor, "exec", "audited", "--", "chroot", "/"], env=env, cwd=repo, capture_output=True, check=False)
with open(LOG, encoding="utf-8") as f:
    ok([json.loads(x)["command"] for x in f] == ["chroot"], "an exec is audited too")
p.send_signal(signal.SIGKILL)
p.communicate()
raise SystemExit(tap.done())
