# SPDX-License-Identifier: Apache-2.0
"""Pipes of our own for a command's streams: what it writes comes here without passing the broker."""
from __future__ import annotations

import fcntl
import io
import os
import select
import threading
from typing import Iterable, Optional

from ._broker import STDERR, STDIN, STDOUT

SMALL, LARGE = 1 << 15, 1 << 18  # bytes read at once: most commands write less than the first
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, fcntl(2): named in Python 3.10
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class _Drain:
    """Reads on, to nowhere, what a background process of an ended command writes: it shall neither wait nor fail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fds: list[int] = []
        self._wake = -1

    def take(self, fd: int) -> None:
        """From now on fd is read here, and closed at its end."""
        with self._lock:
            self._fds.append(fd)
            if self._wake < 0:
                woken, self._wake = os.pipe()
                threading.Thread(target=self._run, args=(woken,), name="bvisor-drain", daemon=True).start()
            else:
                os.write(self._wake, b"x")

    def _run(self, woken: int) -> None:
        while True:
            poll = select.poll()
            poll.register(woken, select.POLLIN)
            with self._lock:
                if not self._fds:
                    os.close(woken)
                    os.close(self._wake)
                    self._wake = -1
                    return
                for fd in self._fds:
                    poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll():
                if not os.read(fd, 1 << 16) and fd != woken:
                    with self._lock:
                        self._fds.remove(fd)
                    os.close(fd)


_drain = _Drain()


def _after_fork() -> None:
    global _drain  # pylint: disable=global-statement
    _drain = _Drain()  # the parent's thread reads there


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, SET_PIPE_SIZE, 1 << 20)
    except OSError:
        pass  # the user's pipes take as much as they may already


class Pipes:
    """One command's pipes: for its input, perhaps, and some of its outputs.  theirs: the ends that go to the sandbox."""

    def __init__(self, has_input: bool, outputs: "Iterable[int]" = (STDOUT, STDERR)) -> None:
        self.theirs: dict[int, int] = {}
        self._data = memoryview(b"")
        self._input = -1
        self._output: dict[int, int] = {}
        # What is written to a BytesIO lies in one object, which getvalue() gives away without a copy.
        self._taken = {STDOUT: io.BytesIO(), STDERR: io.BytesIO()}
        self._buffer: Optional[memoryview] = None
        try:
            if has_input:
                self.theirs[STDIN], self._input = os.pipe()
                os.set_blocking(self._input, False)
            for which in outputs:
                self._output[which], self.theirs[which] = os.pipe()
                if which == STDOUT:
                    _enlarge(self.theirs[which])
        except BaseException:
            self.close()
            raise

    def sent(self) -> None:
        """The sandbox has its ends."""
        for fd in self.theirs.values():
            os.close(fd)
        self.theirs = {}

    def close(self) -> None:
        """Without waiting for anything."""
        self.sent()
        for fd in (self._input, *self._output.values()):
            if fd >= 0:
                os.close(fd)
        self._input, self._output = -1, {}

    def _write(self) -> None:
        try:
            self._data = self._data[os.write(self._input, self._data[:1 << 16]):] if self._data else self._data
        except BlockingIOError:
            return
        except OSError:
            self._data = self._data[:0]  # nobody reads it any more
        if not self._data:
            os.close(self._input)
            self._input = -1

    def _read(self, which: int) -> int:
        """How much came."""
        fd = self._output[which]
        if self._buffer is None:
            data = os.read(fd, SMALL)
            n = self._taken[which].write(data)
            if n == SMALL:
                self._buffer = memoryview(bytearray(LARGE))
        else:
            n = os.readv(fd, [self._buffer])
            self._taken[which].write(self._buffer[:n])
        if not n:
            os.close(self._output.pop(which))
        return n

    def collect(self, data: bytes, ended: int) -> "tuple[bytes, bytes]":
        """All that the command writes, while it gets data as its input.  ended: becomes readable when it is over; who it left behind may
        hold its streams open then, which is not waited for."""
        over, self._data = False, memoryview(data)
        while not over and (self._output or self._input >= 0):
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            names = {fd: which for which, fd in self._output.items()}
            for fd in names:
                poll.register(fd, select.POLLIN)
            if self._input >= 0:
                poll.register(self._input, select.POLLOUT)
            changed = False
            while not changed:
                for fd, events in poll.poll():
                    if fd == ended:
                        over = changed = True
                    elif fd == self._input:
                        self._write()
                        changed = changed or self._input < 0
                    elif events & READABLE:
                        changed = not self._read(names[fd]) or changed
        if over:
            self._rest()
        return self._taken[STDOUT].getvalue(), self._taken[STDERR].getvalue()

    def _rest(self) -> None:
        """What is there already; others may write more, for ever."""
        for which in list(self._output):
            poll = select.poll()
            poll.register(self._output[which], select.POLLIN)
            left = 1 << 21  # a pipe holds less
            while left > 0 and poll.poll(0):
                n = self._read(which)
                if not n:
                    break
                left -= n
            else:
                _drain.take(self._output.pop(which))
