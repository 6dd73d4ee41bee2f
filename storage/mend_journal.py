"""A damaged journal: what the catalogue knows and the disk tells no more is told again; damaged lines then say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from models.catalogue import list_segments
from models.curation import audited, list_labels, list_pins
from models.database import Database
from models.mending import Holder, every_holder, held_latest, library_holders, purged_rows, removed_rows
from models.names import NAMINGS
from storage.damage import plain_of
from storage.documents import Limits
from storage.events import (
    Event,
    Labelled,
    LatestHeld,
    Pinned,
    Purged,
    Removed,
    Restored,
    Unpinned,
    append_events,
    read_events,
)
from storage.index import VersionRecord
from storage.journal import overwrite_damaged
from storage.layout import DataFolder
from storage.name_events import Aliased, Renamed, Unaliased
from storage.naming import Names, under_todays_names, without_erased
from storage.quarantine import note_of
from storage.recorded import find_records
from storage.replay import replay
from storage.retelling import made_anew, read_if_whole
from storage.trail import behind, event_of
from strongroom import durable

BY = "repair"
_WHY = "a line of the journal was damaged"


def mend_journal(folder: DataFolder, database: Database, now: datetime) -> bool:
    """Mend a journal that has damaged lines; return whether none is left. The old file is copied to the quarantine first.

    Reads every index: who tells of a version must be known. What only the damaged lines told, and the catalogue does not
    know (such as who restored a version), is lost.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused; every entry that was there is there.
    """
    _keep_copy(folder, now)
    retell(folder, database, now)
    return overwrite_damaged(folder.journal) == 0


def retell(folder: DataFolder, database: Database, now: datetime) -> int:
    """Have the journal tell what the catalogue knows and the disk does not tell; return how many entries that took.

    A rebuild would lose it otherwise. Reads every index.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    told = _events(folder)
    names = _names(database, told)
    untold: list[Event | VersionRecord] = [*names, *_versions(folder, database, Names([*told, *names]))]
    said = _Said([*_events(folder), *names])  # read again: to read every index takes its time
    untold += _changes(folder, database, said, now)
    if untold:
        append_events(folder.journal, untold)
    return len(untold)


def _keep_copy(folder: DataFolder, now: datetime) -> Path:
    """Copy the journal: it lives on under its name, so that a second name would change with it."""
    with durable.os_errors("cannot copy the journal"):
        durable.make_folder(folder.quarantine, "quarantine")
        kept = folder.quarantine / f"journal.{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"
        note_of(kept, {"file": folder.relative(folder.journal), "why": _WHY, "at": now})
        with folder.journal.open("rb") as source, kept.open("wb") as target:
            durable.step("journal: copy")
            shutil.copyfileobj(source, target)
            target.flush()
            durable.fsync_file(target.fileno(), "quarantine")
        durable.fsync_folder(folder.quarantine, "quarantine")
    return kept


def _events(folder: DataFolder) -> list[Event]:
    return [event for event in read_events(folder.journal) if not isinstance(event, VersionRecord)]


def _names(database: Database, told: Sequence[Event]) -> list[Event]:
    """Return the renames and aliases that the audit trail knows and the journal does not tell."""
    with database.read() as connection:
        rows = audited(connection, NAMINGS)
    known = {one for one in told if isinstance(one, Renamed | Aliased | Unaliased)}
    events = (event_of(row) for row in rows)
    return [one for one in events if one not in known]


def _versions(folder: DataFolder, database: Database, names: Names) -> Iterator[VersionRecord]:
    """Yield a record of each revision that neither the rest of the journal nor an index tells of."""
    with database.read() as connection:
        pending: dict[tuple[str, str, datetime], Holder] = {_key(one): one for one in every_holder(connection)}
        segments = [name for name, _ in list_segments(connection)]
    for event in read_events(folder.journal):
        if isinstance(event, VersionRecord):
            pending.pop(_todays(event, names), None)
    for name in segments:
        index = read_if_whole(folder.index(name))
        for record in index.versions if index else ():
            pending.pop(_todays(record, names), None)
    for one in pending.values():
        yield made_anew(one, None, lambda content: plain_of(folder, database, content), Limits())


def _key(one: Holder) -> tuple[str, str, datetime]:
    return (one.library_id, one.version, one.stored_at)


def _todays(record: VersionRecord, names: Names) -> tuple[str, str, datetime]:
    return (names.today(record.library_id, record.stored_at), record.version, record.stored_at)


def _changes(folder: DataFolder, database: Database, said: _Said, now: datetime) -> Iterator[Event]:
    """Yield what the rest of the journal would have a rebuild do otherwise than the catalogue says."""
    with database.read() as connection:
        yield from _marks(connection, said, now)
        yield from _removals(connection, said, now)
        held = held_latest(connection)
    yield from _latest(folder, database, said, held, now)


def _marks(connection: Connection, said: _Said, now: datetime) -> Iterator[Event]:
    """Yield pins and labels."""
    for pin in list_pins(connection):
        if said.pins.pop((pin.library_id, pin.version), None) is None:
            yield Pinned(pin.library_id, pin.version, pin.at, pin.by, pin.why)
    for library_id, version in said.pins:
        yield Unpinned(library_id, version, now, BY, _WHY)
    for label in list_labels(connection):
        if said.labels.pop((label.library_id, label.label), None) != label.version:
            yield Labelled(label.library_id, label.label, label.version, label.at, label.by, label.why)
    for library_id, name in said.labels:
        yield Labelled(library_id, name, None, now, BY, _WHY)


def _latest(
    folder: DataFolder, database: Database, said: _Said, held: Mapping[str, tuple[str, datetime]], now: datetime
) -> Iterator[Event]:
    """Yield what latest means by hand. What is said now has to be later than what was said last."""
    for library_id, (version, at) in held.items():
        last = said.latest.get(library_id)
        if last is None or last.version != version:
            yield LatestHeld(library_id, version, behind(at, last.at if last else None), BY, _WHY)
    for library_id in said.latest.keys() - held.keys():
        if _would_hold(folder, database, said, library_id):
            yield LatestHeld(library_id, None, behind(now, said.latest[library_id].at), BY, _WHY)


def _would_hold(folder: DataFolder, database: Database, said: _Said, library_id: str) -> bool:
    """Whether a rebuild would hold what the catalogue does not: most often a newer version has ended that."""
    if said.latest[library_id].version is None:
        return False
    with database.read() as connection:
        holders = library_holders(connection, library_id)
    found = replay(find_records(folder, database, holders), said.of(library_id)).libraries.get(library_id)
    return found is not None and bool(found.held)


def _removals(connection: Connection, said: _Said, now: datetime) -> Iterator[Event]:
    stored = {_key(one): one for one in every_holder(connection) if not one.removed}
    for gone in removed_rows(connection):
        if said.removed.pop((gone.library_id, gone.version, gone.stored_at), None) is None:
            yield Removed(*astuple(gone))
    for key, revision, at in purged_rows(connection):
        if key not in said.purged:
            yield Purged(*key, revision, at)
    for key in said.removed.keys() & stored.keys():
        yield Restored(*key, stored[key].revision, now, BY, _WHY)


class _Said:
    """What the legible lines of a journal come to, under the names that libraries have today: as a rebuild takes them."""

    def __init__(self, told: Sequence[Event]) -> None:
        self.pins: dict[tuple[str, str], Pinned] = {}
        self.labels: dict[tuple[str, str], str] = {}
        self.removed: dict[tuple[str, str, datetime], Removed] = {}
        self.purged: set[tuple[str, str, datetime]] = set()
        self.latest: dict[str, LatestHeld] = {}
        self.names = Names(told)
        self._events = without_erased(*under_todays_names(self.names, [], told))[1]
        for event in self._events:
            self._hear(event)

    def of(self, library_id: str) -> list[Event]:
        """Return what decides which versions of a library there are, and which is its latest."""
        kinds = (Removed, Restored, LatestHeld)
        return [one for one in self._events if isinstance(one, kinds) and one.library_id == library_id]

    def _hear(self, event: Event) -> None:
        if isinstance(event, Pinned):
            self.pins[event.library_id, event.version] = event
        elif isinstance(event, Unpinned):
            self.pins.pop((event.library_id, event.version), None)
        elif isinstance(event, Labelled):
            self.labels.pop((event.library_id, event.label), None)
            if event.version is not None:
                self.labels[event.library_id, event.label] = event.version
        elif isinstance(event, Removed):
            self.removed[event.library_id, event.version, event.stored_at] = event
        elif isinstance(event, Restored):
            self.removed.pop((event.library_id, event.version, event.stored_at), None)
            self.purged.discard((event.library_id, event.version, event.stored_at))
        elif isinstance(event, Purged):
            self.purged.add((event.library_id, event.version, event.stored_at))
        elif isinstance(event, LatestHeld):
            self.latest[event.library_id] = event
