#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Misuse, help, exit codes, environment, and that the documents name every option."""
import json
import os
import re
import subprocess

import clitest
from clitest import harness

tap, bvisor, work = clitest.start()


def run(*args, **kw):
    kw.setdefault("cwd", work)
    return harness.run([bvisor, *args], preexec_fn=clitest.reset_signals, **kw)


def misuse(what, args, pattern, status=2):
    r = run(*args)
    err = harness.text(r.err)
    one_line = err.count("\n") == 1 and err.endswith("\n")
    tap.ok(r.status == status and one_line and re.search(pattern, err) and not r.out, what,
           [f"status {r.status}, wanted {status}; stderr: {err!r}; stdout: {r.out!r}"])


def exits(what, args, status, out=None, err=None, **kw):
    r = run(*args, **kw)
    good = r.status == status and (out is None or r.out == out) and (err is None or re.search(err, harness.text(r.err)))
    tap.ok(good, what, [f"status {r.status}, wanted {status}; stdout {r.out!r}; stderr {r.err!r}"])


misuse("no command", [], r"no command given \(see bvisor --help\)")
misuse("unknown command", ["jump"], r"there is no command 'jump'")
misuse("option before the command", ["--jump"], r"unknown option '--jump'")
for cmd in ("run", "shell", "diff", "check", "modules", "routes"):
    misuse(f"{cmd}: unknown long option", [cmd, "--foo"], rf"^bvisor {cmd}: unknown option '--foo' \(see bvisor {cmd} --help\)$")
    misuse(f"{cmd}: unknown short option", [cmd, "-Z"], rf"^bvisor {cmd}: unknown option '-Z'")
    misuse(f"{cmd}: missing argument", [cmd, "--config"], r"option '--config' needs an argument")
    misuse(f"{cmd}: bad -o", [cmd, "-o", "core"], r"'core' is not SECTION.KEY=VALUE")
misuse("run: no command", ["run", "-v"], r"no command given")
misuse("run: unwanted argument", ["run", "--tty=x", "true"], r"option '--tty' takes no argument")
misuse("run: bad --net", ["run", "--net", "lan", "true"], r"'lan' is neither none nor host")
misuse("run: bad --allow", ["run", "--allow", "*.example.com", "true"], r"--allow: '\*\.example\.com' has a wildcard")
misuse("run: --allow of a bad port", ["run", "--allow", "host:0", "true"], r"'host:0' has no port")
exits("run: --allow beside --net host", ["run", "--net", "host", "--allow", "192.0.2.1", "true"], 125, err=r"is for mode none")
exits("run: a host that nobody knows", ["run", "--allow", "no-such-host.invalid", "echo", "ran"], 0, out=b"ran\n", err=r"'no-such-host\.invalid' cannot be reached")
misuse("allow: no name", ["allow"], r"no name of a sandbox given")
misuse("allow: nothing", ["allow", "box"], r"nothing to allow given")
misuse("allow: a bad place", ["allow", "box", "1.2.3.4/33"], r"has no prefix length of 0 to 32")
exits("allow: no such sandbox", ["allow", "no-such-sandbox", "192.0.2.1"], 125, err=r"no-such-sandbox")
misuse("run: bad --diff", ["run", "--diff=xml", "true"], r"'xml' is none of text, json, stat, patch")
misuse("run: bad -e", ["run", "-e", "=x", "true"], r"neither NAME=VALUE nor NAME")
misuse("run: --rw of nothing", ["run", "--rw", "/no/such", "true"], r"--rw: '/no/such': No such file")
misuse("run: bad --bind", ["run", "--bind", "/etc", "true"], r"is not SRC:DST")
misuse("run: bad mode of --bind", ["run", "--bind", "/etc:/x:rx", "true"], r"only :ro or :rw")
misuse("run: --json is diff's", ["run", "--json", "true"], r"unknown option '--json'")
misuse("check takes no arguments", ["check", "x"], r"takes no arguments")
misuse("routes of nothing", ["routes", "openit"], r"there is no system call 'openit'")
misuse("modules of nothing", ["modules", "nomodule"], r"no module 'nomodule' is loaded")
misuse("help of nothing", ["help", "jump"], r"there is no command 'jump'")

for cmd in ("run", "shell", "diff", "check", "modules", "routes"):
    exits(f"{cmd} --help", [cmd, "--help"], 0, err=r"^$")
    exits(f"help {cmd}", ["help", cmd], 0, out=run(cmd, "-h").out)
exits("--version", ["--version"], 0, out=run("version").out)
r = subprocess.run([bvisor, "help", "run"], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE)
tap.ok(r.returncode == 125 and b"cannot write" in r.stderr, "help to a full disk fails", [repr(r)])

# Exit codes.
exits("exit 0", ["run", "true"], 0, out=b"", err=r"^$")
exits("exit 1", ["run", "--", "false"], 1)
exits("exit 255", ["run", "sh", "-c", "exit 255"], 255)
exits("options after the command are its own", ["run", "echo", "-v", "--", "--tty"], 0, out=b"-v -- --tty\n")
exits("127: no such command", ["run", "no-such-command"], 127, out=b"", err=r"^bvisor run: 'no-such-command': No such file")
exits("127: no such path", ["run", "/no/such/command"], 127)
exits("126: not executable", ["run", "/etc/passwd"], 126, err=r"'/etc/passwd': Permission denied")
exits("126: a directory", ["run", "/etc"], 126)
script = os.path.join(work, "script")
with open(script, "w") as f:
    f.write("echo script $1 $2\n")
os.chmod(script, 0o755)
exits("a script without #! runs, as with execvp", ["run", script, "a", "b"], 0, out=b"script a b\n")
with open(script, "w") as f:
    f.write("#!/no/such/interpreter\n")
exits("127: no such interpreter", ["run", script], 127)
exits("137: killed", ["run", "sh", "-c", "kill -9 $$"], 137)
exits("139: segmentation fault", ["run", "sh", "-c", "kill -SEGV $$"], 139)
exits("125: no configuration", ["run", "-c", "/no/such.ini", "true"], 125, err=r"^bvisor run: /no/such.ini: No such file")
exits("125: unknown option of a module", ["run", "-o", "net.colour=red", "true"], 125, err=r"-o.*colour")
exits("125: bad value", ["run", "-o", "core.workers=0", "true"], 125, err=r"workers")
exits("125: -C to nowhere", ["run", "-C", "/no/such", "true"], 125, err=r"-C: '/no/such': No such file")
exits("-C", ["run", "-C", "/usr/bin", "pwd"], 0, out=b"/usr/bin\n")
exits("relative -C", ["run", "-C", "bin", "pwd"], 0, out=b"/usr/bin\n", cwd="/usr")
exits("-C to a private directory", ["run", "-C", "/tmp", "sh", "-c", "pwd; ls -A"], 0, out=b"/tmp\n")
exits("the current directory", ["run", "pwd"], 0, out=work.encode() + b"\n", cwd=work)
hidden = os.path.join(work, "hidden")
os.mkdir(hidden)
exits("a hidden current directory is / with a warning", ["run", "--hide", hidden, "pwd"], 0, out=b"/\n",
      err="does not exist inside; starting in /", cwd=hidden)
exits("-q says nothing of it", ["run", "-q", "--hide", hidden, "pwd"], 0, out=b"/\n", err=r"^$", cwd=hidden)
exits("stdin is the guest's", ["run", "cat"], 0, out=b"", err=r"^$")
r = subprocess.run([bvisor, "run", "cat"], input=b"abc\0def" * 9999, stdout=subprocess.PIPE)
tap.ok(r.stdout == b"abc\0def" * 9999, "bytes pass through cat")
r = subprocess.run(["sh", "-c", '"$0" run sh -c "echo to stdout" >&-; "$0" run true <&- >&- 2>&-', bvisor],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
tap.ok(r.returncode == 0, "closed standard descriptors", [repr(r)])

# Environment.
clean = {"PATH": "/usr/bin:/bin", "HOME": "/root", "USER": "u", "LANG": "C", "TERM": "dumb", "SECRET": "s", "LD_X": "1",
         **{k: v for k, v in os.environ.items() if k.startswith("BVISOR_")}}


def env(*options, **host):
    r = run("run", *options, "/usr/bin/env", "-0", env={**clean, **host})
    if r.status:
        tap.ok(False, "env", [repr((r.status, r.err))])
    return dict(v.split("=", 1) for v in harness.text(r.out).split("\0") if v)


tap.ok(env() == {k: clean[k] for k in ("PATH", "HOME", "USER", "LANG", "TERM")}, "clean environment", [str(env())])
tap.ok(env("-e", "A=b=c", "-e", "A2=")["A"] == "b=c", "-e K=V")
tap.ok(env("-e", "SECRET")["SECRET"] == "s" and "NONE" not in env("-e", "NONE"), "-e K")
tap.ok(env("-e", "HOME=/x")["HOME"] == "/x", "-e replaces")
tap.ok(env("--env-all") == clean, "--env-all")
tap.ok(env("-e", "SECRET=t", "--env-all")["SECRET"] == "t", "-e wins over --env-all in any order")
tap.ok(env("--hide", hidden, TMPDIR=hidden)["TMPDIR"] == "/tmp" and env(TMPDIR=work)["TMPDIR"] == work, "TMPDIR that cannot be seen")

# What only looks.
r = run("check", "--json")
report = json.loads(r.out)
tap.ok(r.status == 0 and report["grade"] in ("ok", "degraded"), "check --json", [harness.text(r.out)])
exits("check", ["check"], 0)
exits("check of a broken configuration", ["check", "-o", "core.modules=nosuch"], 1, err=r"^$")
modules = json.loads(run("modules", "--json").out)
names = [m["name"] for m in modules["modules"]]
tap.ok(names == ["blocklist", "vfs-cow", "procns", "net", "sysinfo"], "modules --json", [str(names)])
set_by = json.loads(run("modules", "--json", "-o", "net.mode=host").out)["modules"][3]["options"][0]
tap.ok(set_by["values"] == [{"value": "host", "where": "-o"}], "modules says who set an option", [str(set_by)])

routes = json.loads(run("routes", "--json").out)
tap.ok(len(routes) > 300 and all(r["owner"] or r["disposition"] == "unrouted" for r in routes), "routes lists every call")
tap.ok([r["name"] for r in routes if r["disposition"] == "unrouted"] == [], "no call is nobody's",
       [str([r["name"] for r in routes if r["disposition"] == "unrouted"])])
numbers = {r["name"] for r in routes}
headers = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], stdout=subprocess.PIPE,
                         check=True).stdout.decode()
missing = {n for n in re.findall(r"#define __NR_(\w+) ", headers)} - numbers
missing = {n for n in missing if not n.startswith("SYSCALL")} - {"arch_specific_syscall", "syscalls"}  # a mark and a count, no calls
tap.ok(not missing, "routes knows every call of the kernel's headers", [" ".join(sorted(missing))])
r = run("routes", "openat")
tap.ok(r.status == 0 and b"virtual" in r.out and b"serve:vfs-cow" in r.out, "routes openat", [harness.text(r.out)])
r = run("routes", "mount")
tap.ok(b"blocked with EPERM" in r.out and b"blocklist" in r.out, "routes mount", [harness.text(r.out)])

# The documents.


def document(name):
    with open(os.path.join(clitest.SOURCE, name)) as f:
        return f.read()


manual, ini = document("man/bvisor.ini.5.scd"), document("bvisor.ini")
keys = [("core", o["key"]) for o in modules["core"]]
keys += [(m["name"], o["key"]) for m in modules["modules"] for o in m["options"]]
for section, key in keys:
    part = lambda text, head: re.split(r"^(?:# )?\[", text.split(head, 1)[1], maxsplit=1, flags=re.M)[0]
    tap.ok(f"*{key}*" in part(manual, f"# [{section}]"), f"bvisor.ini(5) has [{section}] {key}")
    tap.ok(re.search(rf"^#?{key} =", part(ini, f"[{section}]"), re.M), f"bvisor.ini has [{section}] {key}")
manual, bash, zsh = document("man/bvisor.1.scd"), document("completions/bvisor.bash"), document("completions/_bvisor")
options = set(re.findall(r"(--[a-z][a-z-]*)", harness.text(run("help", "run").out)))
for option in sorted(options):
    tap.ok(option in manual and option in bash and (option in zsh), f"{option} is in bvisor(1) and the completions")
raise SystemExit(tap.done())
