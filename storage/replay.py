"""Replay: what the disk remembers, gone through in the order of its times, tells which revisions there are. Reads nothing.

docs/reference/disk-format.md, "From records to versions", has the rules: those of models/commit.py and models/removal.py. So a
catalogue made from the disk says the same as the one that was written while it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from models.rows import LIBRARY_FACTS
from storage.events import REDACTED, Event, Labelled, LatestHeld, Pinned, Purged, Removed, Restored, Unpinned, Void
from storage.index import VersionRecord
from storage.naming import Names, under_todays_names, without_erased
from storage.ordering import order_of
from storage.replayed import Library, Replayed, Revision, Version


@dataclass(frozen=True, slots=True)
class _Number:
    """What a removal tells of the revision: its number, content, and when it was stored."""

    of: Removed


_Told = VersionRecord | Removed | Restored | Purged | LatestHeld | _Number


def replay(records: Iterable[VersionRecord], events: Sequence[Event]) -> Replayed:
    """Return what there is, from the version records of all indexes and of the journal, and the journal's other entries."""
    return _Replay().run(records, events)


class _Replay:
    def __init__(self) -> None:
        self._found = Replayed()
        self._unsettled: dict[str, datetime] = {}

    def run(self, records: Iterable[VersionRecord], events: Sequence[Event]) -> Replayed:
        void = {(one.library_id, one.version, one.stored_at, one.content_sha256) for one in events if isinstance(one, Void)}
        valid = [one for one in records if (one.library_id, one.version, one.stored_at, one.content_sha256) not in void]
        # Two contents that were erased look alike: what removed these revisions tells them apart.
        valid = [one for one in valid if one.content_sha256 != REDACTED]
        names = Names(events)
        left, events = without_erased(*under_todays_names(names, valid, events))
        self._found.aliases = names.aliases()
        timeline: list[tuple[datetime, _Told]] = [(one.stored_at, one) for one in left]
        timeline += _when_they_count(events)
        timeline += [(one.stored_at, _Number(one)) for one in events if isinstance(one, Removed)]
        timeline.sort(key=itemgetter(0))
        for at, one in timeline:
            self._go_on(at, one)
        for library_id in list(self._unsettled):
            self._settle(library_id)
        self._note(events)
        return self._found

    def _go_on(self, at: datetime, one: _Told) -> None:
        # A cleanup removes many revisions at one time: its library is settled once, as it was when it happened.
        told = one.of if isinstance(one, _Number) else one
        if self._unsettled.get(told.library_id, at) != at:
            self._settle(told.library_id)
        if isinstance(one, VersionRecord):
            self._add(one)
        elif isinstance(one, _Number):
            self._reserve(one.of)
        elif isinstance(one, LatestHeld):
            self._hold(one)
        else:
            self._take_or_give_back(one)

    def _reserve(self, removed: Removed) -> None:
        """Have a revision of which no record is left be there until it is removed, as it was: it had a number, and a place."""
        library, version = self._version(removed.library_id, removed.version, removed.stored_at)
        if removed.stored_at in version.times or removed.revision <= version.reserved:
            version.reserved = max(version.reserved, removed.revision)
            return
        record = VersionRecord(removed.library_id, removed.version, removed.content_sha256, removed.stored_at)
        self._become(library, version, record, removed.revision, hollow=True)

    def _version(self, library_id: str, version: str, at: datetime) -> tuple[Library, Version]:
        library = self._found.libraries.get(library_id)
        if library is None:
            library = Library(library_id, at, at, (-1, "", at), "", "")
            self._found.libraries[library_id] = library
        return library, library.versions.setdefault(version, Version())

    def _add(self, record: VersionRecord) -> None:
        library, version = self._version(record.library_id, record.version, record.stored_at)
        before = version.current
        if before is not None and (before.record.content_sha256 == record.content_sha256 or record.refuse_other):
            if before.record.content_sha256 == record.content_sha256:
                version.times[record.stored_at] = before
            return
        self._become(library, version, record, version.reserved + 1)

    def _become(self, library: Library, version: Version, record: VersionRecord, number: int, *, hollow: bool = False) -> None:
        order, before = order_of(record.sort_as or record.version), version.current
        one = Revision(number, record, (order.rank, order.key, record.stored_at), hollow)
        version.add(one)
        _announce(library, one, anew=before is None)

    def _take_or_give_back(self, event: Removed | Restored | Purged) -> None:
        version = self._found.version(event.library_id, event.version)
        if version is None:
            return
        if isinstance(event, Purged):
            version.purge(event)
        elif version.remove(event) if isinstance(event, Removed) else version.restore(event):
            self._unsettled[event.library_id] = event.at

    def _settle(self, library_id: str) -> None:
        del self._unsettled[library_id]
        library = self._found.libraries[library_id]
        for version in library.versions.values():
            version.current = next((one for one in reversed(version.revisions) if one.removed is None), None)
        held = library.versions.get(library.held)
        if library.held and (held is None or held.current is None):
            library.held, library.held_at = "", None
        _find_newest(library)

    def _hold(self, event: LatestHeld) -> None:
        library = self._found.libraries.get(event.library_id)
        if library is not None:
            library.held, library.held_at = event.version or "", event.at if event.version else None
            _find_newest(library)

    def _note(self, events: Sequence[Event]) -> None:
        """Pins and labels: the journal has them in the order of their commits, the last one counts."""
        for one in events:
            if isinstance(one, Pinned):
                self._found.pins.setdefault((one.library_id, one.version), one)
            elif isinstance(one, Unpinned):
                self._found.pins.pop((one.library_id, one.version), None)
            elif isinstance(one, Labelled) and one.version is not None:
                self._found.labels[one.library_id, one.label] = one
            elif isinstance(one, Labelled):
                self._found.labels.pop((one.library_id, one.label), None)


def _when_they_count(events: Sequence[Event]) -> Iterator[tuple[datetime, _Told]]:
    """Yield what changes revisions and what latest means, with the time at which each counts: most often its own.

    A clock that was set back has what is told last be of an earlier time than what it undoes. So of one revision's removals and
    returns, and of what is said of latest, none counts later than what the file tells behind it.
    """
    first: dict[tuple[object, ...], datetime] = {}
    found: list[tuple[datetime, _Told]] = []
    for one in reversed(events):
        if isinstance(one, Purged):
            found.append((one.at, one))
        elif isinstance(one, Removed | Restored | LatestHeld):
            of = (one.library_id,) if isinstance(one, LatestHeld) else (one.library_id, one.version, one.stored_at)
            first[of] = min(one.at, first.get(of, one.at))
            found.append((first[of], one))
    return reversed(found)


def _announce(library: Library, one: Revision, *, anew: bool) -> None:
    """Have a library know of a new revision; ``anew``: there was no such version."""
    library.updated_at = one.record.stored_at
    if library.empty or one.order >= library.newest:
        library.empty = False
        if library.held and anew and library.held_at is not None and one.record.stored_at > library.held_at:
            library.held, library.held_at = "", None
        library.newest, library.newest_version = one.order, one.record.version
        library.latest = library.held or one.record.version
        library.facts.update({name: one.record.library[name] for name in LIBRARY_FACTS if name in one.record.library})
    elif one.record.version == library.newest_version:
        _find_newest(library)


def _find_newest(library: Library) -> None:
    newest = max(library.current(), key=lambda one: one.order, default=None)
    library.empty = newest is None
    if newest is not None:
        library.newest, library.newest_version = newest.order, newest.record.version
        library.latest = library.held or newest.record.version
