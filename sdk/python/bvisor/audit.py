# SPDX-License-Identifier: Apache-2.0
"""What was refused."""
from __future__ import annotations

import os
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

KEPT = 1000


@dataclass(frozen=True)
class Denial:
    """Something that policy refused to a command.

    kind: "denied", or "limit" of what met a limit (a quota).  call: the system call, errno what it failed with ("ENETUNREACH").
    what: the path, "ADDRESS:PORT" or "process N" that it was about, or None; bytes that are no text as os.fsdecode() has them.
    by: the module that refused.  pid, command: who asked.  time: in seconds since the Epoch.  lost: how many came before it
    too fast to be told.
    """

    kind: str
    by: str
    call: str
    errno: str
    what: Optional[str]
    pid: int
    command: str
    time: float
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.command}: {self.call}{' ' + self.what if self.what else ''}: {self.errno}"


def _text(record: Mapping[str, Any], key: str) -> Optional[str]:
    digits = record.get(key + "_hex")
    return record.get(key) if digits is None else os.fsdecode(bytes.fromhex(digits))


def denial(record: Mapping[str, Any]) -> Denial:
    """Of a record of the audit, bvisor(1)."""
    return Denial(str(record["event"]), str(record["by"]), str(record["call"]), str(record["errno"]), _text(record, "what"), int(record["pid"]),
                  _text(record, "command") or "", float(record["time"]), int(record.get("lost", 0)))


class Audit:
    """The latest denials of a sandbox, until somebody asks."""

    def __init__(self, hook: Optional[Callable[[Denial], None]]) -> None:
        self._hook = hook
        self._latest: deque[Denial] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def heard(self, record: Mapping[str, Any]) -> None:
        """On the thread that reads what the broker says."""
        it = denial(record)
        with self._lock:
            self._latest.append(it)
        if self._hook:
            try:
                self._hook(it)
            except Exception:  # pylint: disable=broad-except
                sys.excepthook(*sys.exc_info())  # its own fault: nobody else's answers wait for it

    def take(self) -> list[Denial]:
        """All since the last time."""
        with self._lock:
            found = list(self._latest)
            self._latest.clear()
        return found
