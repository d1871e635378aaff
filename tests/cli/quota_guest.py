# SPDX-License-Identifier: Apache-2.0
"""Runs inside a sandbox with a quota of 8 MiB: every way by which files grow.  Prints one line a case."""
import errno
import fcntl
import mmap
import os
import sys

KIB, MIB = 1024, 1024 * 1024
F_SETPIPE_SZ, FICLONE = 1031, 0x40049409
DIR = "/tmp"


def free():
    s = os.statvfs(DIR)
    return s.f_bavail * s.f_frsize


def err(f, *args):
    """What f returns, or the name of its error."""
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def fill(write, size):
    """Writes size bytes in pieces: how many came through, and what ended it."""
    done = 0
    while done < size:
        r = err(write, size - done)
        if isinstance(r, str) or r == 0:
            return done, r
        done += r
    return done, None


def writer(fd):
    return lambda n: os.write(fd, b"x" * min(n, 256 * KIB))


def new(name):
    return os.open(f"{DIR}/{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)


def say(name, *values):
    print(name, *values, flush=True)


def empty(fd):
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)


def full():
    fd, other = new("w"), new("other")
    done, why = fill(writer(fd), 30 * MIB)
    say("write", 7 * MIB < done <= 8 * MIB, why, err(os.write, fd, b"y"), free())
    say("in place", err(os.pwrite, fd, b"z" * MIB, 0))
    say("others", err(os.write, other, b"abc"), err(os.mkdir, DIR + "/d"), err(os.symlink, "x", DIR + "/s"))
    os.unlink(DIR + "/w")
    say("unlinked and held", free(), err(os.write, other, b"abc"))
    os.close(fd)
    say("let go", err(os.write, other, b"abc"), free() // MIB)
    os.unlink(DIR + "/other")
    os.close(other)


def mapped():
    fd, other = new("m"), new("other")
    os.ftruncate(fd, 6 * MIB)
    with mmap.mmap(fd, 6 * MIB) as m:
        os.close(fd)
        os.unlink(DIR + "/m")
        m[:] = b"m" * (6 * MIB)
        say("mapped and unlinked", err(os.ftruncate, other, 4 * MIB))
    say("unmapped", err(os.ftruncate, other, 4 * MIB))
    os.rename(DIR + "/other", DIR + "/name")
    fd = new("over")
    os.rename(DIR + "/name", DIR + "/over")
    os.close(other)
    fill(writer(fd), 30 * MIB)
    say("replaced and held", free() // MIB)
    os.close(fd)
    say("and let go", free() // MIB)
    os.unlink(DIR + "/over")


def lengths():
    fd = new("l")
    say("sparse", err(os.ftruncate, fd, 9 * MIB), err(os.truncate, DIR + "/l", 9 * MIB), err(os.ftruncate, fd, 7 * MIB))
    say("far", err(os.pwrite, fd, b"x", 100 * MIB), err(os.pwritev, fd, [b"x", b"y"], 100 * MIB), os.fstat(fd).st_size // MIB)
    empty(fd)
    say("fallocate", err(os.posix_fallocate, fd, 0, 9 * MIB), err(os.posix_fallocate, fd, 0, 5 * MIB), os.fstat(fd).st_size // MIB)
    empty(fd)
    say("writev", fill(lambda n: os.writev(fd, [b"a" * KIB] * min(1024, n // KIB)), 9 * MIB)[1], err(os.pwritev, fd, [b"b" * KIB, b"c"], 1))
    empty(fd)
    at_end = os.open(DIR + "/l", os.O_WRONLY | os.O_APPEND)
    say("append", fill(writer(at_end), 9 * MIB)[1], err(os.pwrite, at_end, b"x", 0))
    os.close(at_end)
    os.close(fd)
    os.unlink(DIR + "/l")


def moves():
    src, fd = new("src"), new("dst")
    os.write(src, b"s" * (5 * MIB))
    fill(writer(src), 5 * MIB - os.fstat(src).st_size)
    os.lseek(src, 0, os.SEEK_SET)
    done, why = fill(lambda n: os.sendfile(fd, src, None, n), 5 * MIB)
    say("sendfile", 2 * MIB < done < 3 * MIB + 512 * KIB, why, os.fstat(fd).st_size == done)
    empty(fd)
    done, why = fill(lambda n: os.copy_file_range(src, fd, n, 5 * MIB - n, 5 * MIB - n), 5 * MIB)
    say("copy_file_range", 2 * MIB < done < 3 * MIB + 512 * KIB, why, os.pread(fd, 3, done - 3))
    empty(fd)
    if hasattr(os, "splice"):
        r, w = os.pipe()
        fcntl.fcntl(w, F_SETPIPE_SZ, MIB)
        os.write(w, b"p" * MIB)
        say("splice", err(os.splice, r, fd, MIB), os.pread(fd, 2, MIB - 2))
    else:
        say("splice", MIB, b"pp")
    empty(fd)
    say("clone", err(fcntl.ioctl, fd, FICLONE, src))
    proc = os.open("/proc/self/status", os.O_RDONLY)
    say("from /proc", err(os.sendfile, fd, proc, None, 100))
    for name in ("src", "dst"):
        os.unlink(f"{DIR}/{name}")
    os.close(src)
    os.close(fd)


def others(big):
    fd = os.open(DIR, os.O_TMPFILE | os.O_RDWR, 0o600)
    done, why = fill(writer(fd), 9 * MIB)
    say("O_TMPFILE", 7 * MIB < done <= 8 * MIB, why)
    os.close(fd)
    say("gone", free() // MIB)
    say("copy-up", err(os.open, big, os.O_RDWR), err(os.truncate, big, 1), os.path.getsize(big) // MIB)
    os.close(os.open(big, os.O_WRONLY | os.O_TRUNC))
    os.unlink(big)
    s, f = os.statvfs("/"), os.statvfs(0 if False else os.open("/tmp", os.O_RDONLY))
    say("statvfs", s.f_blocks * s.f_frsize // MIB, f.f_blocks * f.f_frsize // MIB)
    r, w = os.pipe()
    os.write(w, b"pipes go on")
    say("pipe", os.read(r, 100))


full()
mapped()
lengths()
moves()
others(sys.argv[1])
