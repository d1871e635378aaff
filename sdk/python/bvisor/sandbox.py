# SPDX-License-Identifier: Apache-2.0
"""Sandboxes."""
from __future__ import annotations

import json
import os
import secrets
import threading
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Callable, Iterator, Mapping, Optional, Sequence, Union

from .audit import Audit, Denial
from ._broker import STDERR, STDIN, STDOUT, Broker, Message, shared
from ._pipes import Pipes
from .errors import BvisorError, ConflictError, PolicyError, SandboxError
from .files import Files
from .process import CommandResult, Input, Process
from .shell import Shell

Hook = Optional[Callable[[bytes], None]]
Limits = Optional[Mapping[str, Optional[int]]]
Stream = Union[str, int, "IO[Any]"]


@dataclass(frozen=True)
class Stats:
    """What a sandbox uses now.  memory: bytes of RAM.  cpu_time (also of what has ended), uptime: seconds."""

    processes: int
    memory: int
    cpu_time: float
    uptime: float


class Network:
    """What a sandbox may reach: Sandbox.network."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def allow(self, *where: str) -> None:
        """Lets it reach more, from now on: "HOST", "HOST:PORT", "ADDRESS/BITS", "ADDRESS:LOW-HIGH", "[IPV6]:PORT".

        Hosts are looked up now, outside, and found inside through /etc/hosts.
        """
        self._sandbox._allow(where)  # pylint: disable=protected-access


class Sandbox:
    """A place to run commands that nobody has read, on the host's own tools.

    The commands see the host's files, but what they write stays inside, where it can be reviewed (diff, commit,
    rollback, snapshot, fork).  Files and background processes last as long as the sandbox does; with a name, its
    files are kept, also for the bvisor command.

    name: of a kept sandbox.  rw, ro, hide: host directories and paths; bind: "SRC:DST[:ro|:rw]".  net: "none"
    (the default) or "host"; allow: what it reaches all the same ("registry.npmjs.org:443", "10.0.0.0/8").  quota: how much may be written ("2G").  env: variables of every command; env_all: the
    application's environment.  cwd: where commands start.  audit: keep what is refused, for denials(); on_denied: a
    function to call with each Denial besides, on a thread of the library's own: it must not block, nor use the
    sandbox.  config: a bvisor.ini.  options: its options, as {"section.key": "value"}.  Of a policy, a mapping with
    these keys, keywords win.
    """

    def __init__(self, name: Optional[str] = None, *, rw: Sequence[str] = (), ro: Sequence[str] = (), hide: Sequence[str] = (),
                 bind: Sequence[str] = (), net: Optional[str] = None, allow: Sequence[str] = (), quota: Optional[str] = None,
                 env: Optional[Mapping[str, str]] = None, env_all: bool = False, cwd: Optional[str] = None,
                 audit: bool = False, on_denied: Optional[Callable[[Denial], None]] = None,
                 config: Optional[str] = None, options: Optional[Mapping[str, str]] = None,
                 policy: Union[None, str, Mapping[str, Any]] = None, broker: Optional[Broker] = None) -> None:
        self._id: Optional[int] = None
        self._closed = True  # until all is well
        params: Message = {}
        if isinstance(policy, str):
            params["config"] = policy
        elif policy is not None:
            params.update(policy)
        given = {"name": name, "rw": list(rw), "ro": list(ro), "hide": list(hide), "bind": list(bind), "net": net, "allow": list(allow), "quota": quota,
                 "env": dict(env) if env else None, "env_all": env_all or None, "audit": audit or on_denied is not None, "cwd": os.path.abspath(cwd) if cwd else None, "config": config,
                 "options": dict(options) if options else None}
        params.update({key: value for key, value in given.items() if value})
        params.setdefault("cwd", os.getcwd())
        if not params.get("name"):
            params["temporary"] = True
        self._params = params
        self._temporary = bool(params.get("temporary"))
        self._kept: Optional[str] = params.get("name")  # what the broker calls it
        self.name: Optional[str] = None if self._temporary else self._kept
        self._broker = broker or shared()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._ended: Optional[str] = None
        self._running: set[Process] = set()
        self._on_denied = on_denied
        self._audit = Audit(on_denied) if params.get("audit") else None
        #: read and write its files
        self.files = Files(self)
        #: what it may reach
        self.network = Network(self)
        self._open()
        self._closed = False

    # ---- life ----

    def _open(self) -> int:
        with self._lock:
            if self._id is None:
                heard = self._audit.heard if self._audit else None

                def audited(answer: Message) -> None:
                    self._broker.on_audit(int(answer["sandbox"]), heard)
                answer = self._broker.call("sandbox.create", audited if heard else None, **dict(self._params, **({"name": self._kept} if self._kept else {})))
                self._id, self._kept = int(answer["sandbox"]), str(answer["name"])
                me = weakref.ref(self)

                def on_end(why: str) -> None:
                    sandbox = me()
                    if sandbox is not None:
                        sandbox._ended = why  # pylint: disable=protected-access
                self._broker.on_end(self._id, on_end)
            return self._id

    def _current(self) -> int:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        if self._pid != os.getpid():
            raise SandboxError("the sandbox is another process's: make one here")
        if self._ended is not None:
            raise SandboxError(f"the sandbox has ended: {self._ended}")
        return self._open()

    def _end(self) -> None:
        with self._lock:
            number, self._id = self._id, None
            if number is None:
                return
            self._broker.on_end(number, None)
            self._broker.on_audit(number, None)
            if self._ended is None and self._broker.alive:
                try:
                    self._broker.call("sandbox.destroy", sandbox=number)
                except BvisorError:
                    pass  # it has ended by itself

    def close(self) -> None:
        """Ends it, and all that runs in it.  A kept one keeps its files."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():
            return
        if not self._temporary:
            self._end()
            return
        with self._lock:
            number, self._id = self._id, None
            if number is not None:
                self._broker.on_end(number, None)
                self._broker.on_audit(number, None)
            if self._broker.alive:
                try:
                    self._broker.call("sandbox.remove", name=self._kept)
                except BvisorError:
                    pass  # the broker itself has ended

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._pid == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)
            try:
                self.close()
            except Exception:  # pylint: disable=broad-except
                pass

    def __repr__(self) -> str:
        return f"<Sandbox{' ' + self.name if self.name else ''}{' closed' if self._closed else ''}>"

    # ---- commands ----

    def start(self, command: Union[str, Sequence[str]], *, cwd: Optional[str] = None, env: Optional[Mapping[str, Optional[str]]] = None,
              tty: Union[bool, "tuple[int, int]"] = False, timeout: Optional[float] = None, limits: Limits = None,
              user: Optional["tuple[int, int]"] = None, stdin: Stream = "pipe", stdout: Stream = "pipe", stderr: Stream = "pipe",
              on_stdout: Hook = None, on_stderr: Hook = None, _pipes: Optional[Pipes] = None) -> Process:
        """Starts a command: text for bash, or a list of words.

        env adds variables, None removes one.  tty: True or (rows, columns) gives it a terminal, whose output is all in
        stdout.  timeout: seconds until it is killed.  limits: "cpu_seconds", "memory", "processes", "open_files",
        "file_size".  user: (uid, gid), if the application is root.  stdin, stdout, stderr: "pipe", "null", or a file or its
        descriptor, which the command then uses itself; stderr may be "stdout", the same place.  FileNotFoundError,
        PermissionError: of the program.
        """
        args: Union[str, list[str]] = command if isinstance(command, str) else [os.fspath(word) for word in command]
        params: Message = {"sandbox": self._current(), "shell" if isinstance(args, str) else "argv": args}
        null = -1
        fds: dict[int, int] = dict(_pipes.theirs) if _pipes else {}
        for which, stream in ((STDIN, stdin), (STDOUT, stdout), (STDERR, stderr)):
            if stream == "null" and which != STDIN:
                null = null if null >= 0 else os.open(os.devnull, os.O_WRONLY)
                fds[which] = null
            elif not isinstance(stream, str):
                fds[which] = stream if isinstance(stream, int) else stream.fileno()
                os.fstat(fds[which])  # OSError, here and not on the connection
            elif stream not in ("pipe", "null") and (which, stream) != (STDERR, "stdout"):
                raise PolicyError(f"{('stdin', 'stdout', 'stderr')[which]} is '{stream}'; allowed are pipe, null, a file or its descriptor"
                                  + (", stdout" if which == STDERR else ""))
        optional: Message = {"cwd": os.fspath(cwd) if cwd else None, "env": dict(env) if env else None, "timeout": timeout,
                             "limits": dict(limits) if limits else None, "stdin": "null" if stdin == "null" else None,
                             "stderr": "stdout" if stderr == "stdout" else None,
                             "user": {"uid": user[0], "gid": user[1]} if user else None,
                             "tty": {"rows": tty[0], "cols": tty[1]} if isinstance(tty, tuple) else tty or None}
        params.update({key: value for key, value in optional.items() if value is not None})
        try:
            process = Process(self, self._broker, params, args, on_stdout, on_stderr, fds)
        except SandboxError as e:
            kind = {"ENOENT": FileNotFoundError, "EACCES": PermissionError, "ENOTDIR": NotADirectoryError}.get(e.errno or "")
            if kind and str(e).startswith("exec:"):
                raise kind(f"{args[0] if isinstance(args, list) else args}: {e}") from None
            raise
        finally:
            if null >= 0:
                os.close(null)
        with self._lock:
            self._running.add(process)
        process.when_done(lambda: self._running.discard(process))
        return process

    def run(self, command: Sequence[str], *, input: Input = None, check: bool = True,  # pylint: disable=redefined-builtin
            **options: Any) -> CommandResult:
        """Runs a list of words to its end.  With check, CommandError unless its status is 0.  options: as of start()."""
        result = self._begin(command, input, options).communicate(input)
        return result.check() if check else result

    def _begin(self, command: Union[str, Sequence[str]], data: Input, options: "dict[str, Any]") -> Process:
        """Starts what communicate(data) will be called of: its output need not pass the broker."""
        if data is None:
            options.setdefault("stdin", "null")
        if options.get("tty") or options.get("on_stdout") or options.get("on_stderr"):
            return self.start(command, **options)
        outputs = [which for which, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if options.get(name, "pipe") == "pipe"]
        pipes = Pipes(data is not None, outputs)
        try:
            process = self.start(command, _pipes=pipes, **options)
        except BaseException:
            pipes.close()
            raise
        pipes.sent()
        process.pipes = pipes
        return process

    def bash(self, command: str, *, input: Input = None, check: bool = True,  # pylint: disable=redefined-builtin
             **options: Any) -> CommandResult:
        """Runs a command line with bash.  As run()."""
        result = self._begin(command, input, options).communicate(input)
        return result.check() if check else result

    def denials(self) -> list[Denial]:
        """What was refused since this was last asked, the latest 1,000.  Needs Sandbox(audit=True).

        What a command was refused is known when it has ended.
        """
        if self._audit is None:
            raise PolicyError("there is no audit: Sandbox(audit=True)")
        return self._audit.take()

    def stats(self) -> Stats:
        """What its processes use now."""
        answer = self._broker.call("sandbox.stats", sandbox=self._current())
        return Stats(int(answer["processes"]), int(answer["memory"]), float(answer["cpu_time"]), float(answer["uptime"]))

    def shell(self, **options: Any) -> Shell:
        """A shell that stays, with its directory and variables, from command to command.  options: cwd, env, limits, user, as
        of start(); close it, or use it in a with statement."""
        return Shell(self, **options)

    def _allow(self, where: Sequence[str]) -> None:
        with self._lock:
            self._current()
            if where:
                self._outcome(self._broker.call("command", argv=["allow", "--", str(self._kept), *where], temporary=self._temporary))
                self._params["allow"] = [*self._params.get("allow", ()), *where]  # and when it is opened again

    # ---- review ----

    @contextmanager
    def _idle(self) -> Iterator[None]:
        """Nothing has it open meanwhile; the next command opens it again."""
        with self._lock:
            self._current()
            if self._running:
                raise SandboxError(f"{len(self._running)} processes are running in it: end them first", "EBUSY")
            self._end()
            yield

    def _command(self, *argv: str, live: bool = False) -> Message:
        """live: what runs may go on meanwhile."""
        with self._lock:
            if live and (self._running or self.stats().processes):
                return self._broker.call("command", argv=list(argv), temporary=self._temporary)
            with self._idle():
                return self._broker.call("command", argv=list(argv), temporary=self._temporary)

    @staticmethod
    def _text(answer: Message, key: str) -> str:
        if key in answer:
            return str(answer[key])
        return bytes.fromhex(answer.get(key + "_hex", "")).decode("utf-8", "surrogateescape")

    def _checked(self, *argv: str, live: bool = False) -> str:
        return self._outcome(self._command(*argv, live=live))

    def _outcome(self, answer: Message) -> str:
        err = self._text(answer, "stderr").strip()
        if answer["status"] == 3:
            lines = err.splitlines()
            raise ConflictError(lines[-1] if lines else "conflicts", lines[:-1])
        if answer["status"]:
            raise SandboxError(err.split(": ", 1)[-1] if err else "bvisor failed")
        return self._text(answer, "stdout")

    def diff(self) -> "list[dict[str, Any]]":
        """What it has changed: kind ("A", "M", "D", "T", "R"), path, size and more, as bvisor diff --json.

        While something runs in it, this, patch(), snapshot() and fork() see it as a crash would leave it.
        """
        changes: list[dict[str, Any]] = json.loads(self._checked("diff", str(self._kept), "--json", live=True))
        return changes

    def patch(self) -> str:
        """What it has changed, as a patch."""
        return self._checked("diff", str(self._kept), "--patch", live=True)

    def commit(self, *paths: str, exclude: Sequence[str] = (), force: bool = False, dry_run: bool = False) -> str:
        """Brings its changes, or those at and below paths, to the host.  ConflictError: nothing was written.

        What runs in it goes on: what is there at the beginning is committed, as a crash would leave it.
        """
        return self._checked("commit", *(["--force"] if force else []), *(["--dry-run"] if dry_run else []),
                             *(word for glob in exclude for word in ("--exclude", glob)), str(self._kept), *[os.path.abspath(path) for path in paths], live=True)

    def rollback(self, *paths: str) -> str:
        """Forgets its changes, or those at and below paths.

        What runs in it goes on: it has what it has open, and sees the host's files in place of those that went.
        """
        return self._checked("rollback", str(self._kept), *[os.path.abspath(path) for path in paths], live=True)

    def snapshot(self, tag: str) -> None:
        """Keeps its present state under a tag (NAME@TAG), to be forked."""
        self._checked("snapshot", str(self._kept), tag, live=True)

    def fork(self, new: Optional[str] = None, tag: Optional[str] = None) -> "Sandbox":
        """A new sandbox that begins where this one is, or was at the snapshot tag.  A kept one's has a name."""
        if (new is None) != self._temporary:
            raise PolicyError("a sandbox with a name is forked into one with a name, one without into one without")
        name = new or f"f{secrets.token_hex(8)}"
        self._checked("fork", f"{self._kept}@{tag}" if tag else str(self._kept), name, live=True)
        return Sandbox(policy=dict(self._params, name=name), on_denied=self._on_denied, broker=self._broker)

    def remove(self) -> None:
        """Closes it and forgets its files and snapshots."""
        if not self._temporary:
            self._checked("rm", str(self._kept))
        self.close()
