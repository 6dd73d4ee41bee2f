"""A damaged journal: what the catalogue knows and the disk tells no more is told again; damaged lines then say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from models.catalogue import list_segments
from models.curation import list_labels, list_pins
from models.database import Database
from models.mending import Holder, every_holder, held_latest, removed_rows
from storage.damage import plain_of
from storage.documents import Limits
from storage.events import Event, Labelled, LatestHeld, Pinned, Removed, Restored, Unpinned, append_events, read_events
from storage.index import VersionRecord
from storage.journal import overwrite_damaged
from storage.layout import DataFolder
from storage.quarantine import note_of
from storage.retelling import made_anew, read_if_whole
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
    untold = [*_versions(folder, database), *_changes(folder, database, now)]
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


def _versions(folder: DataFolder, database: Database) -> Iterator[VersionRecord]:
    """Yield a record of each revision that neither the rest of the journal nor an index tells of."""
    with database.read() as connection:
        pending: dict[tuple[str, str, datetime], Holder] = {_key(one): one for one in every_holder(connection)}
        segments = [name for name, _ in list_segments(connection)]
    for event in read_events(folder.journal):
        if isinstance(event, VersionRecord):
            pending.pop(_key(event), None)
    for name in segments:
        index = read_if_whole(folder.index(name))
        for record in index.versions if index else ():
            pending.pop(_key(record), None)
    for one in pending.values():
        yield made_anew(one, None, lambda content: plain_of(folder, database, content), Limits())


def _key(one: Holder | VersionRecord) -> tuple[str, str, datetime]:
    return (one.library_id, one.version, one.stored_at)


def _changes(folder: DataFolder, database: Database, now: datetime) -> Iterator[Event]:
    """Yield what the rest of the journal would have a rebuild do otherwise than the catalogue says."""
    said = _Said(folder)
    with database.read() as connection:
        yield from _marks(connection, said, now)
        yield from _removals(connection, said, now)


def _marks(connection: Connection, said: _Said, now: datetime) -> Iterator[Event]:
    """Yield pins, labels and what latest means by hand."""
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
    for library_id, (version, at) in held_latest(connection).items():
        if said.latest.pop(library_id, None) != version:
            yield LatestHeld(library_id, version, at, BY, _WHY)
    for library_id in said.latest:
        yield LatestHeld(library_id, None, now, BY, _WHY)


def _removals(connection: Connection, said: _Said, now: datetime) -> Iterator[Event]:
    stored = {_key(one): one for one in every_holder(connection) if not one.removed}
    for gone in removed_rows(connection):
        if said.removed.pop((gone.library_id, gone.version, gone.stored_at), None) is None:
            yield Removed(*astuple(gone))
    for key in said.removed.keys() & stored.keys():
        yield Restored(*key, stored[key].revision, now, BY, _WHY)


class _Said:
    """What the legible lines of a journal come to."""

    def __init__(self, folder: DataFolder) -> None:
        self.pins: dict[tuple[str, str], Pinned] = {}
        self.labels: dict[tuple[str, str], str] = {}
        self.removed: dict[tuple[str, str, datetime], Removed] = {}
        self.latest: dict[str, str] = {}
        for event in read_events(folder.journal):
            self._hear(event)

    def _hear(self, event: Event | VersionRecord) -> None:
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
        elif isinstance(event, LatestHeld):
            self.latest.pop(event.library_id, None)
            if event.version is not None:
                self.latest[event.library_id] = event.version
