# SPDX-License-Identifier: Apache-2.0
"""The same with async and await.  The waiting is done by threads; the event loop is never blocked."""
from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, Optional, Sequence, TypeVar, Union

from ._broker import Broker, noted
from .audit import Denial
from .errors import BvisorError
from .files import FileInfo, PathLike
from .process import CommandResult, Input, Process, Reader
from .sandbox import Sandbox, Stats
from .shell import Shell

T = TypeVar("T")


class AsyncStream:
    """An output of an AsyncProcess: async iteration gives its lines."""

    def __init__(self, raw: Reader, stream: Any) -> None:
        self._raw, self._stream = raw, stream

    async def read(self, size: int = -1) -> bytes:
        """All of the rest, or exactly size bytes unless the end comes first."""
        data: bytes = await asyncio.to_thread(self._stream.read, size)
        return data

    async def read_some(self, size: int = 1 << 16) -> bytes:
        """What is there, at most size bytes; b"": the end."""
        data: bytes = await asyncio.to_thread(self._stream.read1, size)
        return data

    async def readline(self) -> bytes:
        """A line with its end; b"": the end."""
        data: bytes = await asyncio.to_thread(self._stream.readline)
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            line = await self.readline()
            if not line:
                return
            yield line


class AsyncProcess:
    """A process in a sandbox."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        self.stdout = AsyncStream(process.stdout.raw, process.stdout)  # type: ignore[arg-type]
        self.stderr = AsyncStream(process.stderr.raw, process.stderr)  # type: ignore[arg-type]

    async def write(self, data: Union[str, bytes]) -> None:
        """To standard input."""
        def work() -> None:
            self._process.stdin.write(data.encode() if isinstance(data, str) else data)
            self._process.stdin.flush()
        await asyncio.to_thread(work)

    async def close_stdin(self) -> None:
        """Standard input ends."""
        await asyncio.to_thread(self._process.stdin.close)

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        loop = asyncio.get_running_loop()
        done: "asyncio.Future[None]" = loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        def ended() -> None:
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                pass  # the loop is closed
        self._process.when_done(ended)
        await done
        code = self._process.poll()
        assert code is not None
        return code

    def poll(self) -> Optional[int]:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    async def signal(self, number: int, group: bool = True) -> None:
        """Sends a signal to it and its process group."""
        await asyncio.to_thread(self._process.signal, number, group)

    async def kill(self) -> None:
        """SIGKILL."""
        await self.signal(9)

    async def resize(self, rows: int, cols: int) -> None:
        """Its terminal has another size now."""
        await asyncio.to_thread(self._process.resize, rows, cols)

    async def communicate(self, data: Input = None) -> CommandResult:
        """Writes data to standard input, closes it, and waits for the end.  When cancelled, it is killed."""
        return await _killing(self._process, data)

    async def __aenter__(self) -> "AsyncProcess":
        return self

    async def __aexit__(self, *args: object) -> None:
        await asyncio.to_thread(self._process.__exit__, *args)


async def _killing(process: Process, data: Input) -> CommandResult:
    try:
        return await asyncio.to_thread(process.communicate, data)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(process.kill))
        raise


class AsyncFile:
    """A file of AsyncFiles.open(): an async context manager; async iteration gives its lines."""

    def __init__(self, file: Any) -> None:
        self._file = file

    async def read(self, size: int = -1) -> Any:
        """All of the rest, or so much unless the end comes first."""
        return await asyncio.to_thread(self._file.read, size)

    async def readline(self) -> Any:
        """A line with its end."""
        return await asyncio.to_thread(self._file.readline)

    async def write(self, data: Union[str, bytes]) -> None:
        """More of it."""
        await asyncio.to_thread(self._file.write, data)

    async def close(self) -> None:
        """Its end."""
        await asyncio.to_thread(self._file.close)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            line = await self.readline()
            if not line:
                return
            yield line

    async def __aenter__(self) -> "AsyncFile":
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()


class AsyncFiles:
    """AsyncSandbox.files."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._files = sandbox.files

    async def read(self, path: PathLike) -> bytes:
        """All of a file."""
        return await asyncio.to_thread(self._files.read, path)

    async def read_text(self, path: PathLike, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of a file, as text."""
        return await asyncio.to_thread(self._files.read_text, path, encoding, errors)

    async def write(self, path: PathLike, data: Union[str, bytes], mode: Optional[int] = None) -> None:
        """Makes the file's content data."""
        await asyncio.to_thread(self._files.write, path, data, mode)

    async def open(self, path: PathLike, mode: str = "r", **options: Any) -> AsyncFile:
        """As Files.open()."""
        return AsyncFile(await asyncio.to_thread(lambda: self._files.open(path, mode, **options)))

    async def append(self, path: PathLike, data: Union[str, bytes]) -> None:
        """Adds data to the file's end."""
        await asyncio.to_thread(self._files.append, path, data)

    async def list(self, path: PathLike = ".") -> "list[FileInfo]":
        """What is in a directory, by name."""
        return await asyncio.to_thread(self._files.list, path)

    async def stat(self, path: PathLike, follow: bool = True) -> FileInfo:
        """What a path names."""
        return await asyncio.to_thread(self._files.stat, path, follow)

    async def exists(self, path: PathLike) -> bool:
        """Whether there is something."""
        return await asyncio.to_thread(self._files.exists, path)

    async def mkdir(self, path: PathLike, mode: int = 0o755, parents: bool = False) -> None:
        """Makes a directory."""
        await asyncio.to_thread(self._files.mkdir, path, mode, parents)

    async def rename(self, path: PathLike, to: PathLike) -> None:
        """Renames."""
        await asyncio.to_thread(self._files.rename, path, to)

    async def remove(self, path: PathLike, recursive: bool = False) -> None:
        """Removes."""
        await asyncio.to_thread(self._files.remove, path, recursive)


class AsyncShell:
    """As Shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.pid = shell.pid

    async def run(self, command: str, **options: Any) -> CommandResult:
        """As Shell.run(); when cancelled the shell is closed."""
        task = asyncio.ensure_future(asyncio.to_thread(lambda: self._shell.run(command, **options)))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._shell.close)
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def close(self) -> None:
        """Ends it."""
        await asyncio.to_thread(self._shell.close)

    async def __aenter__(self) -> "AsyncShell":
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()


async def _giving_up(function: Callable[[], T], undo: Optional[Callable[[T], object]] = None) -> T:
    """Runs function in a thread.  When cancelled, what it has asked the broker for is given up; undo takes a result that comes
    nevertheless."""
    asked: "list[tuple[Broker, int]]" = []
    token = noted.set(asked)
    try:
        work = asyncio.ensure_future(asyncio.to_thread(function))
    finally:
        noted.reset(token)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        for broker, number in asked:
            await asyncio.to_thread(broker.cancel, number)
        try:
            result = await work
            if undo:
                await asyncio.to_thread(undo, result)
        except BvisorError:
            pass
        raise


class AsyncSandbox:
    """As Sandbox; its arguments are the same.  `async with AsyncSandbox() as sb:` or `await AsyncSandbox.create()`.

    When a call is cancelled, what it was about is given up: a command is killed, a review ended.
    """

    def __init__(self, name: Optional[str] = None, **policy: Any) -> None:
        self._name, self._policy = name, policy
        self._sandbox: Optional[Sandbox] = None
        self._files: Optional[AsyncFiles] = None

    @classmethod
    async def create(cls, name: Optional[str] = None, **policy: Any) -> "AsyncSandbox":
        """One that is open; close() is the caller's business."""
        return await cls(name, **policy)._open()

    async def _open(self) -> "AsyncSandbox":
        if self._sandbox is None:
            def make() -> Sandbox:
                return Sandbox(self._name, **self._policy)
            made: Sandbox = await _giving_up(make, Sandbox.close)
            self._sandbox = made
        return self

    @property
    def sandbox(self) -> Sandbox:
        """The Sandbox behind it."""
        if self._sandbox is None:
            raise RuntimeError("use `async with` or `await AsyncSandbox.create()`")
        return self._sandbox

    @property
    def name(self) -> Optional[str]:
        """Of a kept one."""
        return self._name

    @property
    def files(self) -> AsyncFiles:
        """Read and write its files."""
        if self._files is None:
            self._files = AsyncFiles(self.sandbox)
        return self._files

    async def start(self, command: Union[str, Sequence[str]], **options: Any) -> AsyncProcess:
        """As Sandbox.start()."""
        return AsyncProcess(await _giving_up(lambda: self.sandbox.start(command, **options), Process.kill))

    async def run(self, command: Sequence[str], *, input: Input = None, check: bool = True,  # pylint: disable=redefined-builtin
                  **options: Any) -> CommandResult:
        """As Sandbox.run(); when cancelled the command is killed."""
        return await self._run(command, input, check, options)

    async def bash(self, command: str, *, input: Input = None, check: bool = True,  # pylint: disable=redefined-builtin
                   **options: Any) -> CommandResult:
        """As Sandbox.bash(); when cancelled the command is killed."""
        return await self._run(command, input, check, options)

    async def _run(self, command: Union[str, Sequence[str]], data: Input, check: bool, options: "dict[str, Any]") -> CommandResult:
        def give_up(process: Process) -> None:
            process.kill()
            process.close()
        process = await _giving_up(lambda: self.sandbox._begin(command, data, options), give_up)  # pylint: disable=protected-access
        result = await _killing(process, data)
        return result.check() if check else result

    async def allow(self, *where: str) -> None:
        """As Sandbox.network.allow()."""
        await self._call(lambda: self.sandbox.network.allow(*where))

    def denials(self) -> "list[Denial]":
        """As Sandbox.denials(): there is nothing to wait for."""
        return self.sandbox.denials()

    async def stats(self) -> Stats:
        """As Sandbox.stats()."""
        return await self._call(self.sandbox.stats)

    async def shell(self, **options: Any) -> AsyncShell:
        """As Sandbox.shell()."""
        return AsyncShell(await asyncio.to_thread(lambda: self.sandbox.shell(**options)))

    async def _call(self, function: Callable[[], T]) -> T:
        return await _giving_up(function)

    async def diff(self) -> "list[dict[str, Any]]":
        """As Sandbox.diff()."""
        return await self._call(self.sandbox.diff)

    async def patch(self) -> str:
        """As Sandbox.patch()."""
        return await self._call(self.sandbox.patch)

    async def commit(self, *paths: str, **options: Any) -> str:
        """As Sandbox.commit()."""
        return await self._call(lambda: self.sandbox.commit(*paths, **options))

    async def rollback(self, *paths: str) -> str:
        """As Sandbox.rollback()."""
        return await self._call(lambda: self.sandbox.rollback(*paths))

    async def snapshot(self, tag: str) -> None:
        """As Sandbox.snapshot()."""
        await self._call(lambda: self.sandbox.snapshot(tag))

    async def fork(self, new: Optional[str] = None, tag: Optional[str] = None) -> "AsyncSandbox":
        """As Sandbox.fork()."""
        other = AsyncSandbox(new)
        other._sandbox = await self._call(lambda: self.sandbox.fork(new, tag))  # pylint: disable=protected-access
        return other

    async def remove(self) -> None:
        """As Sandbox.remove()."""
        await self._call(self.sandbox.remove)

    async def close(self) -> None:
        """Ends it, and all that runs in it."""
        if self._sandbox is not None:
            await self._call(self._sandbox.close)

    async def __aenter__(self) -> "AsyncSandbox":
        return await self._open()

    async def __aexit__(self, *args: object) -> None:
        await self.close()
