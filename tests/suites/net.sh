#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The network: what reaches whom, with real servers on the host and real programs inside.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { skip net "python3 is not installed"; finish; }

# On the host: TCP and UDP on both loopbacks, a shared port, an abstract and a path socket.  Each
# thing that reaches one of them is a line of $work/hits.
cat >"$work/server.py" <<'E2'
import os, socket, sys, threading
work = sys.argv[1]
hits = open(work + "/hits", "a", buffering=1)
def tcp(family, addr, options=()):
    s = socket.socket(family, socket.SOCK_STREAM)
    for o in options:
        s.setsockopt(socket.SOL_SOCKET, o, 1)
    s.bind(addr)
    s.listen()
    return s
def accept(s, name):
    while True:
        c, _ = s.accept()
        hits.write(name + "\n")
        c.sendall(b"host")
        c.close()
t = tcp(socket.AF_INET, ("127.0.0.1", 0))
a = tcp(socket.AF_INET, ("0.0.0.0", 0))
r = tcp(socket.AF_INET, ("127.0.0.1", 0), [socket.SO_REUSEPORT])
x = tcp(socket.AF_UNIX, "\0bvisor-test-%d" % os.getpid())
p = tcp(socket.AF_UNIX, work + "/src/host.sock")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
u.bind(("127.0.0.1", 0))
for s, n in ((t, "tcp"), (a, "any"), (r, "shared"), (x, "abstract"), (p, "path")):
    threading.Thread(target=accept, args=(s, n), daemon=True).start()
with open(work + "/ports.new", "w") as f:
    f.write("TCP=%d ANY=%d SHARED=%d UDP=%d ABSTRACT=bvisor-test-%d\n" %
            (t.getsockname()[1], a.getsockname()[1], r.getsockname()[1], u.getsockname()[1], os.getpid()))
os.rename(work + "/ports.new", work + "/ports")
while True:
    u.recv(100)
    hits.write("udp\n")
E2
touch "$work/hits"
python3 "$work/server.py" "$work" &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
for _ in {1..100}; do [[ -s $work/ports ]] && break; sleep 0.05; done
[[ -s $work/ports ]] || { ok 1 "servers on the host"; finish; }
read -r ports <"$work/ports"
before_socket=$(stat -c '%i %Y' "$work/src/host.sock")

attempts='
import errno, os, socket, sys
def attempt(what, f):
    try:
        r = f()
    except OSError as e:
        r = errno.errorcode[e.errno]
    print(what, r)
def conn(family, kind, addr):
    s = socket.socket(family, kind)
    s.settimeout(5)
    s.connect(addr)
    return "connected"
I, I6, U, S, D = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM
E = {k: v for k, v in (w.split("=") for w in sys.argv[1].split())}
TCP, ANY, SHARED, UDP = (int(E[k]) for k in ("TCP", "ANY", "SHARED", "UDP"))
'
inside() { # NAME OPTIONS PYTHON WANT
	# shellcheck disable=SC2206 # the words of one argument
	options=($2)
	printf '%s\n%s\n' "$attempts" "$3" >"$work/src/try.py"
	check "$1" "python3 try.py '$ports'" "$4"
	options=()
}

if [[ ! ${NATIVE-} ]]; then
	inside "mode none reaches nothing of the host" "" '
attempt("tcp", lambda: conn(I, S, ("127.0.0.1", TCP)))
attempt("any", lambda: conn(I, S, ("127.9.9.9", ANY)))
attempt("zero", lambda: conn(I, S, ("0.0.0.0", TCP)))
attempt("mapped", lambda: conn(I6, S, ("::ffff:127.0.0.1", TCP)))
attempt("udp", lambda: conn(I, D, ("127.0.0.1", UDP)))
u = socket.socket(I, D)
attempt("sendto", lambda: u.sendto(b"x", ("127.0.0.1", UDP)))
attempt("sendmsg", lambda: u.sendmsg([b"x"], [], 0, ("127.0.0.1", UDP)))
attempt("outside", lambda: conn(I, S, ("192.0.2.1", 80)))
attempt("outside6", lambda: conn(I6, S, ("2001:db8::1", 80)))
attempt("outside udp", lambda: u.sendto(b"x", ("192.0.2.1", 53)))
attempt("broadcast", lambda: u.sendto(b"x", ("255.255.255.255", 53)))
attempt("abstract", lambda: conn(U, S, "\0" + E["ABSTRACT"]))
attempt("path", lambda: conn(U, S, "host.sock"))
attempt("unbind device", lambda: u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b""))
def share(address, kind, option):
    s = socket.socket(I, kind)
    s.setsockopt(socket.SOL_SOCKET, option, 1)
    s.bind(address)
    return "bound"
attempt("share", lambda: share(("127.0.0.1", SHARED), S, socket.SO_REUSEPORT))
attempt("share any", lambda: share(("0.0.0.0", SHARED), S, socket.SO_REUSEPORT))
attempt("share udp", lambda: share(("127.0.0.1", UDP), D, socket.SO_REUSEADDR))
attempt("bind outside", lambda: socket.socket(I, S).bind(("192.0.2.1", 0)))' "\
tcp ECONNREFUSED
any ECONNREFUSED
zero ECONNREFUSED
mapped ECONNREFUSED
udp ECONNREFUSED
sendto 1
sendmsg 1
outside ENETUNREACH
outside6 ENETUNREACH
outside udp ENETUNREACH
broadcast ENETUNREACH
abstract ECONNREFUSED
path ECONNREFUSED
unbind device EPERM
share EADDRINUSE
share any EADDRINUSE
share udp EADDRINUSE
bind outside EADDRNOTAVAIL"
	sleep 0.2
	[[ ! -s $work/hits ]]
	ok $? "the host's servers heard nothing" "$(cat "$work/hits")"

	for mode in none host; do
		: >"$work/hits"
		# The kernel reads the address of connect and sendmsg from memory that another thread changes.
		inside "an address that changes during the call, mode $mode" "--net $mode" '
import ctypes, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
name = b"\0" + E["ABSTRACT"].encode()
bad = struct.pack("=H", U) + name
good = struct.pack("=H", U) + b"/tmp/nothing"
n = max(len(bad), len(good))
buf = ctypes.create_string_buffer(good.ljust(n, b"\0"), n)
stop = False
def flip():
    while not stop:
        ctypes.memmove(buf, bad, len(bad))
        ctypes.memmove(buf, good, len(good))
t = threading.Thread(target=flip)
t.start()
got = 0
for _ in range(2000):
    s = socket.socket(U, S)
    if libc.connect(s.fileno(), buf, len(bad)) == 0:
        got += 1
    s.close()
stop = True
t.join()
print("connected", got)' "connected 0"
		[[ ! -s $work/hits ]]
		ok $? "the host's servers heard nothing, mode $mode" "$(cat "$work/hits")"
	done
	[[ $(stat -c '%i %Y' "$work/src/host.sock") == "$before_socket" ]]
	ok $? "the host's socket is untouched"

	inside "mode host reaches the host's loopback, not its AF_UNIX sockets" "--net host" '
attempt("tcp", lambda: conn(I, S, ("127.0.0.1", TCP)))
attempt("udp", lambda: conn(I, D, ("127.0.0.1", UDP)))
attempt("abstract", lambda: conn(U, S, "\0" + E["ABSTRACT"]))
attempt("path", lambda: conn(U, S, "host.sock"))
attempt("raw", lambda: socket.socket(I, socket.SOCK_RAW, 1) and 1)
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) and 1)
attempt("interfaces", lambda: "lo" in [n for _, n in socket.if_nameindex()])' "\
tcp connected
udp connected
abstract ECONNREFUSED
path ECONNREFUSED
raw EPERM
packet EPERM
interfaces True"

	# What --allow names, and only that.  An address beyond the loopback is the host's own, if it has one.
	inside "a host's loopback service that is allowed" "--allow 127.0.0.1:$(sed 's/TCP=\([0-9]*\) .*/\1/' <<<"$ports")" '
attempt("tcp", lambda: conn(I, S, ("127.0.0.1", TCP)))
attempt("zero", lambda: conn(I, S, ("0.0.0.0", TCP)))
attempt("mapped", lambda: conn(I6, S, ("::ffff:127.0.0.1", TCP)))
attempt("its neighbour", lambda: conn(I, S, ("127.0.0.2", ANY)))
attempt("another port", lambda: conn(I, S, ("127.0.0.1", SHARED)))
attempt("udp", lambda: conn(I, D, ("127.0.0.1", UDP)))
attempt("outside", lambda: conn(I, S, ("192.0.2.1", 80)))
l = socket.socket(); l.bind(("0.0.0.0", 0)); l.listen()
attempt("its own", lambda: conn(I, S, ("127.0.0.1", l.getsockname()[1])))
print("tied", l.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16))
u = socket.socket(I, D); u.bind(("0.0.0.0", 0))
print("tied", u.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16))
c = socket.socket()
for level, name, value in ((socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"), (socket.SOL_SOCKET, 62, 1), (0, 4, bytes([131, 7, 4, 127, 0, 0, 1, 0]))):
    attempt("option", lambda: c.setsockopt(level, name, value))
c = socket.socket(I6)
attempt("option", lambda: c.setsockopt(41, 57, bytes(24)))
attempt("option", lambda: c.setsockopt(41, 6, bytes(24)))' "\
tcp connected
zero connected
mapped connected
its neighbour ECONNREFUSED
another port ECONNREFUSED
udp ECONNREFUSED
outside ENETUNREACH
its own connected
tied b'lo\\x00'
tied b'lo\\x00'
option EPERM
option EPERM
option EPERM
option EPERM
option EPERM"
	own=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.1", 9)); print(s.getsockname()[0])' 2>/dev/null)
	if [[ $own && $own != 127.* ]]; then
		port=$(sed 's/.* ANY=\([0-9]*\) .*/\1/' <<<"$ports")
		beyond='
attempt("allowed", lambda: conn(I, S, ("'$own'", ANY)))
def later():
    s = socket.socket(); s.setblocking(False)
    import select
    r = s.connect_ex(("'$own'", ANY)); select.select([], [s], [], 5)
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.recv(4) if select.select([s], [], [], 5)[0] else 0
attempt("without waiting", later)
attempt("bound first", lambda: (lambda s: (s.bind(("0.0.0.0", 0)), s.connect(("'$own'", ANY)), "connected")[2])(socket.socket()))
attempt("another port", lambda: conn(I, S, ("'$own'", SHARED)))
u = socket.socket(I, D)
attempt("udp", lambda: u.sendto(b"x", ("'$own'", ANY)))
attempt("udp elsewhere", lambda: u.sendto(b"x", ("192.0.2.1", 53)))'
		told='allowed connected
without waiting (0, b'"'host'"')
bound first connected
another port ENETUNREACH
udp 1
udp elsewhere ENETUNREACH'
		inside "an address that is allowed" "--allow $own:$port" "$beyond" "$told"
		inside "a network that is allowed" "--allow $own/24:$port-$port" "$beyond" "$told"
		: >"$work/hits"
		inside "an address of which the port changes during the call" "--allow $own:1" '
import ctypes, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
a = lambda port: struct.pack("=H", I) + struct.pack("!H", port) + socket.inet_aton("'$own'") + bytes(8)
buf = ctypes.create_string_buffer(a(1), 16)
stop = False
def flip():
    while not stop:
        ctypes.memmove(buf, a(ANY), 16)
        ctypes.memmove(buf, a(1), 16)
t = threading.Thread(target=flip); t.start()
got = 0
for _ in range(2000):
    s = socket.socket(I, S)
    got += libc.connect(s.fileno(), buf, 16) == 0
    s.close()
stop = True
t.join()
print("connected", got)' "connected 0"
		[[ ! -s $work/hits ]]
		ok $? "the host's server heard nothing" "$(cat "$work/hits")"
	else
		skip "allowed addresses" "this machine has no address but the loopback's"
	fi
	# A name that the host knows is found inside at the same address.
	known=$(getent ahostsv4 localhost | awk 'NR == 1 { print $1 }')
	if [[ $known ]]; then
		inside "a host that is allowed by name" "--allow LocalHost.:$(sed 's/TCP=\([0-9]*\) .*/\1/' <<<"$ports")" '
attempt("by name", lambda: (socket.create_connection(("localhost", TCP), 5), "connected")[1])
attempt("another port", lambda: conn(I, S, ("127.0.0.1", SHARED)))' "\
by name connected
another port ECONNREFUSED"
	fi

	inside "the whole world, which is not this machine" "--allow 0.0.0.0/0 --allow ::/0" '
attempt("tcp", lambda: conn(I, S, ("127.0.0.1", TCP)))
attempt("any", lambda: conn(I, S, ("127.9.9.9", ANY)))
attempt("zero", lambda: conn(I, S, ("0.0.0.0", TCP)))
attempt("mapped", lambda: conn(I6, S, ("::ffff:127.0.0.1", TCP)))
attempt("six", lambda: conn(I6, S, ("::1", TCP)))
attempt("udp", lambda: conn(I, D, ("127.0.0.1", UDP)))' "\
tcp ECONNREFUSED
any ECONNREFUSED
zero ECONNREFUSED
mapped ECONNREFUSED
six ECONNREFUSED
udp ECONNREFUSED"

	# Two sandboxes at once: what one offers the other does not see, by any kind of name.
	fresh
	(box python3 -c '
import os, socket, sys, time
a = socket.socket(socket.AF_UNIX); a.bind("\0bvisor-test-two"); a.listen()
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen()
print(t.getsockname()[1], flush=True)
for _ in range(400):
    if os.path.exists(sys.argv[1]): break
    time.sleep(0.05)' "$work/stop" >"$work/other" 2>&1) &
	other=$!
	for _ in {1..100}; do [[ -s $work/other ]] && break; sleep 0.05; done
	inside "another sandbox's sockets" "" "
attempt('abstract', lambda: conn(U, S, '\0bvisor-test-two'))
attempt('tcp', lambda: conn(I, S, ('127.0.0.1', $(cat "$work/other"))))
s = socket.socket(U); s.bind('\0bvisor-test-two'); print('bound')" "\
abstract ECONNREFUSED
tcp ECONNREFUSED
bound"
	touch "$work/stop"
	wait $other
fi

same "http between two processes" 'python3 -u -m http.server 0 --bind 127.0.0.1 >log 2>&1 & pid=$!
	for i in $(seq 100); do port=$(grep -o "port [0-9]*" log 2>/dev/null | cut -d" " -f2); [ "$port" ] && break; sleep 0.05; done
	echo hello >page; python3 -c "import urllib.request, sys; print(urllib.request.urlopen(\"http://localhost:%s/page\" % sys.argv[1]).read())" $port
	kill $pid; rm -f log'
same "asyncio, socketpair, multiprocessing" 'python3 - <<"P"
import asyncio, multiprocessing, socket
async def main():
    async def serve(r, w):
        w.write((await r.readline()).upper()); await w.drain(); w.close()
    for start, conn in ((asyncio.start_server(serve, "127.0.0.1", 0), asyncio.open_connection),):
        s = await start
        r, w = await conn(*s.sockets[0].getsockname())
        w.write(b"asyncio\n"); print(await r.read()); w.close(); s.close()
    s = await asyncio.start_unix_server(serve, "./sock")
    r, w = await asyncio.open_unix_connection("sock")
    w.write(b"unix\n"); print(await r.read()); w.close(); s.close()
asyncio.run(main())
def child(c): c.send([c.recv(), "pong"])
if __name__ == "__main__":
    a, b = multiprocessing.Pipe(); p = multiprocessing.Process(target=child, args=(b,)); p.start(); a.send("ping"); print(a.recv()); p.join()
    with multiprocessing.Manager() as m: d = m.dict(); d["x"] = 1; print(dict(d))
    c, d = socket.socketpair(); socket.send_fds(c, [b"fd"], [1]); print(socket.recv_fds(d, 10, 5)[0])
P'
if command -v node >/dev/null; then
	same "node: http server and client" 'node -e "
const http = require(\"http\"), net = require(\"net\");
const s = http.createServer((q, r) => r.end(\"hello \" + q.url)).listen(0, () =>
  http.get({port: s.address().port, path: \"/x\", host: \"localhost\"}, r => { r.on(\"data\", d => console.log(\"\" + d)); r.on(\"end\", () => {
    s.close(); const u = net.createServer(c => c.pipe(c)).listen(\"/tmp/node.sock\", () => { const c = net.connect(\"/tmp/node.sock\", () => c.end(\"echo\"));
      c.on(\"data\", d => console.log(\"\" + d)); c.on(\"close\", () => u.close()); }); }); }));"'
else
	skip "node" "not installed"
fi
finish
