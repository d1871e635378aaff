#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the machine is called inside: one name, that can be looked up, in files that can be changed."""
import os
import socket

from kept import check, fresh, ok, repo, run, sh, tap

HOST = socket.gethostname()
fresh()
LOOKUP = "import socket; print(socket.gethostname(), socket.gethostbyname(socket.gethostname()).startswith('127.'))"
if not os.path.isfile("/etc/hosts") or os.path.islink("/etc/hosts"):
    tap.skip("names", "no /etc/hosts here")
    raise SystemExit(tap.done())
for name in ("bvisor", "box.example.org"):
    r = run("run", "-o", f"sysinfo.hostname={name}", "--", "python3", "-c", LOOKUP)
    ok(r.out == f"{name} True\n".encode(), f"{name} is known", [r.out, r.err])
r = run("run", "-o", f"sysinfo.hostname={HOST}", "--", "cat", "/etc/hosts")
ok(r.out == open("/etc/hosts", "rb").read(), "with the host's own name its file is shown")
r = run("run", "--", "sh", "-c", "cat /etc/hosts; [ ! -f /etc/hostname ] || cat /etc/hostname; uname -n; [ ! -f /etc/machine-id ] || cat /etc/machine-id")
words = r.out.decode().split()
ok(HOST not in words and "bvisor" in words, "the host's name is nowhere", [r.out])
if os.path.isfile("/etc/machine-id"):
    ok(open("/etc/machine-id").read().strip() not in words, "nor is its id")
st = os.stat("/etc/hosts")
r = run("run", "--", "stat", "-c", "%u %g %a %h %F", "/etc/hosts")
ok(r.out.split()[2:4] == [f"{st.st_mode & 0o777:o}".encode(), b"1"] and r.out.endswith(b"regular file\n"), "as the host's file else", [r.out])
if os.geteuid() == 0:
    before = open("/etc/hosts", "rb").read()
    # Through the C library, and without getent(1), which a small system lacks.
    r = sh("s", "look() { python3 -c 'import socket, sys; print(socket.gethostbyname(sys.argv[1]))' $1; }; exec 9</etc/hosts; readlink /proc/self/fd/9; echo '127.0.0.9 nine' >>/etc/hosts; look nine; sed -i s/nine/ten/ /etc/hosts; look ten; "
                "ln /etc/hosts /etc/hosts2; mv /etc/hosts2 /etc/hosts; rm /etc/hosts; readlink /proc/self/fd/9; cat /etc/hosts; grep -c bvisor <&9; echo again >/etc/hosts")
    ok(r.out == b"/etc/hosts\n127.0.0.9\n127.0.0.9\n/etc/hosts (deleted)\n1\n", "it is changed, replaced, removed", [r.out, r.err])
    check("and stays so", sh("s", "cat /etc/hosts"), 0, b"again\n")
    r = run("diff", "s")
    ok(b"M /etc/hosts  6" in r.out, "which the review shows", [r.out, r.err])
    check("a commit asks", run("commit", "s", "/etc/hosts"), 3)
    sh("t", "cat /etc/hosts /etc/hostname >/dev/null")
    check("who only reads has changed nothing", run("diff", "t"), 0, b"")
    ok(open("/etc/hosts", "rb").read() == before, "the host's is untouched")
raise SystemExit(tap.done())
