"""The snapshot: one moment of the folder, held on to in milliseconds, and read while others go on writing.

The catalogue's write lock is taken once, so that nobody commits while the size of the journal is read and a read transaction
begins: both show the same moment, since whatever is committed was in the journal before. Then the lock is let go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from backports import zstd
from sqlalchemy import Connection

from models.backup_rows import dumps, in_parts_of, rows_of
from models.backups import KnownSegment, Sums, count_everything, every_segment, hold_still, segments_named
from models.changes import changes_behind, epoch, last_change, mark_of_change
from models.database import Database
from storage.backup.manifest import Journal, Manifest, Untold
from storage.backup.tail import Tail, journal_size, tail_sha256
from storage.backup.untold import Records, settled
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import IntegrityError

_ITEM_LINES = 20_000
_LEVEL = 3
JOURNAL, EPOCH, CHANGE = "journal", "epoch", "change"


@dataclass(frozen=True, slots=True)
class Piece:
    """Compressed lines in the spool: of the journal, or of a table."""

    what: str
    whole: bool
    rows: int
    offset: int
    size_bytes: int
    sha256: str


@dataclass(slots=True)
class Snapshot:
    """What was found at ``as_of``. ``segments`` came or changed since the parent; all of them when ``compare`` is set."""

    as_of: datetime
    change: int
    counts: Sums
    segments: list[KnownSegment] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    compare: bool = False
    journal_offset: int = 0
    journal_tail: str = ""
    journal_anew: bool = False
    untold: list[Untold] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    marks: dict[str, Any] = field(default_factory=dict)


def take_snapshot(
    folder: DataFolder, database: Database, parent: Manifest | None, now: datetime, spool: Path, *, anew: bool = False
) -> Snapshot:
    """Look at everything that an incremental backup behind ``parent``, or a full one, takes; rows and journal go to ``spool``.

    Rows and journal are taken as a whole behind a parent, too, when ``anew`` says so, or another catalogue made it, or this one
    before it was put back to an older state; all segments are compared then.

    Raises:
        CatalogueBusy: another writer held the database for too long.
        IntegrityError: lines of the journal are damaged.
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    with ExitStack() as stack:
        with database.write("snapshot"):
            size = journal_size(folder.journal)
            connection = stack.enter_context(database.read())
            hold_still(connection)
        taking = _Taking(folder, connection, parent, now, spool)
        return taking.run(size, None if anew or taking.is_foreign else parent)


class _Taking:
    def __init__(self, folder: DataFolder, connection: Connection, parent: Manifest | None, now: datetime, spool: Path) -> None:
        self._folder, self._connection, self._parent, self._now = folder, connection, parent, now
        self._spool = spool
        self._snapshot = Snapshot(now, last_change(connection), count_everything(connection))
        self._snapshot.marks[EPOCH] = epoch(connection)
        self._snapshot.marks[CHANGE] = mark_of_change(connection, self._snapshot.change)
        self.is_foreign = parent is not None and not self._is_behind(parent)

    def _is_behind(self, parent: Manifest) -> bool:
        """Whether what the parent saw is this catalogue's own past: not another's, nor of a time before it was put back."""
        mark = parent.marks.get(CHANGE)
        same = parent.marks[EPOCH] == self._snapshot.marks[EPOCH]
        return same and mark is not None and mark == mark_of_change(self._connection, parent.change)

    def run(self, journal_bytes: int, told: Manifest | None) -> Snapshot:
        self._find_segments()
        with durable.os_errors("cannot write what is backed up"):
            self._spool.write_bytes(b"")
        self._read_journal(journal_bytes, told)
        self._dump_rows(None if self._snapshot.journal_anew else told)  # another journal: rows may be of another past, too
        return self._snapshot

    def _find_segments(self) -> None:
        """Find what changed by the changes that were noted; where they do not add up, everything must be compared."""
        found, parent = self._snapshot, self._parent
        changes = None if parent is None or self.is_foreign else changes_behind(self._connection, parent.change)
        if parent is not None and changes is not None:
            now = segments_named(self._connection, changes.added | changes.others)
            gone = sorted(changes.others - now.keys())
            if parent.counts.segments + len(changes.added & now.keys()) - len(gone) == found.counts.segments:
                found.segments, found.gone = list(now.values()), gone
                return
        found.segments, found.compare = list(every_segment(self._connection)), parent is not None

    def _read_journal(self, size: int, told: Manifest | None) -> None:
        found, before = self._snapshot, Journal() if told is None else told.journal
        path = self._folder.journal
        found.journal_anew = before.offset == 0 or size < before.offset or tail_sha256(path, before.offset) != before.tail_sha256
        tail, records = Tail(path, 0 if found.journal_anew else before.offset, size), Records(self._now)
        self._add(JOURNAL, found.journal_anew, (line.data for line in records.see(tail.lines())))
        if tail.damaged:
            said = "docs/how-to/repair.md; `strongroom verify --all --repair` mends it."
            raise IntegrityError(f"{tail.damaged} lines of the journal are damaged.", said, {"damage": "journal_damaged"})
        found.journal_offset, found.journal_tail = tail.offset, tail_sha256(path, tail.offset)
        known = [*records.untold(self._connection), *records.still(self._connection, before.untold)]
        found.untold, lines = settled(dict.fromkeys(known), self._now)
        self._add(JOURNAL, False, [lines] if lines else [])

    def _dump_rows(self, told: Manifest | None) -> None:
        found = self._snapshot
        marks, since = (told.marks, told.as_of) if told else ({}, None)
        for dumping in dumps(self._connection, marks, since):
            self._add(dumping.table, dumping.whole, map(_as_line, rows_of(self._connection, dumping)))
            found.marks[dumping.table] = dumping.mark

    def _add(self, what: str, whole: bool, lines: Iterable[bytes]) -> None:
        """Add lines to the spool. Of something that is whole the first piece says so, even if there is no line."""
        first = whole
        for part in in_parts_of(lines, _ITEM_LINES):
            self._write(what, first, part)
            first = False
        if first:
            self._write(what, True, [])

    def _write(self, what: str, whole: bool, lines: list[bytes]) -> None:
        packed = zstd.compress(b"".join(lines), _LEVEL)
        with durable.os_errors("cannot write what is backed up"), self._spool.open("ab") as file:
            offset = file.tell()
            file.write(packed)
        piece = Piece(what, whole, len(lines), offset, len(packed), hashlib.sha256(packed).hexdigest())
        self._snapshot.pieces.append(piece)


def _as_line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row) + b"\n"


def spooled(spool: Path, piece: Piece) -> bytes:
    """Return the bytes of a piece."""
    with durable.os_errors("cannot read what is backed up"), spool.open("rb") as file:
        file.seek(piece.offset)
        return file.read(piece.size_bytes)
