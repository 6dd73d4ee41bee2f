"""The parts' log files: written by the parts themselves, capped and followed by the supervisor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

CAP_BYTES = 10 * 1024**2
_CHUNK_BYTES = 256 * 1024


class PartLog:
    """One part's log. The part appends to the file by itself, so that a supervisor that is stopped or slow never blocks it."""

    def __init__(self, path: Path, cap_bytes: int = CAP_BYTES) -> None:
        self.path = path
        self._cap_bytes = cap_bytes
        self._seen = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def open(self) -> IO[bytes]:
        """Return the file, opened to append, for a process to inherit."""
        return open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")

    def new_lines(self) -> Iterator[str]:
        """Yield the whole lines written since the last call."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self._seen)
            while chunk := file.read(_CHUNK_BYTES):
                self._seen += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)

    def cap(self) -> None:
        """When the file has outgrown its cap, make it the previous one (``.1``) and go on with an empty file.

        By copy and truncation: the part keeps its descriptor. Lines written between the two are lost, which a log bears.
        """
        if not self.path.exists() or self.path.stat().st_size <= self._cap_bytes:
            return
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        os.truncate(self.path, 0)
        self._seen, self._rest = 0, b""


def tail(path: Path, lines: int = 15) -> list[str]:
    """Return the last lines of a log, none when there is no such file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
