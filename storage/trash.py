"""The trash: what a sweep took out of ``segments/``, until its grace period is over.

A file is called ``swept-{when}-{digest}.segment`` or ``.index``: the time is in the name, as a rename keeps a file's own times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.database import Database
from models.sweeping import condemned_segments, forget_segments
from storage.layout import DataFolder
from strongroom import durable

_NAME = re.compile(r"swept-([0-9]{8}T[0-9]{12})-([0-9a-f]{64})\.(segment|index)")
_TIME = "%Y%m%dT%H%M%S%f"
PORTION = 500
"""Segments that one transaction moves."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash."""

    path: Path
    segment_sha256: str
    kind: str
    at: datetime


def throw_away(folder: DataFolder, segment_sha256: str, now: datetime) -> None:
    """Move a segment and its index to the trash, whichever of them are there.

    Only in a write transaction: a commit that adds a segment looks in its own whether the files are in place (storage/store.py).
    Not synced: after a power cut a file may be back where it was, where it is garbage that no row names.
    """
    stem = folder.trash / f"swept-{now.astimezone(UTC):{_TIME}}-{segment_sha256}"
    for kind, source in (("segment", folder.segment(segment_sha256)), ("index", folder.index(segment_sha256))):
        with suppress(FileNotFoundError):
            durable.rename(source, stem.with_name(f"{stem.name}.{kind}"), "trash")


def finish_condemned(folder: DataFolder, database: Database, now: datetime) -> int:
    """Move what is condemned to the trash and forget it; return its bytes. Also for a store that wants to write the same anew.

    The files move inside the transaction: whoever commits a new segment later looks for its files in a transaction of his own.
    """
    total = 0
    while True:
        with database.read() as connection:
            if not condemned_segments(connection, 1):
                return total
        with database.write("trash") as connection:
            names = condemned_segments(connection, PORTION)
            for name in names:
                path = folder.segment(name)
                total += path.stat().st_size if path.exists() else 0
                throw_away(folder, name, now)
            forget_segments(connection, names)


def list_trash(folder: DataFolder) -> Iterator[Trashed]:
    """Yield what sweeps threw away."""
    for path in folder.trash.iterdir():
        found = _NAME.fullmatch(path.name)
        if found:
            yield Trashed(path, found[2], found[3], datetime.strptime(found[1], _TIME).replace(tzinfo=UTC))


def empty_trash(folder: DataFolder, now: datetime, grace: timedelta) -> tuple[int, int]:
    """Delete for good what was thrown away longer than ``grace`` ago; return how many segments and bytes that freed.

    Needs no free space and no database.
    """
    segments, size = 0, 0
    for one in list(list_trash(folder)):
        if now - one.at > grace:
            durable.step("trash: delete")
            with suppress(FileNotFoundError):
                status = one.path.stat()
                one.path.unlink()
                segments += one.kind == "segment"
                size += status.st_size if status.st_nlink == 1 else 0
    return segments, size
