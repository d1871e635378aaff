# SPDX-License-Identifier: Apache-2.0
"""Sandboxes for commands that nobody has read: local, at once, on the host's own tools.

>>> from bvisor import Sandbox
>>> with Sandbox() as sb:
...     print(sb.bash("echo hello").stdout, end="")
hello
"""
from .audit import Denial
from .aio import AsyncFile, AsyncProcess, AsyncSandbox, AsyncShell
from .errors import (BvisorError, CommandError, ConflictError, LimitExceeded, PolicyError, ProtocolError, SandboxError, TimeoutError,
                     UnsupportedHost)
from .files import FileEvent, FileInfo, Watch
from .process import CommandResult, Process
from .sandbox import Network, Sandbox, Stats
from .shell import Shell

__version__ = "0.1.0"
__all__ = ["AsyncFile", "AsyncProcess", "AsyncSandbox", "AsyncShell", "BvisorError", "CommandError", "CommandResult", "ConflictError", "Denial", "FileEvent", "FileInfo", "LimitExceeded", "Network",
           "PolicyError", "Process", "ProtocolError", "Sandbox", "SandboxError", "Shell", "Stats", "TimeoutError", "UnsupportedHost", "Watch"]
