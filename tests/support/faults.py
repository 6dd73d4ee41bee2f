"""Failing system calls: the n-th write, fsync, rename, link or new file answers with an error, whichever code makes it.

Or each read of a file does, however often it is tried: a sector under it is bad.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

_CALLS = ("fsync", "rename", "link", "symlink", "mkdir", "write")


class Faults:
    """Counts the calls that write, and fails the one with the number ``fail_at`` (from 1)."""

    def __init__(self, fail_at: int = 0, errno_: int = 0) -> None:
        self.calls: list[str] = []
        self._fail_at = fail_at
        self._errno = errno_

    @property
    def fired(self) -> bool:
        """Whether the call that was to fail has been made."""
        return 0 < self._fail_at <= len(self.calls)

    def count(self, name: str) -> None:
        """Note a call down; fail it when it is its turn."""
        self.calls.append(name)
        if len(self.calls) == self._fail_at:
            raise OSError(self._errno, os.strerror(self._errno))

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, counted."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.count(name)
            return real(*arguments, **options)

        return call

    def open_descriptor(self, path: Any, flags: int, *more: Any, **options: Any) -> int:
        """Open a descriptor; counted when it may make a file."""
        if flags & os.O_CREAT:
            self.count("open")
        return _real_os_open(path, flags, *more, **options)

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        """Open a file for writing so that what is really written is counted; any other as usual."""
        if mode not in {"wb", "w"}:
            return _real_open(file, mode, buffering, *more, **options)
        if not isinstance(file, int):  # a descriptor has been counted when it was opened
            self.count("open")
        raw = _CountedFile(self, file)
        buffered = io.BufferedWriter(raw, io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering)
        return buffered if mode == "wb" else io.TextIOWrapper(buffered, encoding="utf-8")


_real_open, _real_os_open = io.open, os.open


class _CountedFile(io.FileIO):
    def __init__(self, faults: Faults, file: Any) -> None:
        super().__init__(file, "w")
        self._faults = faults

    def write(self, data: Any) -> int:
        self._faults.count("write")
        return super().write(data)


@contextmanager
def faults(fail_at: int = 0, errno_: int = 0) -> Iterator[Faults]:
    """Count the calls of the block that write; fail one of them when a number is given."""
    injected = Faults(fail_at, errno_)
    patches = [mock.patch.object(os, name, injected.wrap(name, getattr(os, name))) for name in _CALLS]
    patches.append(mock.patch.object(os, "open", injected.open_descriptor))
    patches += [mock.patch.object(io, "open", injected.open), mock.patch.object(builtins, "open", injected.open)]
    try:
        for patch in patches:
            patch.start()
        yield injected
    finally:
        for patch in patches:
            patch.stop()


class BadSectors:
    """Files that can be opened and listed, and not be read. They stay bad wherever they are moved."""

    def __init__(self, paths: tuple[Path, ...], errno_: int) -> None:
        self._files = {_identity(path) for path in paths}
        self._errno = errno_
        self.fired = 0
        """How many reads have failed."""

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        """Open a file as usual, unless it is a bad one that is opened to be read."""
        if mode not in {"rb", "r"} or not os.path.lexists(file if not isinstance(file, int) else "/"):
            return _real_open(file, mode, buffering, *more, **options)
        if _identity(file) not in self._files:
            return _real_open(file, mode, buffering, *more, **options)
        raw = _BadFile(self, file)
        buffered = raw if buffering == 0 else io.BufferedReader(raw)
        return buffered if mode == "rb" else io.TextIOWrapper(buffered, encoding="utf-8")  # type: ignore[arg-type]  # text is buffered

    def fail(self) -> OSError:
        """Return what a read answers."""
        self.fired += 1
        return OSError(self._errno, os.strerror(self._errno))


class _BadFile(io.FileIO):
    def __init__(self, sectors: BadSectors, file: Any) -> None:
        super().__init__(file, "r")
        self._sectors = sectors

    def read(self, _size: int | None = -1, /) -> bytes:
        raise self._sectors.fail()

    def readall(self) -> bytes:
        raise self._sectors.fail()

    def readinto(self, _buffer: Any, /) -> int:
        raise self._sectors.fail()


def _identity(file: Any) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


@contextmanager
def bad_sectors(*paths: Path, errno_: int = errno.EIO) -> Iterator[BadSectors]:
    """Have each read of these files fail while in the block, and make sure that one did."""
    sectors = BadSectors(paths, errno_)
    with mock.patch.object(io, "open", sectors.open), mock.patch.object(builtins, "open", sectors.open):
        yield sectors
    assert sectors.fired, f"nobody has read {', '.join(map(str, paths))}"
