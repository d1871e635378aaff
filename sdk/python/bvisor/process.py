# SPDX-License-Identifier: Apache-2.0
"""Processes in a sandbox: their streams, their end."""
from __future__ import annotations

import io
import os
import threading
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Optional, Union

from ._broker import STDERR, STDIN, STDOUT, Broker, Message, Sink
from ._pipes import Pipes
from .errors import CommandError, LimitExceeded, SandboxError, TimeoutError  # pylint: disable=redefined-builtin

if TYPE_CHECKING:
    from .sandbox import Sandbox

Input = Union[str, bytes, None]


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    stdout, stderr: what it wrote, as text (invalid UTF-8 is kept with surrogateescape); the bytes are in
    stdout_bytes and stderr_bytes.  exit_code: its status, or 128 and the signal's number.  duration, user_time,
    system_time: seconds.  max_rss: bytes.  limit: the limit that ended it ("timeout", "cpu_seconds",
    "file_size"), or None.
    """

    args: "Union[str, list[str]]"
    exit_code: int
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)
    duration: float
    signal: Optional[int] = None
    limit: Optional[str] = None
    user_time: float = 0.0
    system_time: float = 0.0
    max_rss: int = 0

    @property
    def stdout(self) -> str:
        """Standard output as text."""
        return self.stdout_bytes.decode("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        """Standard error as text."""
        return self.stderr_bytes.decode("utf-8", "surrogateescape")

    @property
    def ok(self) -> bool:
        """Whether the status was 0."""
        return self.exit_code == 0

    def check(self) -> "CommandResult":
        """Itself, if the status was 0; else raises CommandError or one of its kinds."""
        if self.exit_code == 0 and self.limit is None:
            return self
        command = self.args if isinstance(self.args, str) else " ".join(self.args)
        if len(command) > 200:
            command = command[:200] + "..."
        if self.limit == "timeout":
            raise TimeoutError(f"'{command}' was killed after {self.duration:.1f} s", self.exit_code, self.stdout, self.stderr)
        if self.limit:
            raise LimitExceeded(f"'{command}' reached its limit: {self.limit}", self.limit, self.exit_code, self.stdout, self.stderr)
        tail = self.stderr.strip().splitlines()[-1:]
        how = f"was killed by signal {self.signal}" if self.signal else f"ended with status {self.exit_code}"
        raise CommandError(f"'{command}' {how}" + (f": {tail[0]}" if tail else ""), self.exit_code, self.stdout, self.stderr)


class Reader(io.RawIOBase):
    """One output of a process, to be read as any file opened in binary mode."""

    def __init__(self, grant: Callable[[int], None]) -> None:
        super().__init__()
        self._grant = grant
        self._chunks: list[bytes] = []
        self._owed = 0  # bytes of these that are not granted again yet
        self._ended = False
        self._free = False  # nothing is held back
        self._lost: Optional[Exception] = None
        self._change = threading.Condition()

    # Called by the reading thread:

    def feed(self, data: bytes) -> None:
        """More of it."""
        with self._change:
            if self._ended:
                return
            self._chunks.append(data)
            self._change.notify_all()
            granted = self._free
            if not granted:
                self._owed += len(data)
        if granted:
            self._grant(len(data))

    def release(self, free: bool) -> None:
        """free: the process has ended, and what is left of its output need not wait to be read.  Not free: all of that has come, and
        what others write from now on waits again."""
        with self._change:
            owed, self._owed = self._owed if free else 0, 0 if free else self._owed
            self._free = free
        if owed:
            self._grant(owed)

    def finish(self, why: Optional[Exception] = None) -> None:
        """Nothing more of it."""
        with self._change:
            self._ended = True
            self._lost = why
            self._change.notify_all()

    # Called by users:

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self.read_some(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def read_some(self, size: int, timeout: Optional[float] = None) -> bytes:
        """What is there, at most size bytes; waits for the first.  b"": the end.  builtin TimeoutError."""
        with self._change:
            if not self._change.wait_for(lambda: self._chunks or self._ended, timeout):
                raise OSError("timed out")
            if not self._chunks:
                if self._lost:
                    raise self._lost
                return b""
            data = self._chunks[0]
            if len(data) > size:
                self._chunks[0], data = data[size:], data[:size]
            else:
                del self._chunks[0]
            granted = self._pay(len(data))
        if granted:
            self._grant(granted)
        return data

    def _pay(self, n: int) -> int:
        """How much is to be granted for n bytes that were read."""
        paid = min(n, self._owed)
        self._owed -= paid
        return 0 if self._ended else paid

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self._ended


class Writer(io.RawIOBase):
    """The standard input of a process."""

    def __init__(self, process: "Process", window: int) -> None:
        super().__init__()
        self._process = process
        self._window = window
        self._change = threading.Condition()
        self._over = False

    def grant(self, n: int) -> None:
        """So much more is welcome."""
        with self._change:
            self._window += n
            self._change.notify_all()

    def finish(self) -> None:
        """The process has ended."""
        with self._change:
            self._over = True
            self._change.notify_all()

    def writable(self) -> bool:
        return True

    def write(self, data: "Union[bytes, bytearray, memoryview]") -> int:  # type: ignore[override]
        """Blocks while the process does not read.  BrokenPipeError when it has ended."""
        view = memoryview(data).cast("B")
        at = 0
        while at < len(view):
            with self._change:
                self._change.wait_for(lambda: self._window or self._over or self.closed)
                if self._over:
                    raise BrokenPipeError("the process has ended")
                n = min(self._window, len(view) - at, 1 << 16)
                self._window -= n
            self._process.send_input(bytes(view[at:at + n]))
            at += n
        return at

    def close(self) -> None:
        if not self.closed:
            if not self._over:
                self._process.end_input()
            super().close()


class Process(Sink):
    """A process in a sandbox.  Thread-safe; a context manager that kills what still runs."""

    def __init__(self, sandbox: "Sandbox", broker: Broker, params: Message, args: "Union[str, list[str]]",
                 on_stdout: Optional[Callable[[bytes], None]] = None, on_stderr: Optional[Callable[[bytes], None]] = None,
                 fds: "Optional[Mapping[int, int]]" = None) -> None:
        self.args = args
        self._sandbox, self._broker = sandbox, broker
        self.pipes: Optional[Pipes] = None  # set by Sandbox.run()
        self._event: Optional[Message] = None
        self._lost: Optional[Exception] = None
        self._over = threading.Event()
        self._done: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._hooks = {STDOUT: on_stdout, STDERR: on_stderr}
        self._raw = {which: Reader(self._granter(which)) for which in (STDOUT, STDERR)}
        fds = fds or {}
        if fds:
            params["fds"] = [("stdin", "stdout", "stderr")[which] for which in fds]
        self._id = 0
        self._input = Writer(self, broker.window_in)
        #: binary streams; wrap them in io.TextIOWrapper for text
        self.stdin = io.BufferedWriter(self._input, 1 << 16)
        self.stdout = io.BufferedReader(self._raw[STDOUT], 1 << 16)
        self.stderr = io.BufferedReader(self._raw[STDERR], 1 << 16)
        for which in fds:
            if which != STDIN:
                self._raw[which].finish()
        if params.get("tty") or params.get("stderr"):
            self._raw[STDERR].finish()  # all is in stdout
        if STDIN in fds:
            self._input.finish()
        started = broker.request("process.start", params, list(fds.values()), self._begun).result()
        #: its number inside
        self.pid = int(started["pid"])

    def _begun(self, answer: Message) -> None:
        self._id = int(answer["process"])
        self._broker.attach(self._id, self)

    def _granter(self, which: int) -> Callable[[int], None]:
        def grant(n: int) -> None:
            try:
                self._broker.credit(self._id, which, n)
            except Exception:  # pylint: disable=broad-except
                pass  # the broker is gone, which the reader is told otherwise
        return grant

    def _detach_if_over(self) -> None:
        if self._over.is_set() and all(raw.ended for raw in self._raw.values()):
            self._broker.detach(self._id, True)

    # ---- what the broker says ----

    def data(self, which: int, data: bytes) -> None:
        hook = self._hooks[which]
        if hook:
            try:
                hook(data)
            except Exception as e:  # pylint: disable=broad-except
                warnings.warn(f"on_{'stdout' if which == STDOUT else 'stderr'} raised {e!r}", RuntimeWarning)
        self._raw[which].feed(data)

    def end(self, which: int) -> None:
        self._raw[which].finish()
        self._detach_if_over()

    def credit(self, n: int) -> None:
        self._input.grant(n)

    def unread(self) -> None:
        for raw in self._raw.values():
            raw.release(True)

    def exited(self, event: Message) -> None:
        self._event = event
        for raw in self._raw.values():
            raw.release(False)
        self._finish()
        self._detach_if_over()

    def lost(self, why: Exception) -> None:
        self._lost = why
        for raw in self._raw.values():
            raw.finish(why)
        self._finish()

    def _finish(self) -> None:
        self._input.finish()
        with self._lock:
            self._over.set()
            done, self._done = self._done, []
        for call in done:
            call()

    # ---- for its users ----

    def send_input(self, data: bytes) -> None:
        """Used by stdin."""
        self._broker.write(self._id, data)

    def end_input(self) -> None:
        """Closes standard input; on a terminal it is Ctrl-D."""
        try:
            self._broker.end_input(self._id)
        except SandboxError:
            pass

    def when_done(self, call: Callable[[], None]) -> None:
        """Calls once it has ended, on another thread, or now."""
        with self._lock:
            if not self._over.is_set():
                self._done.append(call)
                return
        call()

    def poll(self) -> Optional[int]:
        """Its exit code, or None while it runs."""
        if not self._over.is_set():
            return None
        if self._event is None:
            raise self._lost or SandboxError("the sandbox has ended")
        return int(self._event["code"])

    def wait(self, timeout: Optional[float] = None) -> int:
        """Its exit code, when it has ended.  errors.TimeoutError if that takes longer than timeout seconds; it
        goes on then."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"still running after {timeout} s", -1)
        code = self.poll()
        assert code is not None
        return code

    def signal(self, number: int, group: bool = True) -> None:
        """Sends a signal to it and, as a terminal does, to its process group."""
        if not self._over.is_set():
            try:
                self._broker.call("process.signal", process=self._id, signal=int(number), group=group)
            except SandboxError as e:
                if e.errno != "ESRCH":
                    raise

    def terminate(self) -> None:
        """SIGTERM."""
        self.signal(15)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(9)

    def resize(self, rows: int, cols: int) -> None:
        """Its terminal has another size now."""
        self._broker.call("process.resize", process=self._id, rows=rows, cols=cols)

    def __iter__(self) -> Iterator[str]:
        """The lines of standard output, as they come."""
        for line in self.stdout:
            yield line.decode("utf-8", "surrogateescape")

    def communicate(self, data: Input = None, timeout: Optional[float] = None) -> CommandResult:
        """Writes data to standard input, closes it, and waits for the end: what it wrote and how it ended."""
        if self.pipes:
            pipes, self.pipes = self.pipes, None
            return self._collect_ours(pipes, data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data or b"", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        parts: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
        threads = [threading.Thread(target=self._collect, args=(which, parts[which]), daemon=True) for which in (STDOUT, STDERR)]
        if data is not None:
            threads.append(threading.Thread(target=self._write_all, args=(data,), daemon=True))
        for thread in threads:
            thread.start()
        if data is None:
            self.stdin.close()
        limit = []
        try:
            self.wait(timeout if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self.kill()
            self.wait()
            limit.append("timeout")
        # All that it wrote has come.  Who it left behind may hold the streams open: that is not waited for.
        self._broker.detach(self._id)
        for which, thread in zip((STDOUT, STDERR), threads):
            self._raw[which].finish()
            thread.join()
        return self.result(b"".join(parts[STDOUT]), b"".join(parts[STDERR]), *limit)

    def _collect_ours(self, pipes: Pipes, data: bytes, timeout: Optional[float]) -> CommandResult:
        ended, end = os.pipe()
        self.when_done(lambda: os.close(end))
        limit, timer = [], None
        if timeout is not None:
            def expire() -> None:
                limit.append("timeout")
                self.kill()
            timer = threading.Timer(timeout, expire)
            timer.start()
        try:
            out, err = pipes.collect(data, ended)
            self.wait()
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(ended)
            if timer:
                timer.cancel()
            self.close()
        return self.result(out, err, *limit)

    def _collect(self, which: int, into: "list[bytes]") -> None:
        try:
            while True:
                data = self._raw[which].read_some(1 << 20)
                if not data:
                    break
                into.append(data)
        except (OSError, SandboxError):
            pass

    def _write_all(self, data: Union[str, bytes]) -> None:
        try:
            self.stdin.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
            self.stdin.close()
        except (OSError, SandboxError, ValueError):
            pass  # it did not want all of it

    def result(self, out: bytes = b"", err: bytes = b"", limit: Optional[str] = None) -> CommandResult:
        """How it ended."""
        self.poll()
        event = self._event
        if event is None:
            raise self._lost or SandboxError("it still runs")
        if limit is None:
            limit = event["limit"]
        return CommandResult(self.args, int(event["code"]), out, err, float(event["duration"]), event["signal"], limit,
                             float(event["user_time"]), float(event["system_time"]), int(event["max_rss"]))

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *args: object) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()
        self.close()

    def close(self) -> None:
        """Forgets its streams; it goes on if it still runs, and what it writes is thrown away."""
        if self.pipes:
            self.pipes.close()
        self._broker.detach(self._id)
        for raw in self._raw.values():
            raw.finish()
        self._input.finish()

    def __repr__(self) -> str:
        state = "running" if not self._over.is_set() else "ended"
        return f"<Process {self.pid} {state}: {self.args!r}>"
