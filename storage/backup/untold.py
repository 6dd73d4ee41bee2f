"""What the disk tells of and the catalogue does not know: stores that were under way at the snapshot, or died before.

A restored folder must not show them: they were never acknowledged, and their producers send them again. So its journal says
of each that it never came to be. What is found committed by a later backup is struck off; what is not after days is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.backups import live_records
from storage.backup.manifest import Untold
from storage.backup.tail import Line
from storage.events import Removed, parse_entry
from storage.index import VersionRecord
from storage.journal import line_of

FRESH = timedelta(days=2)
"""Records that are older are taken for what they say: no store is under way for so long."""


@dataclass(slots=True)
class Records:
    """Gathers fresh records, and which of them were removed again: those had been committed."""

    now: datetime
    told: list[VersionRecord] = field(default_factory=list)
    removed: set[tuple[str, datetime]] = field(default_factory=set)

    def see(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Look at the lines of the journal while they pass."""
        for line in lines:
            if line.entry is not None:
                self._see(line)
            yield line

    def _see(self, line: Line) -> None:
        entry = line.entry or {}
        if "version" not in entry and "removed" not in entry:
            return
        event = parse_entry(entry)
        if isinstance(event, VersionRecord):
            self.add([event])
        elif isinstance(event, Removed):
            self.removed.add((event.version, event.stored_at))

    def add(self, records: Iterable[VersionRecord]) -> None:
        """Look at the records of an index."""
        self.told += [one for one in records if one.stored_at > self.now - FRESH]

    def untold(self, connection: Connection) -> list[Untold]:
        """Return those that are no revisions, stored or removed."""
        keys = {(one.content_sha256, one.version, one.stored_at): one for one in self.told}
        live = live_records(connection, keys)
        return [
            Untold(one.library_id, one.version, one.stored_at, one.content_sha256, self.now)
            for key, one in keys.items()
            if key not in live and (one.version, one.stored_at) not in self.removed
        ]

    def still(self, connection: Connection, known: Iterable[Untold]) -> list[Untold]:
        """Return those that an earlier backup found and that are no revisions now either."""
        keys = {(one.content_sha256, one.version, one.stored_at): one for one in known}
        live = live_records(connection, keys)
        return [one for key, one in keys.items() if key not in live and (one.version, one.stored_at) not in self.removed]


def settled(untold: Iterable[Untold], now: datetime) -> tuple[list[Untold], bytes]:
    """Return those that may be committed yet, and the journal's lines for the others."""
    waiting = [one for one in untold if one.since > now - FRESH]
    lines = [void_line(one) for one in untold if one.since <= now - FRESH]
    return waiting, b"".join(lines)


def void_line(one: Untold) -> bytes:
    """Return the journal's line which says that a version never came to be."""
    named = {"library_id": one.library_id, "version": one.version, "stored_at": one.stored_at}
    return line_of({"void": {**named, "content_sha256": one.content_sha256}})
