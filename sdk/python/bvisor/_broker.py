# SPDX-License-Identifier: Apache-2.0
"""The connection to `bvisor serve`: one broker for an application, started when first needed.

A thread reads what the broker says and hands it to who waits for it.  Nothing here installs a signal
handler, and after os.fork() the child has a broker of its own, if it needs one.
"""
from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Callable, Optional, Sequence

from .errors import ProtocolError, SandboxError, UnsupportedHost, of_broker

PROTOCOL = 1
JSON, DATA, CREDIT, END = 1, 2, 3, 4
HEAD = struct.Struct("<III")
STDIN, STDOUT, STDERR = 0, 1, 2

Message = dict[str, Any]

#: What is asked for in this context is noted there, to be cancelled perhaps.
noted: "ContextVar[Optional[list[tuple[Broker, int]]]]" = ContextVar("noted", default=None)


def find_bvisor() -> str:
    """The bvisor program: $BVISOR_BIN, the one in this package, or the one in PATH."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native", "bin", "bvisor")
    chosen = os.environ.get("BVISOR_BIN")
    for path in (chosen, here, shutil.which("bvisor")):
        if path and os.access(path, os.X_OK):
            return path
        if path and path is chosen:
            raise UnsupportedHost(f"BVISOR_BIN: '{path}' is no program")
    raise UnsupportedHost("there is no bvisor: neither in this package nor in PATH, and BVISOR_BIN is not set")


class Sink:
    """Who wants to hear of a process; called on the reading thread, must not block."""

    def data(self, which: int, data: bytes) -> None:
        """Bytes of stdout or stderr.  Each has to be granted again with Broker.credit()."""

    def end(self, which: int) -> None:
        """Nothing more comes of it."""

    def credit(self, n: int) -> None:
        """So many more bytes of standard input are welcome."""

    def unread(self) -> None:
        """It has ended; the rest of its output waits to be granted."""

    def exited(self, event: Message) -> None:
        """It has ended; all that it wrote has been told before."""

    def lost(self, why: Exception) -> None:
        """The broker is gone."""


class Broker:
    """One `bvisor serve` and the thread that listens to it.  Thread-safe."""

    def __init__(self, program: Optional[str] = None) -> None:
        self._program = program or find_bvisor()
        self.pid = os.getpid()
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._pending: dict[int, Future[Message]] = {}
        self._sinks: dict[int, Sink] = {}
        self._ends: dict[int, Callable[[str], None]] = {}
        self._audits: dict[int, Callable[[Message], None]] = {}
        self._next = 0
        self._gone: Optional[Exception] = None
        ours, theirs = socket.socketpair()
        try:
            self._child = subprocess.Popen(  # pylint: disable=consider-using-with
                [self._program, "serve", "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, start_new_session=True)
        except OSError as e:
            ours.close()
            raise UnsupportedHost(f"cannot start {self._program}: {e.strerror}") from e
        finally:
            theirs.close()
        self._socket = ours
        self._in = ours.makefile("rb", buffering=1 << 20)
        try:
            self._greet()
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._read, name="bvisor", daemon=True)
        self._thread.start()

    def _greet(self) -> None:
        try:
            self._send(JSON, 0, json.dumps({"bvisor": PROTOCOL, "client": "python"}).encode())
            frame = self._frame()
        except (SandboxError, OSError):
            frame = None
        if frame is None:
            raise UnsupportedHost(f"{self._program} serve ended at once, with status {self._child.wait()}")
        hello = json.loads(frame[2])
        if "error" in hello:
            raise of_broker(hello["error"])
        self.version = str(hello["version"])
        self.window_in = int(hello["window_in"])
        self.window_out = int(hello["window_out"])

    # ---- frames ----

    def _send(self, kind: int, stream: int, payload: bytes, fds: "Sequence[int]" = ()) -> None:
        data = HEAD.pack(len(payload), stream, kind) + payload
        with self._write_lock:
            try:
                self._socket.sendall(data[socket.send_fds(self._socket, [data], fds):] if fds else data)
            except OSError as e:
                raise self._gone or SandboxError("the broker is gone") from e

    def _frame(self) -> Optional[tuple[int, int, bytes]]:
        head = self._in.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        size, stream, kind = HEAD.unpack(head)
        payload = self._in.read(size) if size else b""
        return None if len(payload) < size else (kind, stream, payload)

    def _read(self) -> None:
        why: Exception = SandboxError("the broker has ended")
        try:
            while True:
                frame = self._frame()
                if frame is None:
                    break
                self._take(*frame)
        except (OSError, ValueError, KeyError) as e:
            why = ProtocolError(f"the broker's words make no sense: {e}")
        with self._lock:
            self._gone = why
            pending, self._pending = self._pending, {}
            sinks, self._sinks = self._sinks, {}
            ends, self._ends = self._ends, {}
        for future in pending.values():
            future.set_exception(why)
        for sink in sinks.values():
            sink.lost(why)
        for end in ends.values():
            end(str(why))

    def _take(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == JSON:
            self._message(json.loads(payload))
            return
        process, which = stream >> 2, stream & 3
        value: Any = payload
        if kind == CREDIT:
            value = struct.unpack("<I", payload)[0]
        with self._lock:
            sink = self._sinks.get(process)
        if sink is None:
            return  # it was detached while this was on its way
        if kind == DATA:
            sink.data(which, value)
        elif kind == END:
            sink.end(which)
        else:
            sink.credit(value)

    def _message(self, message: Message) -> None:
        if "id" in message and message["id"] is not None:
            with self._lock:
                future = self._pending.pop(message["id"], None)
            if future is None:
                return
            if "error" in message:
                future.set_exception(of_broker(message["error"]))
            else:
                future.set_result(message["result"])
        elif message.get("event") in ("exit", "unread"):
            with self._lock:
                sink = self._sinks.get(int(message["process"]))
            if sink and message["event"] == "exit":
                sink.exited(message)
            elif sink:
                sink.unread()
        elif message.get("event") == "sandbox_end":
            with self._lock:
                end = self._ends.pop(int(message["sandbox"]), None)
            if end:
                end(str(message.get("message") or "the sandbox has ended"))
        elif message.get("event") == "audit":
            sandbox = int(message["sandbox"])
            with self._lock:
                heard = self._audits.get(sandbox)
            if heard:
                heard(message["record"])
        elif "error" in message:
            raise ValueError(message["error"].get("message"))

    # ---- for the others ----

    def request(self, method: str, params: Message, fds: "Sequence[int]" = (),
                then: Optional[Callable[[Message], None]] = None) -> "Future[Message]":
        """Asks; the answer comes as the future's result, or as a BvisorError.  fds: descriptors that go along.  then: what to
        do with the answer before anything else the broker says is heard."""
        future: Future[Message] = Future()
        if then:
            first = then

            def answered(done: "Future[Message]") -> None:
                if done.exception() is None:
                    first(done.result())
            future.add_done_callback(answered)
        with self._lock:
            if self._gone:
                raise self._gone
            self._next += 1
            number = self._next
            self._pending[number] = future
        notes = noted.get()
        if notes is not None:
            notes.append((self, number))
        try:
            self._send(JSON, 0, json.dumps({"id": number, "method": method, "params": params}).encode(), fds)
        except BaseException:
            with self._lock:
                self._pending.pop(number, None)
            raise
        return future

    def cancel(self, number: int) -> None:
        """Gives up a request, which is answered with an error then, if it is not answered yet."""
        with self._lock:
            if self._gone or number not in self._pending:
                return
            self._next += 1
            message = {"id": self._next, "method": "cancel", "params": {"request": number}}
        self._send(JSON, 0, json.dumps(message).encode())  # its own answer is nobody's concern

    def call(self, method: str, then: Optional[Callable[[Message], None]] = None, **params: Any) -> Message:
        """As request(); waits for the answer."""
        return self.request(method, params, (), then).result()

    def attach(self, process: int, sink: Sink) -> None:
        """From now on sink hears of the process.  Before anything of it comes: in request()'s then."""
        with self._lock:
            self._sinks[process] = sink

    def detach(self, process: int, over: bool = False) -> None:
        """Nobody wants to hear of it any more; what it still writes is thrown away.  over: nothing more comes of it."""
        with self._lock:
            known = self._sinks.pop(process, None) is not None
        if not known or over or self._gone:
            return
        try:
            for which in (STDOUT, STDERR):
                self._send(END, process << 2 | which, b"")
        except SandboxError:
            pass  # the broker is gone

    def on_end(self, sandbox: int, call: Optional[Callable[[str], None]]) -> None:
        """Calls once when the sandbox ends by itself; None: never."""
        with self._lock:
            if call:
                self._ends[sandbox] = call
            else:
                self._ends.pop(sandbox, None)

    def on_audit(self, sandbox: int, call: Optional[Callable[[Message], None]]) -> None:
        """Calls for each record of the sandbox's audit, on the reading thread; None: no more."""
        with self._lock:
            if call:
                self._audits[sandbox] = call
            else:
                self._audits.pop(sandbox, None)

    def write(self, process: int, data: bytes) -> None:
        """Standard input; no more than was granted."""
        self._send(DATA, process << 2 | STDIN, data)

    def end_input(self, process: int) -> None:
        """Standard input ends."""
        self._send(END, process << 2 | STDIN, b"")

    def credit(self, process: int, which: int, n: int) -> None:
        """So many more bytes of an output may come."""
        self._send(CREDIT, process << 2 | which, struct.pack("<I", n))

    @property
    def alive(self) -> bool:
        """Whether it still answers, in this very process."""
        return self._gone is None and self.pid == os.getpid()

    def close(self) -> None:
        """Ends it, and all its sandboxes; waits until they are gone."""
        if self.pid != os.getpid():
            os.close(self._socket.detach())  # the parent's: it goes on there
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        thread = getattr(self, "_thread", None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
        self._in.close()
        self._socket.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


_shared: Optional[Broker] = None
_shared_lock = threading.Lock()


def shared() -> Broker:
    """The application's own broker."""
    global _shared  # pylint: disable=global-statement
    with _shared_lock:
        if _shared is None or not _shared.alive:
            if _shared is not None:
                _shared.close()
            _shared = Broker()
        return _shared


def _close_shared() -> None:
    if _shared is not None and _shared.pid == os.getpid():
        _shared.close()


def _after_fork() -> None:
    global _shared, _shared_lock  # pylint: disable=global-statement
    _shared_lock = threading.Lock()
    if _shared is not None:
        _shared.close()
    _shared = None


atexit.register(_close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

