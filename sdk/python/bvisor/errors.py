# SPDX-License-Identifier: Apache-2.0
"""What can go wrong."""
from __future__ import annotations

from typing import Optional


class BvisorError(Exception):
    """The base of all that this package raises.

    errno: the name of the system's error ("ENOENT"), where there is one.  rule: the part of the policy that it is
    about ("net", "core.workers"), where it is about one.
    """

    def __init__(self, message: str, errno: Optional[str] = None, rule: Optional[str] = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.rule = rule


class SandboxError(BvisorError):
    """A sandbox could not be started, or has ended."""


class PolicyError(BvisorError):
    """What was asked for is not a policy, or the policy forbids it."""


class ProtocolError(BvisorError):
    """The broker and this package do not understand each other."""


class UnsupportedHost(BvisorError):
    """bvisor is not here, or cannot work here."""


class ConflictError(BvisorError):
    """A commit would overwrite what the host changed meanwhile, or leave the sandbox's directory.

    conflicts: one line each, as bvisor commit prints them.
    """

    def __init__(self, message: str, conflicts: "list[str]") -> None:
        super().__init__(message)
        self.conflicts = conflicts


class CommandError(BvisorError):
    """A command ended with another status than 0.

    exit_code: its status, or 128 and the number of the signal that killed it.
    stdout, stderr: what it wrote, as far as that was kept.
    """

    def __init__(self, message: str, exit_code: int, stdout: str = "", stderr: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


class TimeoutError(CommandError):  # pylint: disable=redefined-builtin
    """A command was killed because its time was over."""


class LimitExceeded(CommandError):
    """A command was ended by a limit.  limit: which."""

    def __init__(self, message: str, limit: str, exit_code: int, stdout: str = "", stderr: str = "") -> None:
        super().__init__(message, exit_code, stdout, stderr)
        self.limit = limit


def of_broker(error: "dict[str, object]") -> BvisorError:
    """The exception for an error that the broker answered with."""
    code, message = str(error.get("code")), str(error.get("message"))
    errno = error.get("errno")
    kind = {"invalid": PolicyError, "protocol": ProtocolError, "version": ProtocolError, "no_method": ProtocolError}.get(code, SandboxError)
    rule = error.get("rule")
    return kind(message, str(errno) if errno else None, str(rule) if rule else None)
