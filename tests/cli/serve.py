#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The broker's protocol against clients that get it wrong, lie, hold back, or vanish."""
import json
import os
import random
import socket
import struct
import subprocess
import time

from kept import bvisor, clitest, env, ok, work, tap

HEAD = struct.Struct("<III")


class Client:
    def __init__(self, greet=True, path=None):
        self.p, self.buf = None, b""
        if path:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(path)
        else:
            self.s, theirs = socket.socketpair()
            self.p = subprocess.Popen([bvisor, "serve", "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], env=env, cwd=work,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            theirs.close()
        self.s.settimeout(20)
        if greet:
            self.send({"bvisor": 1})
            self.hello = self.message()

    def frame(self, kind, stream, payload):
        self.s.sendall(HEAD.pack(len(payload), stream, kind) + payload)

    def send(self, message):
        self.frame(1, 0, json.dumps(message).encode())

    def read(self):
        """(kind, stream, payload), or None at the end."""
        while True:
            if len(self.buf) >= 12:
                n, stream, kind = HEAD.unpack(self.buf[:12])
                if len(self.buf) >= 12 + n:
                    payload, self.buf = self.buf[12:12 + n], self.buf[12 + n:]
                    return kind, stream, payload
            try:
                data = self.s.recv(1 << 20)
            except OSError:
                return None
            if not data:
                return None
            self.buf += data

    def message(self):
        while True:
            f = self.read()
            if f is None or f[0] == 1:
                return None if f is None else json.loads(f[2])

    def call(self, method, **params):
        self.send({"id": 7, "method": method, "params": params})
        while True:
            m = self.message()
            if m is None or m.get("id") == 7:
                return m

    def create(self, **params):
        return self.call("sandbox.create", **params)["result"]["sandbox"]

    def end(self):
        """The broker's exit status, once we are gone."""
        self.s.close()
        if not self.p:
            return None
        try:
            return self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            return "hangs"


def refused(what, *frames, code="protocol", greet=True):
    c = Client(greet)
    for f in frames:
        try:
            c.s.sendall(f)
        except OSError:
            break
    m = c.message()
    gone = c.read() is None
    ok(m and m.get("error", {}).get("code") == code and m["id"] is None and gone and c.end() == 0, what, [m, gone])


def msg(text):
    return HEAD.pack(len(text), 0, 1) + text


refused("no greeting", msg(b'{"id": 1, "method": "sandbox.list"}'), greet=False)
refused("data before the greeting", HEAD.pack(1, 4, 2) + b"x", greet=False)
refused("another version", msg(b'{"bvisor": 2}'), code="version", greet=False)
refused("a version of words", msg(b'{"bvisor": "one"}'), greet=False)
refused("no JSON", msg(b"{"))
refused("no UTF-8", msg(b'{"id": 1, "method": "\xff"}'))
refused("no object", msg(b"[1, 2]"))
refused("one key twice", msg(b'{"id": 1, "id": 2}'))
refused("deep nonsense", msg(b"[" * 100000))
refused("an empty message", msg(b""))
refused("an endless frame", HEAD.pack(0xffffffff, 0, 1))
refused("a frame of 8 MiB and a byte", HEAD.pack((8 << 20) + 1, 0, 1))
refused("a frame of unknown type", HEAD.pack(0, 0, 99))
refused("credit of three bytes", HEAD.pack(3, 5, 3) + b"abc")

c = Client()
ok(c.hello["bvisor"] == 1 and c.hello["window_in"] > 0, "it greets", [c.hello])
for what, message, code in (
        ("no method", {"id": 1, "method": "sandbox.fly"}, "no_method"), ("no id", {"method": "sandbox.list"}, "protocol"),
        ("an id of text", {"id": "x", "method": "sandbox.list"}, "protocol"), ("no name", {"id": 1}, "protocol"),
        ("params of text", {"id": 1, "method": "sandbox.list", "params": "x"}, "protocol"),
        ("create: unknown", {"id": 1, "method": "sandbox.create", "params": {"nme": "x"}}, "invalid"),
        ("create: a number", {"id": 1, "method": "sandbox.create", "params": {"net": 1}}, "invalid"),
        ("create: NUL", {"id": 1, "method": "sandbox.create", "params": {"name": "a\0b"}}, "invalid"),
        ("create: what run refuses", {"id": 1, "method": "sandbox.create", "params": {"net": "all"}}, "sandbox"),
        ("create: a bad name", {"id": 1, "method": "sandbox.create", "params": {"name": "../x"}}, "sandbox"),
        ("start in nothing", {"id": 1, "method": "process.start", "params": {"sandbox": 99, "shell": "true"}}, "not_found"),
        ("signal to nobody", {"id": 1, "method": "process.signal", "params": {"process": 5}}, "not_found"),
        ("a forbidden command", {"id": 1, "method": "command", "params": {"argv": ["run", "--", "true"]}}, "invalid"),
        ("a command of numbers", {"id": 1, "method": "command", "params": {"argv": ["ls", 1]}}, "invalid"),
        ("no command", {"id": 1, "method": "command"}, "invalid")):
    c.send(message)
    m = c.message()
    ok(m and m.get("error", {}).get("code") == code and m["error"]["message"], what, [m])
m = c.call("sandbox.create", hide=[os.path.dirname(os.path.realpath(bvisor))])
ok(m and "result" in m, "create: bvisor's own programs are hidden, and run", [m])
m = c.call("sandbox.destroy", sandbox=m["result"]["sandbox"])
ok(m and "result" in m, "destroy", [m])
sb = c.create()
for what, params in (("neither", {}), ("both", {"argv": ["a"], "shell": "a"}), ("no words", {"argv": []}), ("numbers", {"argv": [1]}),
                     ("NUL", {"argv": ["a\0b"]}), ("env", {"shell": "a", "env": {"A=B": "c"}}), ("tty", {"shell": "a", "tty": "yes"}),
                     ("timeout", {"shell": "a", "timeout": -1}), ("limits", {"shell": "a", "limits": {"memory": "1G"}}),
                     ("user", {"shell": "a", "user": {"uid": 1}}), ("stdin", {"shell": "a", "stdin": "file"}), ("unknown", {"shell": "a", "cdw": "/"}),
                     ("too long", {"argv": ["x" * (7 << 20), "y" * (1 << 20) * 0]})):
    m = c.call("process.start", sandbox=sb, **params)
    ok(m and m.get("error", {}).get("code") in ("invalid", "exec"), f"start: {what}", [str(m)[:300]])
# Descriptors of the client's own.
def hand(message, fds, at=0):
    data = msg(json.dumps(message).encode())
    c.s.sendall(data[:at])
    sent = socket.send_fds(c.s, [data[at:]], fds)
    c.s.sendall(data[at + sent:])
    while True:
        m = c.message()
        if m is None or m.get("id") == 7:
            return m


def brokers_fds():
    return sorted(os.readlink(f"/proc/{c.p.pid}/fd/{n}") for n in os.listdir(f"/proc/{c.p.pid}/fd"))


def start(**params):
    return {"id": 7, "method": "process.start", "params": {"sandbox": sb, **params}}


before = brokers_fds()
for what, params, fds in (("fds of a number", {"fds": 1}, []), ("fds of numbers", {"fds": [1]}, []), ("an unknown one", {"fds": ["fd3"]}, []),
                          ("twice", {"fds": ["stdout", "stdout"]}, [1, 1]), ("none came", {"fds": ["stdout"]}, []), ("fewer came", {"fds": ["stdout", "stderr"]}, [2]),
                          ("with a terminal", {"fds": ["stdout"], "tty": True}, [2]), ("stderr twice", {"fds": ["stderr"], "stderr": "stdout"}, [2]),
                          ("stderr to a file", {"stderr": "file"}, [])):
    m = hand(start(shell="true", **params), fds) if fds else c.call("process.start", sandbox=sb, shell="true", **params)
    ok(m and m.get("error", {}).get("code") == "invalid", f"start: {what}", [m])
r, w = os.pipe()
for at in (0, 5, 40):
    m = hand(start(shell="echo out; echo err >&2; exec cat", fds=["stdin", "stdout"], stderr="stdout"), [os.open("/etc/hostname", os.O_RDONLY), w], at)
    exited = c.message()
    with open("/etc/hostname", "rb") as f:
        ok("result" in m and exited.get("event") == "exit" and exited["code"] == 0 and os.read(r, 4096) == b"out\nerr\n" + f.read(), f"streams of its own, sent with byte {at}", [m, exited])
m = hand({"id": 7, "method": "sandbox.list"}, [w] * 16)
ok("result" in m, "descriptors that nobody asked for", [m])
m = hand(start(shell="echo x", fds=["stderr"]), [w] * 9)
ok("result" in m and c.message().get("event") == "exit", "and more than were named", [m])
m = hand(start(shell="true", fds=["stdin", "stdout"]), [os.open("/", os.O_RDONLY), os.open(work, os.O_PATH)])
ok("result" in m and c.message().get("event") == "exit", "descriptors that are no streams", [m])
data = msg(json.dumps({"id": 8, "method": "process.start", "params": {"sandbox": 999, "shell": "x" * 200000, "fds": ["stdout"]}}).encode())
r2, w2 = os.pipe()
sent = socket.send_fds(c.s, [data[:-10]], [w2])
time.sleep(0.1)
c.s.sendall(data[sent:])
m = hand(start(shell="echo mine", fds=["stdout"]), [w])
ok("result" in m and c.message().get("event") == "exit" and os.read(r, 99) == b"mine\n", "one request does not get what a failed one brought", [m])
os.close(w2)
ok(os.read(r2, 1) == b"", "which is closed")
os.close(r2)
os.close(w)
# (What was open before may have been closed since.)
ok(os.read(r, 1) == b"" and clitest.until(lambda: set(brokers_fds()) <= set(before)), "the broker keeps none of them", [before, brokers_fds()])
os.close(r)
flood = Client()
try:
    socket.send_fds(flood.s, [b"\0" * 4], [1] * 16)
    socket.send_fds(flood.s, [b"\0" * 4], [1] * 16)
    m = flood.message()
except OSError:
    m = {"error": {"code": "protocol"}}
ok(m["error"]["code"] == "protocol" and flood.end() == 0, "too many at once", [m])

m = c.call("process.start", sandbox=sb, shell="echo still here")
ok(m and "result" in m, "after all of it it works", [m])
m = c.call("sandbox.list")
ok(len(m["result"]["sandboxes"]) == 1 and m["result"]["sandboxes"][0]["state"] == "ready", "and has one sandbox", [m])
c.frame(2, 999 * 4, b"to nobody")
c.frame(4, 999 * 4, b"")
c.frame(3, 999 * 4 + 1, struct.pack("<I", 5))
ok("result" in c.call("sandbox.list"), "frames of processes that are not there mean nothing")
p = c.call("process.start", sandbox=sb, shell="sleep 100")["result"]["process"]
try:
    c.frame(2, p * 4, b"x" * (c.hello["window_in"] + 70000 * 20))
except OSError:
    pass
while (m := c.message()) and m.get("event") == "exit":  # of the echo before
    pass
ok(m is None or m.get("error", {}).get("code") == "protocol", "more input than was granted", [m])
ok(c.end() == 0, "ends it")

# Frames cut anywhere, and noise.
random.seed(1)
good = msg(b'{"bvisor": 1}') + b"".join(msg(json.dumps({"id": i, "method": "sandbox.list"}).encode()) for i in range(5))
c = Client(greet=False)
for i in range(len(good)):
    c.s.sendall(good[i:i + 1])
ok([c.message() is not None for _ in range(6)] == [True] * 6 and c.end() == 0, "byte by byte")
statuses = []
for turn in range(30):
    c = Client(greet=bool(turn % 2))
    noise = bytearray(good)
    for _ in range(random.randrange(1, 8)):
        noise[random.randrange(len(noise))] = random.randrange(256)
    try:
        c.s.sendall(bytes(noise))
    except OSError:
        pass
    statuses.append(c.end())
ok(statuses == [0] * 30, "noise", [statuses])

# Who vanishes takes all along.
mark = "4201.5"
for what, how in (("closes", lambda c: c.s.close()), ("half closes", lambda c: c.s.shutdown(socket.SHUT_WR))):
    c = Client()
    sb = c.create()
    c.call("process.start", sandbox=sb, shell=f"trap '' TERM HUP; sleep {mark}")
    clitest.until(lambda: clitest.sleepers(mark), 10)
    how(c)
    ok(clitest.until(lambda: not clitest.sleepers(mark), 3) and c.end() == 0, f"a client that {what}")
c = Client()
sb = c.create()
c.call("process.start", sandbox=sb, shell=f"sleep {mark}")
clitest.until(lambda: clitest.sleepers(mark), 10)
c.p.kill()
ok(clitest.until(lambda: not clitest.sleepers(mark), 3), "a broker that is killed")
c.end()
c = Client()
for _ in range(3):
    c.send({"id": 1, "method": "sandbox.create", "params": {}})
ok(c.end() == 0 and clitest.until(lambda: not clitest.children(c.p.pid), 3), "while sandboxes start")

# A hostile guest: its agent's socket, its agent.
c = Client()
sb = c.create()
m = c.call("process.start", sandbox=sb, shell="kill -STOP $PPID; kill -9 $PPID; sleep 1; echo alive")
while m is not None and m.get("event") not in ("exit", "sandbox_end"):
    m = c.message()
ok(m is not None, "a guest that kills its init ends its sandbox", [m])
ok("result" in c.call("sandbox.create"), "and no other")
c.end()

# Temporary ones: kept for review, not beyond their client.
temp = os.path.join(work, "tmp")
os.mkdir(temp)
env["TMPDIR"] = temp


def left():
    """Names of temporary sandboxes that have files."""
    return [name for at, dirs, _ in os.walk(temp) if os.path.basename(at) == "sandboxes" for name in dirs]


def shell(c, sandbox, text):
    """The status of a command."""
    p = c.call("process.start", sandbox=sandbox, shell=text, stdin="null")["result"]["process"]
    while True:
        m = c.message()
        if m is None or (m.get("event") == "exit" and m["process"] == p):
            return m and m["code"]


# Output that nobody wants any more: whoever writes it goes on.
c = Client()
sb = c.create()
for what, text, early in (("while it runs", "sleep 0.2; head -c 6000000 /dev/zero; touch /tmp/done", True),
                          ("of who is left behind", "(sleep 0.5; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; touch /tmp/done) & echo now", False)):
    shell(c, sb, "rm -f /tmp/done")
    p = c.call("process.start", sandbox=sb, shell=text)["result"]["process"]
    ends = [lambda: c.frame(4, p * 4 + 1, b""), lambda: c.frame(4, p * 4 + 2, b"")]
    if early:
        ends.pop(0)()
    seen = []
    while (kind_stream := c.read()) and not (kind_stream[0] == 1 and b'"exit"' in kind_stream[2]):
        seen.append(kind_stream)
    if not early:
        ends.pop(0)()
        ends.pop(0)()
    ok(clitest.until(lambda: shell(c, sb, "test -e /tmp/done") == 0, 10), f"{what}, unread", [seen[-1:]])
    ok(not early or not [s for s in seen if s[0] == 2 and s[1] == p * 4 + 1], f"{what}, nothing more of it is sent", [len(seen)])
p = c.call("process.start", sandbox=sb, shell="yes")["result"]["process"]
for which in (1, 2):
    c.frame(4, p * 4 + which, b"")
ok("result" in c.call("sandbox.list") and "result" in c.call("process.signal", process=p), "a flood that nobody reads keeps nobody", [])
while (m := c.message()) and not (m.get("event") == "exit" and m["process"] == p):
    pass
ok(m and m["code"] == 143, "and is ended", [m])
ok(c.end() == 0, "the broker ends")

c = Client()
m = c.call("sandbox.create", temporary=True)["result"]
name = m["name"]
shell(c, m["sandbox"], "echo inside > made; ls -d $TMPDIR/.bvisor*")
r = c.call("command", argv=["diff", name], temporary=True)["result"]
ok(r["status"] == 0 and "/made" in r["stdout"], "a running one is looked at", [r])
r = c.call("command", argv=["rollback", name], temporary=True)["result"]
ok(r["status"] == 0 and shell(c, m["sandbox"], "ls made") == 2, "and rolled back", [r])
shell(c, m["sandbox"], "echo again > made")
c.call("sandbox.destroy", sandbox=m["sandbox"])
r = c.call("command", argv=["diff", name], temporary=True)["result"]
ok(r["status"] == 0 and r["stdout"].startswith("A ") and "/made" in r["stdout"] and r["stdout"].count("\n") == 1, "an idle one has", [r])
big = c.call("sandbox.create", temporary=True)["result"]
shell(c, big["sandbox"], "head -c 5000000 /dev/zero | tr '\\0' x > text; head -c 1500000 /dev/urandom > noise")
c.call("sandbox.destroy", sandbox=big["sandbox"])
r = c.call("command", argv=["diff", big["name"], "--patch"], temporary=True)
ok(r.get("error", {}).get("errno") == "EFBIG", "more than an answer holds is an error", [str(r)[:300]])
ok(c.call("command", argv=["diff", big["name"]], temporary=True)["result"]["stdout"].count("\n") == 2, "the list of it is not", [])
ok(c.call("command", argv=["ls"])["result"]["stdout"].count(name) == 0, "it is not among the kept ones")
m = c.call("sandbox.create", temporary=True, name=name)["result"]
ok(m["name"] == name and shell(c, m["sandbox"], "cat made") == 0, "it goes on", [m])
ok(c.call("sandbox.create", temporary=True, name=name)["error"]["code"] == "busy", "it is one")
ok("result" in c.call("sandbox.create", name=name), "a kept one may be called so too")
ok("result" in c.call("sandbox.remove", name=name) and clitest.until(lambda: name not in left(), 5), "it is removed while it runs", [left()])
ok(c.call("sandbox.remove", name=name)["error"]["code"] == "not_found", "once")
ok(c.call("sandbox.remove", name="work")["error"]["code"] == "not_found", "and nothing else is")
for bad in ("../x", "a/b", "", "-x"):
    m = c.call("sandbox.create", temporary=True, name=bad)
    ok("error" in m, f"no name: {bad!r}", [m])
ok(c.call("sandbox.create", temporary=1)["error"]["code"] == "invalid", "temporary is true or false")
m = c.call("sandbox.create", temporary=True)["result"]
shell(c, m["sandbox"], "mkdir -p d/e; echo x > d/e/f; chmod 0 d/e d")
ok(c.end() == 0 and clitest.until(lambda: not os.listdir(temp) or not left(), 5), "all go with the client", [left()])

# What is made ahead for a client that makes the same ones.
c = Client()
for _ in range(3):
    c.create(temporary=True)
    time.sleep(0.3)
n = len(c.call("sandbox.list")["result"]["sandboxes"])
inits = [p for p in clitest.children(c.p.pid)]
ok(n == 3 and len(inits) == 4, "one more is ready than was asked for, and it is not listed", [n, inits])
began = time.monotonic()
last = c.create(temporary=True)
took = time.monotonic() - began
ok(shell(c, last, "touch it") == 0, f"it is as good as another, after {took * 1000:.1f} ms")
ok("error" in c.call("sandbox.create", temporary=True, net="nonsense"), "other parameters, another one")
c.create(temporary=True, hide=[work])
ok(shell(c, c.create(temporary=True, hide=[work]), f"test ! -e {work}") == 0, "which has its own policy")
c.p.kill()
c.end()
clitest.until(lambda: not clitest.children(c.p.pid), 5)
ok(left(), "a broker that is killed leaves files")
c = Client()
c.create(temporary=True)
ok(clitest.until(lambda: len(left()) == 1, 5), "the next one removes them", [left()])
c.end()
ok(not left(), "and leaves none", [left()])
del env["TMPDIR"]

# An audit, which a client may not care to read.
c = Client()
audited = c.create(audit=True)
ok(c.call("sandbox.create", audit="yes").get("error", {}).get("code") == "invalid", "audit: text")
ok(shell(c, audited, "chroot /; true") == 0, "what is refused")
c.send({"id": 9, "method": "process.start", "params": {"sandbox": audited, "shell": "exec 3<>/dev/tcp/192.0.2.1/80; sleep 0.2; chroot /"}})
seen = []
while not seen or "exit" != seen[-1].get("event"):
    seen.append(c.message())
events = [(m.get("event"), m.get("record", {}).get("call")) for m in seen if "event" in m]
ok(events == [("audit", "connect"), ("audit", "chroot"), ("exit", None)] and all(m["sandbox"] == audited for m in seen if m.get("event") == "audit"),
   "is told before the end", events)
flood = c.create(audit=True)
c.call("process.start", sandbox=flood, argv=["python3", "-c", "import ctypes; c = ctypes.CDLL(None)\nwhile True: c.chroot(b'/')"])
time.sleep(1)
ok(len(c.call("sandbox.list")["result"]["sandboxes"]) == 2, "a flood of it is none for others")
m = c.call("sandbox.destroy", sandbox=flood)
ok("result" in m and c.end() == 0, "and it ends", [m])

# Limits.
c = Client()
sb = c.create()
for params, limit in (({"shell": "sleep 60", "timeout": 0.2}, "timeout"), ({"argv": ["sh", "-c", "while :; do :; done"], "limits": {"cpu_seconds": 1}}, "cpu_seconds"),
                      ({"argv": ["sh", "-c", "exec dd if=/dev/zero of=/tmp/x bs=64k count=100"], "limits": {"file_size": 65536}}, "file_size"),
                      ({"argv": ["sh", "-c", "kill -XCPU $$"]}, None), ({"shell": "true", "limits": {"cpu_seconds": 5}}, None)):
    c.call("process.start", sandbox=sb, **params)
    m = c.message()
    while m.get("event") != "exit":
        m = c.message()
    ok(m["limit"] == limit, f"the limit that {params} reaches", [m])
c.end()

# Requests that are given up, in the same breath or later.
def cancelled(c, method, params, wait=0):
    """The answers to a request and to its cancellation, and when the first of them came."""
    frames = [{"id": 31, "method": method, "params": params}, {"id": 32, "method": "cancel", "params": {"request": 31}}]
    raw = [json.dumps(f).encode() for f in frames]
    raw = [HEAD.pack(len(r), 0, 1) + r for r in raw]
    if wait:
        c.s.sendall(raw[0])
        time.sleep(wait)
        c.s.sendall(raw[1])
    else:
        c.s.sendall(b"".join(raw))
    seen = {}
    while len(seen) < 2:
        m = c.message()
        seen[m.get("id")] = m
    return seen[31].get("error", {}), seen[32]


c = Client()
error, answer = cancelled(c, "sandbox.create", {"temporary": True})
ok((error.get("code"), error.get("errno")) == ("cancelled", "ECANCELED") and "result" in answer, "a sandbox that starts", [error, answer])
ok(clitest.until(lambda: c.call("sandbox.list")["result"]["sandboxes"] == [], 5) and clitest.until(lambda: not clitest.children(c.p.pid), 5), "is no more")
sb = c.create()
mark = f"4{os.getpid() % 100000:05d}7"
error, answer = cancelled(c, "process.start", {"sandbox": sb, "argv": ["sleep", mark]})
ok(error.get("code") == "cancelled" and "result" in answer, "a process that starts", [error, answer])
ok(clitest.until(lambda: not clitest.sleepers(mark), 5) and shell(c, sb, "true") == 0, "is killed, and nobody else")
ok(c.call("sandbox.list")["result"]["sandboxes"][0]["processes"] == [], "and forgotten")
error, answer = cancelled(c, "process.start", {"sandbox": sb, "argv": ["no-such-program"]})
ok(error.get("code") in ("cancelled", "exec"), "one that cannot start", [error])
fifo = os.path.join(work, "fifo")
os.mkfifo(fifo)
error, answer = cancelled(c, "command", {"argv": ["import", "x", "--oci", fifo]}, 0.3)
ok(error.get("code") == "cancelled" and "result" in answer and clitest.until(lambda: len(clitest.children(c.p.pid)) == 1, 5), "a command", [error, answer])
for what, params in (("answered", {"request": 31}), ("never asked", {"request": 99}), ("of text", {"request": "31"}), ("nothing", {})):
    ok(c.call("cancel", **params).get("error", {}).get("code") == "not_found", f"cancel: {what}")
for params, rule in (({"net": "all"}, "net"), ({"net": 1}, "net"), ({"nme": "x"}, "nme"), ({"options": {"core.workers": "x"}}, "core.workers"),
                     ({"config": "/etc/passwd"}, None)):
    m = c.call("sandbox.create", **params)
    ok(m.get("error", {}).get("rule") == rule, f"the rule that {params} breaks", [m])
ok(c.end() == 0, "and it ends")

# A socket for several.
path = os.path.join(work, "sock")
p = subprocess.Popen([bvisor, "serve", "--socket", path], env=env, cwd=work, stderr=subprocess.PIPE)
clitest.until(lambda: os.path.exists(path), 10)
ok(os.stat(path).st_mode & 0o777 == 0o600 and [n for n in os.listdir(work) if "bvisor-serve" in n] == [], "for this user alone")
r = subprocess.run([bvisor, "serve", "--socket", path], capture_output=True, env=env, check=False)
ok(r.returncode == 125 and b"Address already in use" in r.stderr, "one at a place", [r])
a, b = Client(path=path), Client(path=path)
sa = a.create()
b.create()
m = b.call("process.start", sandbox=sa, shell="true")
ok(m.get("error", {}).get("code") == "not_found", "clients do not see each other's", [m])
a.end()
ok(len(b.call("sandbox.list")["result"]["sandboxes"]) == 1, "one goes, the other stays")
a = Client(path=path)
name = a.call("sandbox.create", temporary=True)["result"]["name"]
ok(b.call("sandbox.create", temporary=True, name=name)["error"]["code"] == "busy", "a temporary one is its client's")
ok(b.call("sandbox.remove", name=name)["error"]["code"] == "not_found", "who alone removes it")
a.end()
b.end()
time.sleep(0.1)
ok(p.poll() is None, "the broker too")
p.terminate()
p.wait()
r = subprocess.run([bvisor, "serve", "--socket", "/nowhere/x"], capture_output=True, env=env, check=False)
ok(r.returncode == 125 and b"No such file" in r.stderr, "no place for a socket", [r])
for argv in ([], ["--fd", "x"], ["--fd", "77"], ["--fd", "0", "--socket", "x"], ["--nonsense"], ["--fd", "0", "more"]):
    r = subprocess.run([bvisor, "serve", *argv], capture_output=True, env=env, check=False)
    ok(r.returncode == 2 and r.stderr.count(b"\n") == 1, f"serve {argv}", [r])
raise SystemExit(tap.done())
