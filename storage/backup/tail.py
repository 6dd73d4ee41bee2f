"""The tail of the journal: what was appended behind an offset, line by line, and what of it is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.journal import TORN, entry_of
from strongroom import durable

_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its bytes, and what it tells; nothing, when it does not hash to its digest."""

    data: bytes
    entry: dict[str, Any] | None


@dataclass(slots=True)
class Tail:
    """Reads lines up to a size; what comes behind the last line's end is somebody's who is writing."""

    path: Path
    offset: int
    size: int
    damaged: int = 0

    def lines(self) -> Iterator[Line]:
        """Yield the whole lines. Afterwards ``offset`` is behind the last one, and ``damaged`` how many hold something else.

        A line that a crash cut short has one behind it that says so.
        """
        torn = False
        with durable.os_errors("cannot read the journal"):
            if self.size <= self.offset:
                return
            with self.path.open("rb") as file:
                file.seek(self.offset)
                for data in file:
                    if self.offset + len(data) > self.size or not data.endswith(b"\n"):
                        break
                    self.offset += len(data)
                    entry = entry_of(data)
                    self.damaged += torn and entry != TORN
                    torn = entry is None
                    yield Line(data, entry)
        self.damaged += torn and self.offset == self.size


def journal_size(path: Path) -> int:
    """Return the size of the journal; 0 when nobody has written one yet."""
    with durable.os_errors("cannot read the journal"):
        return path.stat().st_size if path.exists() else 0


def tail_sha256(path: Path, offset: int) -> str:
    """Return what the last bytes before an offset hash to: whether the journal is still the one that was read up to there."""
    with durable.os_errors("cannot read the journal"):
        if offset == 0:
            return ""
        with path.open("rb") as file:
            begin = max(0, offset - _TAIL_BYTES)
            file.seek(begin)
            return hashlib.sha256(file.read(offset - begin)).hexdigest()
