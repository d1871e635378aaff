# SPDX-License-Identifier: Apache-2.0
"""What the test runners share: a place to work in, running with a time limit, TAP."""
import atexit
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# Private inside a sandbox by default, so nothing of the host may be expected there.
PRIVATE = ("/tmp", "/var/tmp", "/dev/shm", "/run")
# How many times slower this machine is than those the limits were set for (an emulated one, say).
SLOW = float(os.environ.get("BVISOR_TEST_SLOW", "1"))


def is_private(path):
    path = os.path.realpath(path)
    return any(path == p or path.startswith(p + "/") for p in PRIVATE)


def remove(path):
    """rm -rf, also of directories whose modes forbid it."""
    if os.path.lexists(path):
        if os.path.isdir(path) and not os.path.islink(path):
            subprocess.run(["chmod", "-R", "u+rwX", path], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--", path], check=True)


def workdir(build=None):
    """A new directory of our own that a sandbox sees; removed at exit."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for base in (os.environ.get("BVISOR_TEST_DIR"), build, cache):
        if base and not is_private(base):
            os.makedirs(base, exist_ok=True)
            path = os.path.realpath(tempfile.mkdtemp(prefix="bvisor-test-", dir=base))
            os.chmod(path, 0o755)
            atexit.register(remove, path)
            return path
    sys.exit("no place to test in: set BVISOR_TEST_DIR to a directory outside " + " ".join(PRIVATE))


class Result:
    def __init__(self, status, out, err, timed_out):
        self.status, self.out, self.err, self.timed_out = status, out, err, timed_out


def run(argv, timeout=60, **kw):
    """Runs argv in a session of its own; status is 128+n on signals; kills all of it on timeout."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **kw)
    late = False
    try:
        out, err = p.communicate(timeout=timeout * SLOW)
    except subprocess.TimeoutExpired:
        late = True
        # bvisor forwards SIGTERM and takes its guests along; SIGKILL is for what ignores it.
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(p.pid, sig)
            except ProcessLookupError:
                pass
            try:
                out, err = p.communicate(timeout=5 * SLOW)
                break
            except subprocess.TimeoutExpired:
                out, err = b"", b""
    status = 128 - p.returncode if (p.returncode or 0) < 0 else (p.returncode or 0)
    return Result(status, out, err, late)


class Tap:
    def __init__(self):
        self.n = self.failed = 0
        print("TAP version 13", flush=True)

    def ok(self, good, what, notes=()):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {what}", flush=True)
        for line in notes:
            print("# " + line.replace("\n", "\\n"), flush=True)
        return good

    def skip(self, what, why):
        self.n += 1
        print(f"ok {self.n} - {what} # SKIP {why}", flush=True)

    def done(self):
        print(f"1..{self.n}", flush=True)
        return 1 if self.failed else 0


def text(b):
    return b.decode("utf-8", "backslashreplace")


def diff(a, b, a_name, b_name, limit=60, context=1):
    """A unified diff of two outputs as a list of lines, cut at `limit`."""
    lines = list(difflib.unified_diff(text(a).splitlines(), text(b).splitlines(), a_name, b_name, n=context, lineterm=""))
    if len(lines) > limit:
        lines[limit:] = [f"... {len(lines) - limit} more lines"]
    return lines


class Fixture:
    """The tree of fixture.c on the host: made fresh, and proven unchanged."""

    def __init__(self, tool, path):
        self.tool, self.path = tool, path

    def make(self):
        remove(self.path)
        subprocess.run([self.tool, "make", self.path], check=True)
        return self.sum()

    def sum(self):
        return subprocess.run([self.tool, "sum", self.path], check=True, stdout=subprocess.PIPE).stdout


def bvisor(args):
    """The command line's beginning: the binary under test."""
    path = args.bvisor or os.environ.get("BVISOR") or shutil.which("bvisor")
    if not path:
        sys.exit("no bvisor to test: give --bvisor or set BVISOR")
    return os.path.abspath(path)
