# SPDX-License-Identifier: Apache-2.0
"""A shell that stays between commands."""
from __future__ import annotations

import secrets
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any, Optional

from ._broker import STDERR, STDOUT
from .errors import SandboxError
from .process import CommandResult, Process, Reader

if TYPE_CHECKING:
    from .sandbox import Sandbox


class Shell:
    """A bash in which each command finds the directory, variables and functions that those before it left.

    Thread-safe: one command after the other.  A context manager.  Made by Sandbox.shell().
    """

    def __init__(self, sandbox: "Sandbox", **options: Any) -> None:
        self._process: Process = sandbox.start(["bash", "--noprofile", "--norc"], **options)
        self._lock = threading.Lock()
        self._left = {STDOUT: b"", STDERR: b""}  # what has come behind a mark
        self._taken: "dict[int, bytes]" = {}  # what came before it
        # How a command ended is told on descriptors that its own redirections do not reach.
        self._send("exec 3>&1 4>&2\n")

    def _send(self, text: str) -> None:
        self._process.stdin.write(text.encode("utf-8", "surrogateescape"))
        self._process.stdin.flush()

    def _until(self, which: int, mark: bytes) -> bool:
        """Takes in an output up to the mark; False: it ended before."""
        raw: Reader = (self._process.stdout if which == STDOUT else self._process.stderr).raw  # type: ignore[assignment]
        data, searched = bytearray(self._left[which]), 0
        while (at := data.find(mark, searched)) < 0:
            searched = max(0, len(data) - len(mark) + 1)
            try:
                more = raw.read_some(1 << 20)
            except (OSError, SandboxError):
                more = b""
            if not more:
                self._left[which] = bytes(data)
                return False
            data += more
        self._left[which] = bytes(data[at + len(mark):])
        self._taken[which] = bytes(data[:at])
        return True

    def run(self, command: str, *, check: bool = True, timeout: Optional[float] = None) -> CommandResult:
        """Runs a command line.  timeout: seconds until it is killed, and the shell with it.  With check, CommandError
        unless its status is 0.  SandboxError when the shell has ended, as by exit."""
        with self._lock:
            result = self._run(command, timeout)
        return result.check() if check else result

    def _run(self, command: str, timeout: Optional[float]) -> CommandResult:
        if self._process.poll() is not None:
            raise SandboxError("the shell has ended")
        mark, began, expired = secrets.token_bytes(16).hex(), time.monotonic(), threading.Event()
        self._taken = {}

        def expire() -> None:
            expired.set()
            self._process.kill()
        timer = threading.Timer(timeout, expire) if timeout is not None else None
        errors = threading.Thread(target=self._until, args=(STDERR, mark.encode()), daemon=True)
        errors.start()
        if timer:
            timer.start()
        try:
            self._send(f"eval {shlex.quote(command)} </dev/null 3>&- 4>&-\nprintf '{mark}%d;' $? >&3; printf {mark} >&4\n")
        except (OSError, SandboxError):
            pass  # it ends, which is seen below
        alive = self._until(STDOUT, mark.encode())
        code = 0
        while alive and b";" not in self._left[STDOUT]:
            more = self._process.stdout.raw.read_some(64)  # type: ignore[attr-defined]
            alive = bool(more)
            self._left[STDOUT] += more
        if alive:
            number, _, self._left[STDOUT] = self._left[STDOUT].partition(b";")
            code = int(number)
        else:
            code = self._process.wait()
        errors.join()
        if timer:
            timer.cancel()
        out, err = (self._taken.pop(which, None) for which in (STDOUT, STDERR))
        if out is None:
            out, self._left[STDOUT] = self._left[STDOUT], b""
        if err is None:
            err, self._left[STDERR] = self._left[STDERR], b""
        return CommandResult(command, code, out, err, time.monotonic() - began, limit="timeout" if expired.is_set() else None)

    @property
    def cwd(self) -> str:
        """The directory it is in."""
        return self.run("pwd").stdout[:-1]

    @property
    def pid(self) -> int:
        """Its number inside."""
        return self._process.pid

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends it, and what runs in its foreground."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process.close()

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
