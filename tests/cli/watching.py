#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a guest that watches (inotify(7)) is told of what the host does, and that watching leaves nothing behind."""
import glob
import os
import shutil
import signal
import subprocess
import time

import clitest
from kept import bvisor, check, env, layers, ok, run, tap, work

WATCHER = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(0)
NAMES = {2: "MODIFY", 4: "ATTRIB", 8: "CLOSE_WRITE", 64: "FROM", 128: "TO", 256: "CREATE", 512: "DELETE", 1024: "DELETE_SELF", 2048: "MOVE_SELF", 32768: "IGNORED"}
for path in sys.argv[1:]:
    if libc.inotify_add_watch(fd, path.encode(), 2 | 4 | 8 | 64 | 128 | 256 | 512 | 1024 | 2048) < 0:
        raise OSError(ctypes.get_errno(), path)
print("ready", flush=True)
while True:
    buf = os.read(fd, 65536)
    at = 0
    while at < len(buf):
        wd, mask, cookie, n = struct.unpack_from("iIII", buf, at)
        name = buf[at + 16:at + 16 + n].rstrip(b"\0").decode()
        at += 16 + n
        print(wd, NAMES.get(mask & ~0x40000000, hex(mask)), name, flush=True)
"""


class Watcher:
    def __init__(self, *paths, options=(), prefix=""):
        self.process = clitest.popen([bvisor, "run", "--rw", rw, *options, "--", "sh", "-c", prefix + 'exec python3 -c "$@"', "sh", WATCHER, *paths],
                                     cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise SystemExit(f"the watcher says {line!r}: {self.process.stderr.read()}")

    def told(self):
        """All up to the mark, which a name in a watched directory is that nobody uses."""
        Watcher.marks = getattr(Watcher, "marks", 0) + 1
        mark = f"mark{Watcher.marks}"
        open(f"{place}/dir/{mark}", "w", encoding="utf-8").close()
        lines = []
        while not lines or not lines[-1].endswith(f"CLOSE_WRITE {mark}"):
            line = self.process.stdout.readline().rstrip("\n")
            if not line:
                return lines + ["(ended)"]
            lines.append(line)
        os.unlink(f"{place}/dir/{mark}")
        while not self.process.stdout.readline().rstrip("\n").endswith(f"DELETE {mark}"):
            pass
        lines = [x for x in lines if mark not in x]
        # The kernel makes one of two that are the same if nobody was faster.
        return [x for i, x in enumerate(lines) if not i or x != lines[i - 1]]

    def end(self):
        self.process.terminate()
        return self.process.wait()


def put(path, text):
    with open(os.path.join(place, path), "w", encoding="utf-8") as f:
        f.write(text)


def fresh():
    shutil.rmtree(place, ignore_errors=True)
    for d in ("dir/sub", "dir/secret", "out"):
        os.makedirs(os.path.join(place, d))
    for f in ("dir/a", "dir/b", "dir/c", "dir/gone", "dir/hidden", "dir/secret/s", "out/o", "file"):
        put(f, f)


place, rw = os.path.join(work, "place"), os.path.join(work, "rw")
os.makedirs(rw, exist_ok=True)
fresh()

# What the host does in a watched directory is told, as to anybody.
w = Watcher("dir", "file")
put("dir/new", "x")
ok(w.told() == ["1 CREATE new", "1 MODIFY new", "1 CLOSE_WRITE new"], "a file that the host makes")
os.rename(f"{place}/dir/new", f"{place}/dir/newer")
ok(w.told() == ["1 FROM new", "1 TO newer"], "renames")
os.rename(f"{place}/dir/newer", f"{place}/out/newer")
os.rename(f"{place}/out/o", f"{place}/dir/o")
ok(w.told() == ["1 FROM newer", "1 TO o"], "moves away and here")
os.unlink(f"{place}/dir/o")
os.mkdir(f"{place}/dir/d")
os.rmdir(f"{place}/dir/d")
ok(w.told() == ["1 DELETE o", "1 CREATE d", "1 DELETE d"], "removes")
with open(f"{place}/file", "a", encoding="utf-8") as f:
    f.write("more")
os.chmod(f"{place}/file", 0o600)
ok(w.told() == ["2 MODIFY ", "2 CLOSE_WRITE ", "2 ATTRIB "], "and what it does to a watched file")
put("replacement", "editors write so")
os.rename(f"{place}/replacement", f"{place}/file")
ok(w.told() == ["2 ATTRIB ", "2 DELETE_SELF ", "2 IGNORED "], "also when it is replaced")
w.end()

# Not what guests do not see: what the sandbox has changed or deleted itself, and what policy hides.
fresh()
w = Watcher("dir", prefix="echo mine >dir/a; rm dir/gone; mkdir dir/own; ", options=("--hide", f"{place}/dir/hidden", "--hide", f"{place}/dir/secret"))
put("dir/a", "theirs")
os.chmod(f"{place}/dir/a", 0o600)
os.unlink(f"{place}/dir/a")
put("dir/gone", "theirs")
os.unlink(f"{place}/dir/gone")
put("dir/gone", "again")
os.mkdir(f"{place}/dir/own")
put("dir/hidden", "secret")
os.rename(f"{place}/dir/hidden", f"{place}/dir/.wh.hidden")
os.rename(f"{place}/dir/.wh.hidden", f"{place}/dir/hidden")
put("dir/secret/s", "secret")
os.rename(f"{place}/dir/secret", f"{place}/dir/elsewhere")
os.rename(f"{place}/dir/elsewhere", f"{place}/dir/secret")
told = [line for line in w.told() if "elsewhere" not in line and ".wh.hidden" not in line]
ok(told == [], "what guests do not see is not told", told)
put("dir/b", "theirs still")
ok(w.told() == ["1 MODIFY b", "1 CLOSE_WRITE b"], "other files are")
w.end()

for kind in ("ro", "rw"):
    fresh()
    w = Watcher("dir", options=(f"--{kind}", f"{place}/dir", "--hide", f"{place}/dir/hidden"))
    put("dir/hidden", "secret")
    os.unlink(f"{place}/dir/hidden")
    put("dir/new", "x")
    os.rename(f"{place}/dir/new", f"{place}/dir/hidden")
    told = w.told()
    ok(told == ["1 CREATE new", "1 MODIFY new", "1 CLOSE_WRITE new", "1 FROM new"], f"nor in a directory that is {kind}", told)
    w.end()
fresh()
w = Watcher("dir", prefix="(while [ ! -e dir/go ]; do sleep 0.05; done; echo x >dir/made; mv dir/made dir/named; mkdir dir/d; rmdir dir/d; rm dir/named; echo done >" + rw + "/told) & ",
            options=("--rw", f"{place}/dir", "--hide", f"{place}/dir/hidden"))
put("dir/go", "")
clitest.until(lambda: os.path.exists(f"{rw}/told"))
told = [line for line in w.told() if not line.endswith(" go")]
ok(told == ["1 CREATE made", "1 MODIFY made", "1 CLOSE_WRITE made", "1 FROM made", "1 TO named", "1 CREATE d", "1 DELETE d", "1 DELETE named"],
   "and what guests do there is told once", told)
w.end()

# From when a guest writes to a file, it is the copy that is told of.
fresh()
w = Watcher("file", "dir", prefix="(while [ ! -e go ]; do sleep 0.05; done; echo mine >>file; chmod 600 dir/b; echo done >" + rw + "/done) & ")
put("go", "")
clitest.until(lambda: os.path.exists(f"{rw}/done"))
ok(w.told() == ["1 MODIFY ", "1 CLOSE_WRITE ", "2 ATTRIB b"], "a copy is no event, writing to it is")
put("file", "theirs")
put("dir/b", "theirs")
ok(w.told() == [], "the host's file is another one from then on")
w.end()

# tail -f and its like.
fresh()
p = clitest.popen([bvisor, "run", "--", "tail", "-n0", "-F", "file"], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
clitest.until(lambda: any("inotify" in os.readlink(x) for pid in clitest.children(clitest.supervisor(p.pid)) for x in glob.glob(f"/proc/{pid}/fd/*") if os.path.islink(x)))
time.sleep(0.2)
with open(f"{place}/file", "a", encoding="utf-8") as f:
    f.write("appended\n")
ok(p.stdout.readline() == b"appended\n", "tail -F follows a file of the host")
put("replacement", "replaced\n")
os.rename(f"{place}/replacement", f"{place}/file")
ok(p.stdout.readline() == b"replaced\n", "and the one that replaces it")
p.terminate()
p.wait()

# Watchers that are gone leave nothing with the supervisor.
fresh()
script = "i=0; while [ $i -lt 100 ]; do timeout -s KILL 0.02 tail -n0 -f dir/a dir/b >/dev/null; i=$((i+1)); done; echo over; read end"
p = clitest.popen([bvisor, "run", "--", "sh", "-c", script], cwd=place, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
p.stdout.readline()
sup = clitest.supervisor(p.pid)


def instances():
    return sum("inotify" in os.readlink(x) for x in glob.glob(f"/proc/{sup}/fd/*") if os.path.islink(x))


# To look for them takes time, so not each is missed at once.
ok(instances() <= 65, "killed watchers are forgotten", [instances()])
p.communicate(b"\n")

# A supervisor that is killed leaves stand-ins behind; the next one of the same layer takes them away.
fresh()
p = clitest.popen([bvisor, "run", "--name", "s", "--", "python3", "-c", WATCHER, "dir", "file"], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
p.stdout.readline()
ok(len(os.listdir(f"{layers}/s/watch")) >= 2, "the stand-ins are in the layer's directory")
os.kill(clitest.supervisor(p.pid), signal.SIGKILL)
p.wait()
check("the next run", run("run", "--name", "s", "--", "python3", "-c", WATCHER.split("while True")[0], "dir", "file", cwd=place), 0, b"ready\n")
ok(not os.path.exists(f"{layers}/s/watch"), "and afterwards nothing is left")
# (An interpreter may keep what it compiled.)
r = run("diff", "s", cwd=place)
ok(r.status == 0 and place.encode() not in r.out, "what was only watched is no change", [r.out, r.err])
run("rm", "s", cwd=place)
raise SystemExit(tap.done())
