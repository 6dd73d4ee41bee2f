"""Rebuild: a catalogue that is lost, damaged or out of step is made anew from the disk alone.

On SQLite the new one is written into a file beside the old one and takes its place by one rename, so that a crash at any moment
leaves one of the two. On PostgreSQL the tables are emptied and filled in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from models import rebuild as rows
from models.changes import note_anew
from models.circles import break_circles
from models.curation import AuditRow
from models.database import Database
from models.migrate import upgrade
from models.replaced import drop_replaced, replaced_places
from models.rows import Place
from models.upkeep_tables import Audit
from storage.index import Index
from storage.layout import DataFolder
from storage.read import READABLE_DEPTH, can_read
from storage.remembered import Progress, Remembered
from storage.replay import replay
from storage.replayed import Replayed
from storage.replayed_rows import ReplayedRows, audit_trail
from storage.salvage import Salvage
from storage.switch import Switch
from strongroom.contracts import Finding
from strongroom.errors import CatalogueBusy, StorageError

_TOLD = 100
"""Versions that are named one by one when a rebuild would forget them."""
_HARMLESS = frozenset({"history_lost", "index_made_anew"})
_AT_ONCE = 1000
"""Segments whose rows are added with one statement."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the new catalogue holds. ``versions`` counts current ones; ``before`` is where the old catalogue lies now."""

    libraries: int
    versions: int
    revisions: int
    segments: int
    objects: int
    findings: tuple[Finding, ...]
    before: Path | None

    @property
    def lacking(self) -> bool:
        """Whether something may be lacking that was there before: a person has to look."""
        return any(one.code not in _HARMLESS for one in self.findings)


def rebuild(folder: DataFolder, database_url: str, now: datetime, progress: Progress = lambda _done, _total: None) -> Rebuilt:
    """Make the catalogue anew from segments, indexes and journal. Nobody else may use the folder meanwhile: hold its lock.

    What the disk does not know is kept where the old catalogue can be read: jobs, schedules, the audit trail, when segments came
    and were checked, how often versions were read. Damaged indexes, segments that are not there and whatever else cannot be read
    are findings, and do not stop it. On return it is durable.
    Run twice, the second makes the same again.

    Raises:
        DataFolderError: it is no data folder of this release.
        StorageError: the disk or the database refused; the catalogue is as it was.
    """
    folder.check()
    if make_url(database_url).get_backend_name() == "sqlite":
        return _on_sqlite(folder, database_url, now, progress)
    database = Database(database_url)
    try:
        upgrade(database)
        with database.write("rebuild") as connection:
            learnt = rows.what_was_learnt(connection)
            rows.empty_catalogue(connection)
            work = _Rebuilding(folder, connection, now, learnt)
            work.run(progress)
        return work.outcome(None)
    finally:
        database.close()


def _on_sqlite(folder: DataFolder, database_url: str, now: datetime, progress: Progress) -> Rebuilt:
    switch = Switch(Path(make_url(database_url).database or ""))
    switch.clear()
    database = Database(f"sqlite:///{switch.new}")
    try:
        upgrade(database)
        with database.write("rebuild") as connection:
            work = _Rebuilding(folder, connection, now)
            readable = _keep_the_rest(work, switch.old)
            work.run(progress)
    except BaseException:
        database.close()
        switch.clear()
        raise
    database.close()
    try:
        if readable:
            _say_what_is_forgotten(work, switch)
            switch.refuse_while_in_use()
        return work.outcome(switch.over(now))
    finally:
        switch.clear()


def _keep_the_rest(work: _Rebuilding, old: Path) -> bool:
    """Take along what only the old catalogue knows; return whether it could be read."""
    if not old.exists():
        return False
    database = Database(f"sqlite:///{old}")
    try:
        if rows.has_no_tables(database):  # whoever looked for the lost one has made it
            database.close()
            old.unlink()
            return False
        upgrade(database)
        with work.connection.begin_nested():
            rows.copy_the_rest(database, work.connection)
        with database.read() as connection:
            work.learnt = rows.what_was_learnt(connection)
    except CatalogueBusy:
        raise
    except StorageError as error:
        message = f"The history of jobs, the schedules and the audit trail could not be kept: {error.message}"
        work.remembered.find("history_lost", old.name, message)
        return False
    finally:
        database.close()
    return True


def _say_what_is_forgotten(work: _Rebuilding, switch: Switch) -> None:
    """Name what the old catalogue knew and the disk does not tell any more: the old one is kept, nothing is thrown away."""
    before, after = Database(f"sqlite:///{switch.old}"), Database(f"sqlite:///{switch.new}")
    try:
        known = {(library, version, content) for library, version, _, content in rows.known_revisions(after)}
        lost = [one for one in rows.known_revisions(before) if (one[0], one[1], one[3]) not in known]
    except StorageError:
        return
    finally:
        before.close()
        after.close()
    for library, version, revision, _ in lost[:_TOLD]:
        message = f"{library} {version} (revision {revision}) was in the old catalogue, and the disk tells nothing of it."
        work.remembered.find("untold", f"{library} {version}", message)
    if len(lost) > _TOLD:
        work.remembered.find("untold", "metadata", f"And {len(lost) - _TOLD} more revisions that the disk tells nothing of.")


class _Rebuilding:
    """One run: reads the disk and fills an empty catalogue."""

    def __init__(self, folder: DataFolder, connection: Connection, now: datetime, learnt: rows.Learnt | None = None) -> None:
        self.learnt = learnt or rows.Learnt((), ())
        self.remembered = Remembered(folder)
        self.connection = connection
        self._folder, self._now = folder, now
        self._segments = self._objects = 0
        self._replayed = Replayed()

    def run(self, progress: Progress) -> None:
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
        self._replayed = replay(self.remembered.records, self.remembered.events)
        self._add_what_is_missed()
        rows.tell_of_segments(
            self.connection, self.learnt
        )  # before the places of a content are ordered by the time of their segments
        named = ((name, there.intersection(older)) for name, older in replaces)
        replaced = replaced_places(self.connection, [(name, older) for name, older in named if older])
        rows.newest_places_last(self.connection, replaced)
        break_circles(self.connection, READABLE_DEPTH)
        drop_replaced(self.connection, replaced, partial(can_read, self._folder))
        ReplayedRows(self._folder, self._replayed, rows.sizes_of_contents(self.connection), self._now).add(
            self.connection, self.remembered
        )
        rows.tell_of_versions(self.connection, self.learnt)
        if rows.is_empty(self.connection, Audit):
            rows.AUDITS.add(self.connection, (_audit(one) for one in audit_trail(self.remembered.events)))
        note_anew(self.connection, self._now)

    def outcome(self, before: Path | None) -> Rebuilt:
        libraries = list(self._replayed.told())
        versions = sum(sum(1 for _ in one.current()) for one in libraries)
        revisions = sum(1 for one in libraries for revision, _ in one.revisions() if revision.removed is None)
        findings = tuple(self.remembered.findings)
        return Rebuilt(len(libraries), versions, revisions, self._segments, self._objects, findings, before)

    def _add_segments(self, part: Sequence[tuple[Index, Sequence[Place]]]) -> None:
        segments = ((one.segment_sha256, one.size_bytes, len(places), self._time_of(one)) for one, places in part)
        rows.SEGMENTS.add(self.connection, segments)
        rows.OBJECTS.add(self.connection, (_place_row(place) for _, places in part for place in places))
        self._segments += len(part)
        self._objects += sum(len(places) for _, places in part)

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
        needed = {one.record.content_sha256 for library in self._replayed.told() for one, _ in library.revisions()}
        needed -= rows.sizes_of_contents(self.connection).keys()
        gone = [(one, [place for place in one.places if place.content_sha256 in needed]) for one in self.remembered.gone]
        self._add_segments([(one, places) for one, places in gone if places])


_place_row = attrgetter(*Place.__slots__)
_audit = attrgetter(*AuditRow.__slots__)
