# SPDX-License-Identifier: Apache-2.0
"""The files of a sandbox, as its commands see them."""
from __future__ import annotations

import builtins
import errno as errno_module
import io
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Iterator, Optional, Union

from ._filestream import ReadFile, WriteFile
from .errors import SandboxError

if TYPE_CHECKING:
    from .process import CommandResult, Process
    from .sandbox import Sandbox

PathLike = Union[str, "os.PathLike[str]"]
TYPES = {"f": "file", "d": "directory", "l": "symlink", "p": "fifo", "s": "socket", "c": "device", "b": "device"}


@dataclass(frozen=True)
class FileInfo:
    """type: "file", "directory", "symlink", "fifo", "socket", "device".  mode: permission bits.  mtime: seconds."""

    name: str
    path: str
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    nlink: int
    target: Optional[str]

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == "directory"

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.type == "file"


def _parse(data: bytes, path: str, listing: bool) -> Iterator[FileInfo]:
    parts = data.decode("utf-8", "surrogateescape").split("\0")
    for head, target in zip(parts[0::2], parts[1::2]):
        kind, mode, uid, gid, size, mtime, nlink, _ino, name = head.split(" ", 8)
        full = os.path.join(path, name) if listing else path
        yield FileInfo(os.path.basename(full), full, TYPES[kind], int(mode, 8), int(uid), int(gid), int(size), int(mtime) / 1e9,
                       int(nlink), target if kind == "l" else None)


@dataclass(frozen=True)
class FileEvent:
    """kind: "created", "modified" (written and closed), "deleted", "moved_from", "moved_to".  name: in the directory, or ""
    for a file that is watched itself."""

    kind: str
    name: str
    path: str


class Watch:
    """What happens to a file or directly in a directory: an iterator that ends when that is gone or close() is called.  A
    context manager.  Made by Files.watch()."""

    KINDS = {"c": "created", "m": "modified", "d": "deleted", "f": "moved_from", "t": "moved_to"}

    def __init__(self, process: "Process", path: str) -> None:
        self._process, self._path, self._data = process, path, b""
        if self._record() is None:
            result = process.communicate()
            raise _failed("watch", path, result)

    def _record(self) -> Optional[str]:
        while b"\0" not in self._data:
            more = self._process.stdout.raw.read_some(1 << 16)  # type: ignore[attr-defined]
            if not more:
                return None
            self._data += more
        record, _, self._data = self._data.partition(b"\0")
        return record.decode("utf-8", "surrogateescape")

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> FileEvent:
        record = self._record()
        if record is None or record[0] == "g":
            raise StopIteration
        return FileEvent(self.KINDS[record[0]], record[2:], os.path.join(self._path, record[2:]) if record[2:] else self._path)

    def close(self) -> None:
        """Watches no more."""
        self._process.kill()
        self._process.wait()
        self._process.close()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _failed(verb: str, name: str, result: "CommandResult") -> Exception:
    word, _, text = result.stderr.strip().partition(" ")
    number = getattr(errno_module, word, None)
    if number is None:
        return SandboxError(f"{verb} {name}: {result.stderr.strip() or result.exit_code}")
    return OSError(number, os.strerror(number), text.rpartition(": ")[0] or name)


class Files:
    """Sandbox.files.  Errors are those of the system: FileNotFoundError, PermissionError, OSError."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def _do(self, verb: str, path: PathLike, *words: str, data: Optional[bytes] = None) -> "CommandResult":
        name = os.fspath(path)
        process = self._sandbox.start(["@bvisor-init", verb, name, *words], stdin="null" if data is None else "pipe")
        result = process.communicate(data)
        if result.exit_code:
            raise _failed(verb, name, result)
        return result

    def read(self, path: PathLike) -> bytes:
        """All of a file."""
        return self._do("read", path).stdout_bytes

    def read_text(self, path: PathLike, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of a file, as text."""
        return self.read(path).decode(encoding, errors)

    def write(self, path: PathLike, data: Union[str, bytes], mode: Optional[int] = None) -> None:
        """Makes the file's content data.  mode: its permission bits from now on (a new one's are else 0644 or less)."""
        self._do("write", path, "-" if mode is None else f"{mode:o}", data=data.encode() if isinstance(data, str) else data)

    def append(self, path: PathLike, data: Union[str, bytes]) -> None:
        """Adds data to the file's end."""
        self._do("append", path, "-", data=data.encode() if isinstance(data, str) else data)

    def open(self, path: PathLike, mode: str = "r", *, encoding: str = "utf-8", errors: str = "strict",
             newline: Optional[str] = None, permissions: Optional[int] = None) -> IO[Any]:
        """A file as open() gives it, of any size: mode "r", "w" or "a", with "b" for bytes; a context manager.

        It is read from its beginning and cannot be sought in.  permissions: of what is written, as of write().  What stands
        in the way of writing is raised while writing or by close().
        """
        kind = mode.replace("b", "", 1).replace("t", "", 1)
        if kind not in ("r", "w", "a") or ("b" in mode and "t" in mode):
            raise ValueError(f"invalid mode: '{mode}'")
        verb, name = {"r": "read", "w": "write", "a": "append"}[kind], os.fspath(path)
        words = [] if kind == "r" else ["-" if permissions is None else f"{permissions:o}"]
        process = self._sandbox.start(["@bvisor-init", verb, name, *words], stdin="null" if kind == "r" else "pipe")

        def failed(result: "CommandResult") -> Exception:
            return _failed(verb, name, result)
        buffered: Union[io.BufferedReader, io.BufferedWriter] = (
            io.BufferedReader(ReadFile(process, failed), 1 << 16) if kind == "r" else io.BufferedWriter(WriteFile(process, failed), 1 << 16))
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def list(self, path: PathLike = ".") -> "builtins.list[FileInfo]":
        """What is in a directory, by name."""
        return sorted(_parse(self._do("list", path).stdout_bytes, os.fspath(path), True), key=lambda f: f.name)

    def stat(self, path: PathLike, follow: bool = True) -> FileInfo:
        """What a path names; a symlink itself, if it is not to be followed."""
        return next(_parse(self._do("stat" if follow else "lstat", path).stdout_bytes, os.fspath(path), False))

    def exists(self, path: PathLike) -> bool:
        """Whether there is something."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def mkdir(self, path: PathLike, mode: int = 0o755, parents: bool = False) -> None:
        """Makes a directory; with parents also those above it, and it may be there already."""
        self._do("mkdirs" if parents else "mkdir", path, f"{mode:o}")

    def rename(self, path: PathLike, to: PathLike) -> None:
        """Renames, replacing what stands there."""
        self._do("move", path, os.fspath(to))

    def remove(self, path: PathLike, recursive: bool = False) -> None:
        """Removes a file or an empty directory; with recursive all in it, and it need not be there."""
        self._do("remove-all" if recursive else "remove", path)

    def watch(self, path: PathLike = ".") -> Watch:
        """From now on, what happens to a file or directly in a directory."""
        name = os.fspath(path)
        return Watch(self._sandbox.start(["@bvisor-init", "watch", name], stdin="null"), name)
