#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A quota: nothing grows past it, whatever call it is, and what is freed can be used again."""
import os
import shutil
import subprocess
import time

from kept import bvisor, check, clitest, env, fresh, layers, ok, repo, run, sh, tap

MIB = 1 << 20
HERE = os.path.dirname(os.path.realpath(__file__))
SWAPFD = os.environ["BVISOR_SWAPFD"]

WANT = """\
write True ENOSPC ENOSPC 0
in place 1048576
others ENOSPC ENOSPC None
unlinked and held 0 ENOSPC
let go 3 7
mapped and unlinked ENOSPC
unmapped None
replaced and held 0
and let go 3
sparse ENOSPC ENOSPC None
far ENOSPC ENOSPC 7
fallocate ENOSPC None 5
writev ENOSPC 1025
append ENOSPC ENOSPC
sendfile True ENOSPC True
copy_file_range True ENOSPC b'sss'
splice 1048576 b'pp'
clone ENOTSUP
from /proc 100
O_TMPFILE True ENOSPC
gone 7
copy-up ENOSPC ENOSPC 9
statvfs 8 8
pipe b'pipes go on'
"""


def used(name):
    """Bytes below a kept sandbox's upper, as du(1) has it."""
    return -4096 + int(subprocess.run(["du", "-sB1", f"{layers}/{name}/upper"], capture_output=True, text=True).stdout.split()[0])


fresh()
with open(f"{repo}/quota_guest.py", "w") as out, open(f"{HERE}/quota_guest.py") as f:
    out.write(f.read())
with open(f"{repo}/big", "wb") as f:
    f.truncate(9 * MIB)
r = run("run", "--quota", "8M", "--", "python3", "quota_guest.py", f"{repo}/big", timeout=120)
lines = r.out.decode().splitlines()
for i, want in enumerate(WANT.splitlines()):
    got = lines[i] if i < len(lines) else "nothing"
    ok(got == want, want.split(" ")[0] + ": " + want, [got, r.err[-600:]])

# Many small files, what they leave behind, directories that are closed to their owner.
r = run("run", "--quota", "4M", "--", "sh", "-c",
        "i=0; mkdir /tmp/d; while echo x 2>/dev/null >/tmp/d/$i; do i=$((i+1)); done; echo $i; rm -r /tmp/d; "
        "mkdir /tmp/c /tmp/c/in; dd if=/dev/zero of=/tmp/c/in/f bs=1M count=3 status=none; chmod 0 /tmp/c/in /tmp/c; "
        "df --output=used -k /tmp | tail -1; dd if=/dev/zero of=/tmp/g bs=1M count=3 status=none; chmod 700 /tmp/c /tmp/c/in; rm -r /tmp/c; "
        "dd if=/dev/zero of=/tmp/g bs=1M count=3 status=none && echo good", timeout=120)
got = r.out.split()
ok(len(got) == 3 and 900 < int(got[0]) <= 1024 and 3072 <= int(got[1]) < 3200 and got[2] == b"good" and b"No space" in r.err,
   "small files and closed directories count", [r.out, r.err])
r = run("run", "-o", "vfs-cow.quota_files=50", "--", "sh", "-c",
        "i=0; while true 2>/dev/null >/tmp/$i; do i=$((i+1)); done 2>/dev/null; echo $i; mkdir /tmp/d; ln -s x /tmp/s; mkfifo /tmp/p; "
        "df --output=itotal,iavail /tmp | tail -1; rm /tmp/[1-9]; mkdir /tmp/d && ln /tmp/20 /tmp/hard && ln /tmp/20 /tmp/hard2 && ln -s x /tmp/s && echo good")
got = r.out.split()
ok(len(got) == 4 and 40 < int(got[0]) <= 50 and got[1:] == [b"50", b"0", b"good"] and r.err.count(b"No space left on device") >= 3,
   "a quota of files", [r.out, r.err])

# Over the life of a kept sandbox.
sh("q", "dd if=/dev/zero of=one bs=1M count=3 status=none", "--quota", "5M")
r = sh("q", "df --output=avail -k . | tail -1; dd if=/dev/zero of=two bs=1M count=3 status=none", "--quota", "5M")
ok(int(r.out) < 2048 and b"No space" in r.err and used("q") <= 5 * MIB, "what is kept counts at the next run", [r.out, r.err, used("q")])
r = sh("q", "echo x >three; rm one; echo more", "--quota", "1M")
ok(r.out == b"more\n" and os.path.getsize(f"{layers}/q/upper{repo}/three") == 0 and used("q") < 3 * MIB, "under a smaller one: less is possible, more is not", [r.out, r.err])
shutil.rmtree(os.path.dirname(layers), ignore_errors=True)

# Many at once; their sum is what counts.
r = sh("m", "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=f$i bs=64K count=100 status=none 2>/dev/null & done; wait; echo done", "--quota", "16M", timeout=120)
ok(r.out == b"done\n" and 15 * MIB < used("m") <= 16 * MIB, "eight writers together", [r.out, r.err, used("m")])

# A guest that cheats.
began = time.monotonic()
r = run("run", "--name", "h", "--quota", "8M", "--", SWAPFD, "f", "5", timeout=120)
ok(used("h") < 64 * MIB, "descriptors swapped under a write", [used("h"), r.status, time.monotonic() - began, r.err])

# A pipeline that moves much and keeps little does not mind.
r = run("run", "--quota", "4M", "--", "sh", "-c", "dd if=/dev/zero bs=64K count=2000 status=none | cat | wc -c", timeout=120)
ok(r.out == b"131072000\n", "pipes", [r.out, r.err])
for value in ("12X", "-1", "", "1M 2M"):
    check(f"--quota {value!r}", run("run", "--quota", value, "--", "true"), 125, b"", b"quota")
raise SystemExit(tap.done())
