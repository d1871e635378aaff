# SPDX-License-Identifier: Apache-2.0
"""Files of a sandbox as Python's file objects: Files.open().  The bytes pass by; a file may be larger than memory."""
from __future__ import annotations

import io
from typing import TYPE_CHECKING, Callable, Optional, Union

if TYPE_CHECKING:
    from .process import CommandResult, Process

Failed = Callable[["CommandResult"], Exception]


class _File(io.RawIOBase):
    def __init__(self, process: "Process", failed: Failed) -> None:
        super().__init__()
        self._process, self._failed = process, failed
        self._error: Optional[Exception] = None

    def _check(self) -> None:
        """At its end: whether it was one."""
        if self._error is None:
            result = self._process.communicate()
            self._error = self._failed(result) if result.exit_code else None
        if self._error is not None:
            raise self._error


class ReadFile(_File):
    """A file that is read from its beginning.  It is there, and may be read, once this is made."""

    def __init__(self, process: "Process", failed: Failed) -> None:
        super().__init__(process, failed)
        self._ended = False
        try:
            self._first = self._some(1 << 16)
        except BaseException:
            self.close()
            raise

    def _some(self, size: int) -> bytes:
        if self._ended:
            return b""
        data: bytes = self._process.stdout.raw.read_some(size)  # type: ignore[attr-defined]
        if not data:
            self._ended = True
            self._check()
        return data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data, self._first = self._first[:len(buffer)], self._first[len(buffer):]
        data = data or self._some(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._process.kill()
            self._process.wait()
            self._process.close()


class WriteFile(_File):
    """A file that is written.  What stands in the way is raised by write() or close()."""

    def writable(self) -> bool:
        return True

    def write(self, data: "Union[bytes, bytearray, memoryview]") -> int:  # type: ignore[override]
        try:
            n: Optional[int] = self._process.stdin.raw.write(data)
            return n or 0
        except BrokenPipeError:
            self._check()
            raise

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._process.stdin.close()
                if self._error is None:  # else it has been raised
                    self._check()
            finally:
                self._process.close()
