#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor exec and ps: processes that others start in a running sandbox."""
import array
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

from clitest import SLOW
from kept import bvisor, clitest, env, layers, ok, repo, run, tap

os.makedirs(repo, exist_ok=True)
with open(os.path.join(repo, "greet.py"), "w", encoding="utf-8") as f:
    f.write("x\n")
mark = f"4{os.getpid() % 100000:05d}"


def start(name, script, **kw):
    """A sandbox in the background, once it says that it is up."""
    p = subprocess.Popen([bvisor, "run", "--name", name, "--", "sh", "-c", f"rm -f stop; echo up; {script}"], cwd=repo, env=env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=clitest.reset_signals, **kw)
    p.stdout.readline()
    return p


def execute(name, *argv, options=(), **kw):
    return subprocess.run([bvisor, "exec", *options, name, "--", *argv], cwd=repo, env=env, capture_output=True, check=False, **kw)


def popen(name, *argv, options=(), **kw):
    return subprocess.Popen([bvisor, "exec", *options, name, "--", *argv], cwd=repo, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=clitest.reset_signals, **kw)


def out(what, r, text, status=0):
    ok(r.returncode == status and r.stdout == text.encode(), what, [r.returncode, r.stdout, r.stderr])


box = start("box", f"echo first >shared; while sleep 0.1; do test -e stop && exit 9; done; sleep {mark}")
out("it sees what the first wrote", execute("box", "cat", "shared"), "first\n")
out("and writes for the others", execute("box", "sh", "-c", "echo second >>shared; rm greet.py; cat shared"), "first\nsecond\n")
out("who see it", execute("box", "sh", "-c", "cat shared; ls greet.py 2>&1 | grep -c such"), "first\nsecond\n1\n")
ok(os.path.exists(os.path.join(repo, "greet.py")) and not os.path.exists(os.path.join(repo, "shared")), "the host does not")
out("exit codes", execute("box", "sh", "-c", "exit 7"), "", 7)
out("signals", execute("box", "sh", "-c", "kill -9 $$"), "", 137)
r = execute("box", "no-such-program")
ok(r.returncode == 127 and b"no-such-program" in r.stderr, "no program", [r])
r = execute("box", "/etc/passwd")
ok(r.returncode == 126 and b"Permission denied" in r.stderr, "no program, but a file", [r])
out("standard input", execute("box", "tr", "a-z", "A-Z", input=b"text\n"), "TEXT\n")
r = execute("box", "sh", "-c", "echo out; echo err >&2")
ok((r.stdout, r.stderr) == (b"out\n", b"err\n"), "two outputs", [r])
out("environment", execute("box", "sh", "-c", "echo $A $B $SECRET.", options=("-e", "A=1", "-e", "B"), **{}), "1 .\n")
out("directory", execute("box", "pwd", options=("-C", "/usr/lib")), "/usr/lib\n")
out("the caller's directory", execute("box", "pwd"), repo + "\n")
r = execute("box", "pwd", options=("-C", "/nowhere"))
ok(r.returncode == 125 and b"-C" in r.stderr, "a directory that does not exist inside", [r])
out("a script made inside", execute("box", "sh", "-c", "printf '#!/bin/sh\\necho script $1\\n' >s; chmod +x s; exec ./s x"), "script x\n")
out("a changed program", execute("box", "sh", "-c", "cp /bin/echo ./e; printf x >>e; ./e changed"), "changed\n")
out("its parent is the first, as an orphan's is", execute("box", "sh", "-c", f"tr '\\0' ' ' </proc/$PPID/cmdline | grep -c {mark}"), "1\n")
out("the name of the machine", execute("box", "hostname"), "bvisor\n")
out("what is denied stays denied", execute("box", "sh", "-c", "chroot / true 2>&1 | grep -c ermitted; cat /etc/shadow 2>&1 | grep -c such"), "1\n1\n")
out("its own process group and session", execute("box", "sh", "-c", "ps -o pgid=,sid= -p $$ | awk '{print ($1 == $2)}'"), "1\n")
out("no descriptor of ours", execute("box", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ")

# More of the network.
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
reach = ("python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('connected')")
ok(b"ConnectionRefused" in execute("box", *reach).stderr, "a service of the host is out of reach")
r = run("allow", "box", f"127.0.0.1:{port}", "192.0.2.0/24:80-81", "[2001:db8::1]:443")
ok((r.status, r.out, r.err) == (0, b"", b""), "until it is allowed", [r.err])
out("and for those that are there already", execute("box", *reach), "connected\n")
ok(run("allow", "box", f"127.0.0.1:{port}").status == 0, "twice is once")
r = run("allow", "box", "127.0.0.1:1", "no-such-host.invalid")
ok(r.status == 125 and b"'no-such-host.invalid' cannot be reached" in r.err, "all or nothing", [r.err])
with open("/etc/hosts", "rb") as f:
    hosts = f.read()
if run("allow", "box", "localhost").status == 0 and socket.gethostname() != "localhost":
    r = run("allow", "box", socket.gethostname())
    if r.status == 0:
        ok(execute("box", "getent", "hosts", socket.gethostname()).returncode == 0, "a host is found by its name")
with open("/etc/hosts", "rb") as f:
    ok(f.read() == hosts, "and the host's own file is as before")

# Together.
p = popen("box", "sh", "-c", "mkfifo pipe; echo ready; cat <pipe")
p.stdout.readline()
execute("box", "sh", "-c", "echo through >pipe")
ok(p.communicate(timeout=20 * SLOW)[0] == b"through\n", "two meet in a FIFO")
many = [popen("box", "sh", "-c", f"i=0; while [ $i -lt 30 ]; do echo {n} >f{n}.$i; cat f{n}.$i >/dev/null; i=$((i+1)); done; ls f{n}.* | wc -l") for n in range(20)]
ok([p.communicate(timeout=120 * SLOW)[0] for p in many] == [b"30\n"] * 20, "20 at once")
sleepers = [popen("box", "sleep", mark) for _ in range(70)]
clitest.until(lambda: sum(p.poll() is not None for p in sleepers) >= 7 and len(clitest.sleepers(mark)) >= 63, 20)
refused = [p for p in sleepers if p.poll() is not None]
ok(len(refused) == 7 and all(p.returncode == 125 and b"cannot take it" in p.stderr.read() for p in refused), "63 and the first, no more", [len(refused)])
out("one goes", subprocess.run(["kill", str(sleepers[0].pid)], capture_output=True, check=False), "")
for p in sleepers:
    p.kill()
    p.wait()
ok(clitest.until(lambda: not clitest.sleepers(mark), 10), "whose client is killed is killed", clitest.sleepers(mark))
out("then there is room", execute("box", "echo", "again"), "again\n")

# Signals.
p = popen("box", "sh", "-c", "trap 'echo int; exit 3' INT; echo ready; while :; do sleep 0.05; done")
p.stdout.readline()
p.send_signal(signal.SIGINT)
ok(p.communicate(timeout=20 * SLOW)[0] == b"int\n" and p.returncode == 3, "SIGINT is passed on", [p.returncode])
p = popen("box", "sh", "-c", f"echo ready; sleep {mark}")
p.stdout.readline()
p.send_signal(signal.SIGTERM)
ok(p.wait(20 * SLOW) == 143 and clitest.until(lambda: not clitest.sleepers(mark), 5), "SIGTERM ends the group", [p.returncode])
p = popen("box", "sh", "-c", "echo x >ticks; echo ready; while :; do echo x >>ticks; sleep 0.02; done")
p.stdout.readline()
p.send_signal(signal.SIGTSTP)
ok(clitest.until(lambda: clitest.state(p.pid) == "T", 10), "Ctrl-Z stops it", [clitest.state(p.pid)])
time.sleep(0.1)
n = int(execute("box", "sh", "-c", "wc -l <ticks").stdout)
time.sleep(0.2)
ok(int(execute("box", "sh", "-c", "wc -l <ticks").stdout) == n, "and the command")
p.send_signal(signal.SIGCONT)
ok(clitest.until(lambda: int(execute("box", "sh", "-c", "wc -l <ticks").stdout) > n, 10), "and both go on")
p.kill()
p.wait()
p = popen("box", "sh", "-c", "stty size; tty | cut -c1-9; test -t 0 && test -t 1 && echo terminal; read x; echo got $x", options=("-t",))
text = p.communicate(b"line\n", timeout=20 * SLOW)[0]
ok(b"/dev/pts/\r\nterminal\r\n" in text and b"got line\r\n" in text, "a terminal", [text])

# ps.
p = popen("box", "sh", "-c", f"sleep {mark}; true")
clitest.until(lambda: clitest.sleepers(mark), 10)
r = run("ps", "box")
lines = r.out.decode().splitlines()
ok(lines[0].split() == ["NAME", "PID", "PPID", "S", "TIME", "COMMAND"] and sum(f"sleep {mark}" in x for x in lines) >= 2, "ps", lines)
r = run("ps", "--json")
found = json.loads(r.out)
ok(len(found) == 1 and found[0]["name"] == "box" and any(x["ppid"] == 0 and x["command"].startswith("sh -c rm -f stop; echo up") for x in found[0]["processes"]), "as JSON", [r.out])
ok(run("ps", "nobody").out == b"" and json.loads(run("ps", "--json", "nobody").out) == [], "nobody")
p.kill()
p.wait()

# Who does not know how to ask.
path = os.path.join(layers, "box", "join")
ok(os.stat(path).st_mode & 0o777 == 0o600, "the socket is its user's")
out("no guest sees it", execute("box", "sh", "-c", f"ls {path} 2>&1 | grep -c such"), "1\n")


def say(data, *fds, after=b""):
    """What comes back, None: nothing but the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        if after:
            s.send(after)
        try:
            answer = s.recv(64)
        except OSError:
            return None
        return struct.unpack("<Ii", answer) if len(answer) == 8 else None


def strings(data):
    fd = os.memfd_create("x")
    os.write(fd, data)
    return fd


for what, data in (("no rule", b"\0x\0"), ("a rule that is none", b"\0- 1.2.3.4/33 1-2\0"), ("cut", b"\0- 1.2.3.4/32 1-2")):
    fd = strings(data)
    answer = say(struct.pack("<IIII", 0x316e6a62, 2, 1, 0), fd)
    ok(answer is not None and answer[0] == 100, f"allow: {what}", [answer])
    os.close(fd)


null = os.open("/dev/null", os.O_RDWR)
magic = 0x316e6a62
good = strings(b"/\0true\0")
for what, data, fds in (("nothing", b"", ()), ("no magic", struct.pack("<IIII", 1, 0, 1, 0), (good, null, null, null)),
                        ("short", b"\x62\x6a", (good, null, null, null)), ("no descriptors", struct.pack("<IIII", magic, 0, 1, 0), ()),
                        ("too few", struct.pack("<IIII", magic, 0, 1, 0), (good, null)),
                        ("too many", struct.pack("<IIII", magic, 0, 1, 0), (good, null, null, null, null, null)),
                        ("no words", struct.pack("<IIII", magic, 0, 0, 0), (good, null, null, null)),
                        ("more words than there are", struct.pack("<IIII", magic, 0, 9, 0), (good, null, null, null)),
                        ("endless words", struct.pack("<IIII", magic, 0, 0xffffffff, 0xffffffff), (good, null, null, null)),
                        ("no NUL", struct.pack("<IIII", magic, 0, 1, 0), (strings(b"/\0true"), null, null, null)),
                        ("no file", struct.pack("<IIII", magic, 0, 1, 0), (null, null, null, null)),
                        ("an endless file", struct.pack("<IIII", magic, 0, 1, 0), (strings(b"/\0" + b"x" * (5 << 20)), null, null, null)),
                        ("a relative directory", struct.pack("<IIII", magic, 0, 1, 0), (strings(b"usr\0true\0"), null, null, null)),
                        ("no terminal", struct.pack("<IIII", magic, 1, 1, 0), (good, null))):
    answer = say(data, *fds)
    ok(answer is None or answer[0] in (100, 101), f"refused: {what}", [answer])
ok(say(struct.pack("<IIII", magic, 0, 1, 0), good, null, null, null)[0] == 1, "and who does")
idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(30)]
for s in idle:
    s.connect(path)
out("30 that say nothing keep nobody", execute("box", "echo", "fine"), "fine\n")
for s in idle:
    s.close()

# The end.
p = popen("box", "sleep", mark)
clitest.until(lambda: clitest.sleepers(mark), 10)
execute("box", "touch", "stop")
ok(box.wait(20 * SLOW) == 9 and p.wait(20 * SLOW) == 137, "it ends with the sandbox", [box.returncode, p.returncode])
ok(not clitest.sleepers(mark) and not os.path.exists(path), "and nothing is left")
r = execute("box", "true")
ok(r.returncode == 125 and b"not running" in r.stderr, "then it is not running", [r])
r = execute("nobody", "true")
ok(r.returncode == 125 and b"there is no sandbox 'nobody'" in r.stderr, "no sandbox", [r])
for argv in ((), ("box",), ("--nonsense", "box", "true"), ("-e", "=", "box", "true")):
    r = subprocess.run([bvisor, "exec", *argv], capture_output=True, env=env, check=False)
    ok(r.returncode == 2 and r.stderr.count(b"\n") == 1, f"exec {argv}", [r])
box = start("box", f"sleep {mark}")
p = popen("box", "sleep", mark)
clitest.until(lambda: len(clitest.sleepers(mark)) == 2, 10)
os.kill(clitest.supervisor(box.pid), signal.SIGKILL)
ok(p.wait(20 * SLOW) == 125 and b"has ended" in p.stderr.read() and clitest.until(lambda: not clitest.sleepers(mark), 5), "the supervisor is killed", [p.returncode])
box.wait()
ok(os.path.exists(path), "which leaves its socket")
box = start("box", "while sleep 0.1; do test -e stop && exit 9; done")
out("the next one takes its place", execute("box", "echo", "new"), "new\n")

# Joining and leaving as fast as it goes, beside a guest that is busy.
busy = popen("box", "sh", "-c", "while :; do ls -R /usr/share/doc >/dev/null; done")
counts = []


def join_often():
    counts.append(sum(execute("box", "sh", "-c", "cat /etc/hostname").stdout == b"bvisor\n" for _ in range(25)))


threads = [threading.Thread(target=join_often) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
ok(counts == [25] * 4, "100 times, four at a time", [counts])
busy.kill()
busy.wait()
execute("box", "touch", "stop")
box.wait(20 * SLOW)
raise SystemExit(tap.done())
