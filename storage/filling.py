"""Filling: an empty catalogue gets the rows of what the disk remembers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter

from sqlalchemy import Connection

from models import rebuild as rows
from models.changes import note_anew
from models.circles import break_circles
from models.curation import AuditRow
from models.replaced import drop_replaced, replaced_places
from models.rows import Place
from models.tables import StoredObject, Version
from models.upkeep_tables import Audit
from storage.index import Index
from storage.layout import DataFolder
from storage.read import READABLE_DEPTH, can_read
from storage.remembered import Progress, Remembered
from storage.replay import replay
from storage.replayed import Replayed
from storage.replayed_rows import ReplayedRows, audit_trail
from storage.salvage import Salvage

_AT_ONCE = 1000
"""Segments whose rows are added with one statement."""


class Filling:
    """One run. ``remembered`` and ``replayed`` are what the disk told; so many ``segments`` and ``objects`` were added."""

    def __init__(self, folder: DataFolder, connection: Connection, now: datetime, learnt: rows.Learnt | None = None) -> None:
        self.learnt = learnt or rows.Learnt((), ())
        self.remembered = Remembered(folder)
        self.connection = connection
        self._folder, self._now = folder, now
        self.segments = self.objects = 0
        self.replayed = Replayed()

    def run(self, progress: Progress) -> None:
        """Read the disk, and add a row of everything that it tells of. What cannot be read is remembered as a finding.

        Raises:
            StorageError: the disk or the database refused.
        """
        index_objects = rows.without_indexes(self.connection, StoredObject)
        index_versions = rows.without_indexes(self.connection, Version)
        part: list[tuple[Index, Sequence[Place]]] = []
        there: set[str] = set()
        replaces: list[tuple[str, Sequence[str]]] = []
        for index in self.remembered.indexes(progress):
            there.add(index.segment_sha256)
            if index.replaces:
                replaces.append((index.segment_sha256, index.replaces))
            part.append((index, index.places))
            if len(part) == _AT_ONCE:
                self._add_segments(part)
                part = []
        self._add_segments(part)
        self.remembered.read_journal()
        self._add_segments([(index, index.places) for index in Salvage(self.remembered, self._now).run()])
        self.replayed = replay(self.remembered.records, self.remembered.events)
        self._add_what_is_missed()
        index_objects()
        rows.tell_of_segments(self.connection, self.learnt)  # the places of a content are ordered by the time of their segments
        named = ((name, there.intersection(older)) for name, older in replaces)
        replaced = replaced_places(self.connection, [(name, older) for name, older in named if older])
        rows.newest_places_last(self.connection, replaced)
        break_circles(self.connection, READABLE_DEPTH)
        drop_replaced(self.connection, replaced, partial(can_read, self._folder))
        sizes = rows.sizes_of_contents(self.connection)
        ReplayedRows(self._folder, self.replayed, sizes, self._now).add(self.connection, self.remembered)
        index_versions()
        rows.tell_of_versions(self.connection, self.learnt)
        if rows.is_empty(self.connection, Audit):
            rows.AUDITS.add(self.connection, (_audit(one) for one in audit_trail(self.remembered.events)))
        note_anew(self.connection, self._now)

    def _add_segments(self, part: Sequence[tuple[Index, Sequence[Place]]]) -> None:
        segments = ((one.segment_sha256, one.size_bytes, len(places), self._time_of(one)) for one, places in part)
        rows.SEGMENTS.add(self.connection, segments)
        rows.OBJECTS.add(self.connection, (_place_row(place) for _, places in part for place in places))
        self.segments += len(part)
        self.objects += sum(len(places) for _, places in part)

    def _time_of(self, index: Index) -> datetime:
        """Return when a segment was written, as far as can be told: what tells of no version was written after those it holds."""
        if index.written_at is not None:
            return index.written_at
        if index.versions:
            return min(one.stored_at for one in index.versions)
        try:
            return datetime.fromtimestamp(self._folder.index(index.segment_sha256).stat().st_mtime, UTC)
        except OSError:
            return self._now

    def _add_what_is_missed(self) -> None:
        """Place contents that only a segment holds that is gone where they were: then reading them says what is wrong."""
        if not self.remembered.gone:
            return
        needed = {one.record.content_sha256 for library in self.replayed.told() for one, _ in library.revisions()}
        needed -= rows.sizes_of_contents(self.connection).keys()
        gone = [(one, [place for place in one.places if place.content_sha256 in needed]) for one in self.remembered.gone]
        self._add_segments([(one, places) for one, places in gone if places])


_place_row = attrgetter(*Place.__slots__)
_audit = attrgetter(*AuditRow.__slots__)
