#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A module author's way: install bvisor, build the template out of tree against what was installed,
load it, see its effect inside a guest.  Then the same after the installation was moved, and the
two example modules.  Prints TAP.

The installation is staged with DESTDIR, so already it is not where the build expects it.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
import harness  # noqa: E402

SOURCE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
UPTIME = """
import ctypes, sys
class Info(ctypes.Structure):
    _fields_ = [("uptime", ctypes.c_long), ("rest", ctypes.c_char * 512)]
info = Info()
call = ctypes.CDLL(None, use_errno=True).sysinfo
seen = []
for i in range(int(sys.argv[1])):
    r = call(ctypes.byref(info))
    seen.append(str(info.uptime) if r == 0 else "errno %d" % ctypes.get_errno())
print(*sorted(set(seen), key=seen.index))
"""


class Tap(harness.Tap):
    """Says more only of what failed."""

    def ok(self, good, what, notes=()):
        return super().ok(bool(good), what, () if good else notes)


class Sdk:
    def __init__(self, args, top):
        self.args, self.top = args, top
        self.home = os.path.join(top, "home")
        self.prefix = os.path.join(top, "installed")
        os.mkdir(self.home)
        # Nothing of the developer's own: neither configuration, nor modules, nor pkg-config files.
        keep = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "CC")
        self.env = {k: os.environ[k] for k in keep if k in os.environ}
        self.env.update(HOME=self.home, LC_ALL="C.UTF-8", TERM="dumb")

    def host(self, *argv, cwd=None, **env):
        """(status, output of both streams) of a command outside the sandbox."""
        p = subprocess.run(argv, cwd=cwd or self.top, env={**self.env, **env}, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, text=True)
        return p.returncode, p.stdout

    def install(self):
        """Installs the build as it is; only its own prefix remains of the staging directory."""
        stage = os.path.join(self.top, "stage")
        result = self.host(self.args.meson, "install", "-C", self.args.build, "--no-rebuild", "--destdir", stage)
        if result[0] == 0:
            os.rename(stage + self.args.prefix, self.prefix)
            shutil.rmtree(stage)
        return result

    def pkg_config_path(self):
        found = [d for d, _, files in os.walk(self.prefix) if "bvisor-module.pc" in files]
        return found[0] if len(found) == 1 else f"/bvisor-module.pc found {len(found)} times"

    def pkg_config(self, *args):
        status, out = self.host("pkg-config", *args, "bvisor-module", PKG_CONFIG_PATH=self.pkg_config_path())
        return out.strip() if status == 0 else f"status {status}: {out}"

    def ini(self, name, first, section=""):
        """A copy of the installed ini that loads `first` before the other modules."""
        with open(os.path.join(self.prefix, self.args.datadir, "bvisor", "bvisor.ini"), encoding="utf-8") as f:
            text, n = re.subn(r"^modules = ", f"modules = {first} ", f.read(), flags=re.M)
        if n != 1:
            raise SystemExit("Bail out! the installed ini has not one line of modules")
        path = os.path.join(self.top, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + section)
        return path

    def bvisor(self, *args):
        return self.host(os.path.join(self.prefix, "bin", "bvisor"), *args)

    def build_template(self, where):
        """Copies sdk/module to `where`, builds it and runs its unit test, knowing only the .pc file."""
        shutil.copytree(os.path.join(SOURCE, "sdk", "module"), where, ignore=shutil.ignore_patterns("build*"))
        pc = self.pkg_config_path()
        for argv in (["setup", "build"], ["test", "-C", "build"], ["install", "-C", "build"]):
            status, out = self.host(self.args.meson, *argv, cwd=where, PKG_CONFIG_PATH=pc)
            if status != 0:
                return status, out
        return 0, out


def same(tap, got, want, what):
    tap.ok(got == want, what, [f"got  {got!r}", f"want {want!r}"])


def good(tap, result, what):
    return tap.ok(result[0] == 0, what, [f"status {result[0]}", *result[1].splitlines()[-40:]])


def template(tap, sdk, round_):
    """The template against the installation where it is now."""
    include = sdk.pkg_config("--cflags-only-I").split()
    paths = [os.path.realpath(i[2:]) for i in include]
    same(tap, paths, [os.path.join(sdk.prefix, "include")], f"{round_}: the .pc file knows the headers")
    modules = os.path.realpath(sdk.pkg_config("--variable=moduledir"))
    tap.ok(os.path.exists(os.path.join(modules, "vfs-cow.so")), f"{round_}: and the module directory", [modules])
    if not good(tap, sdk.build_template(os.path.join(sdk.top, f"hello-{round_}")),
                f"{round_}: the template builds, passes its unit test and is installed"):
        return
    tap.ok(os.path.exists(os.path.join(modules, "hello.so")), f"{round_}: among bvisor's own modules")

    guest = ("--", sys.executable, "-c", UPTIME, "1")
    ini = sdk.ini("hello.ini", "hello")
    same(tap, sdk.bvisor("run", "-c", ini, *guest), (0, "42\n"), f"{round_}: a guest sees its effect")
    tap.ok(sdk.bvisor("run", *guest)[1] != "42\n", f"{round_}: and none where it is not loaded")
    # The interpreter asks for itself as well, so how many calls are left to us varies.
    ini = sdk.ini("hello2.ini", "hello", "\n[hello]\nuptime = 77\nlimit = 20\n")
    same(tap, sdk.bvisor("run", "-c", ini, "--", sys.executable, "-c", UPTIME, "40"), (0, "77 errno 1\n"),
         f"{round_}: its options count")
    status, out = sdk.bvisor("routes", "sysinfo", "-c", ini)
    tap.ok(status == 0 and 0 <= out.find("hello") < out.find("sysinfo", out.find("hello")),
           f"{round_}: bvisor routes lists it first", out.splitlines())
    status, out = sdk.bvisor("modules", "-c", ini)
    tap.ok(status == 0 and re.search(r"uptime.*77", out), f"{round_}: bvisor modules shows its options", out.splitlines())


def examples(tap, sdk):
    where = os.path.join(sdk.args.build, "examples")
    ini = sdk.ini("uname.ini", os.path.join(where, "fake-uname.so"),
                  "\n[fake-uname]\nrelease = 9.8.7-seen\nmachine = pdp11\n")
    same(tap, sdk.bvisor("run", "-c", ini, "--", "uname", "-rm"), (0, "9.8.7-seen pdp11\n"), "fake-uname")
    ini = sdk.ini("uname2.ini", os.path.join(where, "fake-uname.so"), "\n[fake-uname]\nrelease = " + "x" * 65 + "\n")
    status, out = sdk.bvisor("run", "-c", ini, "--", "true")
    tap.ok(status == 125 and "release: at most 64 bytes" in out, "fake-uname refuses a name that is too long", [out])

    log = os.path.join(sdk.top, "opens.log")
    ini = sdk.ini("opens.ini", os.path.join(where, "open-log.so"), f"\n[open-log]\nfile = {log}\n")
    plain, odd = os.path.join(sdk.top, "plain"), os.path.join(sdk.top, "two\nlines \\")
    script = 'cat "$1" "$2" 2>/dev/null; echo inside >"$1"; echo inside >"$2"; cat "$1" "$2"'
    same(tap, sdk.bvisor("run", "-c", ini, "--", "sh", "-c", script, "sh", plain, odd), (0, "inside\ninside\n"),
         "open-log changes nothing for the guest")
    with open(log, encoding="utf-8") as f:
        lines = f.read().splitlines()
    for path in (plain, odd):
        escaped = path.replace("\\", "\\x5c").replace("\n", "\\x0a")
        count = sum(bool(re.fullmatch(r"\d+ open(at)? " + re.escape(escaped), line)) for line in lines)
        same(tap, count, 3, f"open-log: every open of {os.path.basename(escaped)} is on the host's log")
    tap.ok(all(re.match(r"\d+ (open|openat|openat2|creat) ", line) for line in lines), "open-log: one line an open")
    tap.ok(not os.path.exists(plain) and not os.path.exists(odd), "and the files stayed inside")
    ini = sdk.ini("opens2.ini", os.path.join(where, "open-log.so"), "\n[open-log]\nfile = opens.log\n")
    status, out = sdk.bvisor("run", "-c", ini, "--", "true")
    tap.ok(status == 125 and f"{ini}:" in out and "no absolute path" in out,
           "open-log refuses a relative path, and says which line it means", [out])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--meson", required=True)
    p.add_argument("--prefix", required=True)
    p.add_argument("--datadir", required=True)
    p.add_argument("--relocatable", default="true")
    args = p.parse_args()
    if args.relocatable == "false":
        print("1..0 # SKIP configured with -Dpkgconfig.relocatable=false")
        return
    tap = Tap()
    os.umask(0o022)  # a module that others may write to is refused
    sdk = Sdk(args, harness.workdir(args.build))
    if good(tap, sdk.install(), "meson install"):
        template(tap, sdk, "here")
        moved = os.path.join(sdk.top, "moved")
        os.rename(sdk.prefix, moved)
        sdk.prefix = moved
        same(tap, sdk.bvisor("run", "-c", sdk.ini("moved.ini", "hello"), "--", sys.executable, "-c", UPTIME, "1"),
             (0, "42\n"), "moved: the module built before still works")
        os.remove(os.path.join(sdk.pkg_config("--variable=moduledir"), "hello.so"))
        template(tap, sdk, "moved")
        examples(tap, sdk)
    sys.exit(tap.done())


if __name__ == "__main__":
    main()
