#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What guests lock does not make the host wait, nor the other way round; but guests lock each other out."""
import fcntl
import os
import struct

from kept import bvisor, clitest, env, fresh, ok, repo, run, tap

SCRIPT = """
import fcntl, os, struct, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
sub = os.open("dir", os.O_RDONLY)
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(sub, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.fcntl(fd, fcntl.F_SETLK, lock)
fcntl.fcntl(os.open("b", os.O_RDONLY), 37, lock)
try:
    fcntl.fcntl(os.open("keep", os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as e:
    print(e)
try:
    fcntl.fcntl(sub, fcntl.F_SETLK, lock)
except OSError as e:
    print(os.strerror(e.errno))
print("locked", flush=True)
sys.stdin.readline()
"""


def tries(path, how):
    """Whether the host gets it at once."""
    fd = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_NONBLOCK)
    try:
        how(fd)
        return True
    except OSError as e:
        return os.strerror(e.errno)
    finally:
        os.close(fd)


def flock(fd):
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def record(fd):
    fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))


fresh()
p = clitest.popen([bvisor, "run", "--", "python3", "-c", SCRIPT, "a"], cwd=repo, env=env, stdin=-1, stdout=-1)
said = []
while not said or said[-1] not in (b"locked\n", b""):
    said.append(p.stdout.readline())
ok(said[-1] == b"locked\n" and b"No locks available\n" in said, "the guest has them, but for records of a host directory", said)
ok(tries(f"{repo}/a", flock) is True, "a file, by flock", [tries(f"{repo}/a", flock)])
ok(tries(f"{repo}/a", record) is True, "a file, by record", [tries(f"{repo}/a", record)])
ok(tries(f"{repo}/b", record) is True, "a file, by OFD lock", [tries(f"{repo}/b", record)])
ok(tries(f"{repo}/dir", flock) is True, "a directory", [tries(f"{repo}/dir", flock)])
ok(tries(f"{repo}/keep", lambda fd: None) is True, "no lease is broken")
p.communicate(b"\n", 30)

held = [os.open(f"{repo}/{name}", os.O_RDONLY) for name in ("a", "dir")]
for fd in held:
    fcntl.flock(fd, fcntl.LOCK_EX)
r = run("run", "--", "python3", "-c", SCRIPT, "a")
ok(r.out.endswith(b"locked\n"), "the host's locks do not hold the guest up", [r.out, r.err])
for fd in held:
    os.close(fd)

# Two guests of one sandbox: flock(1) in the manner of shells, on a file and a directory of the host.
for name in ("a", "dir"):
    r = run("run", "--", "sh", "-c", f"exec 9<{name}; flock 9; (exec 8<{name}; flock -n 8 || echo busy; exec 9<&-); "
            f"(flock -w 20 7 && echo got) 7<{name} 9<&- & sleep 0.2; exec 9<&-; wait")
    ok(r.out == b"busy\ngot\n", f"guests wait for each other: {name}", [r.out, r.err])
# What the user hands in for writing is meant to be shared.
fd = os.open(f"{repo}/a", os.O_RDWR)
p = clitest.popen([bvisor, "run", "--", "python3", "-c", "import fcntl, sys; fcntl.flock(1, fcntl.LOCK_EX); sys.stdin.read()"],
                  cwd=repo, env=env, stdin=-1, stdout=fd)
ok(clitest.until(lambda: tries(f"{repo}/a", flock) is not True, 10), "what was handed in for writing is locked for all")
p.communicate(b"", 30)
os.close(fd)
r = run("run", "--", "python3", "-c", """
import fcntl, os
for i in range(2000):
    fd = os.open(["a", "b", "dir", "keep", "/etc/passwd"][i % 5], os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    if i % 3: os.close(fd)
    elif i % 300 == 0: os.closerange(4, 1000)
print("good")
""")
ok(r.out == b"good\n", "2,000 locks, most of them let go", [r.out, r.err])
raise SystemExit(tap.done())
