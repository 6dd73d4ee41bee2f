"""Replay: what the disk remembers, gone through in the order of its times, tells which revisions there are. Reads nothing.

docs/reference/disk-format.md, "From records to versions", has the rules: those of models/commit.py and models/removal.py. So a
catalogue made from the disk says the same as the one that was written while it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from models.names import AliasRow
from models.rows import LIBRARY_FACTS
from storage.events import Event, Labelled, LatestHeld, Pinned, Removed, Restored, Unpinned, Void
from storage.index import VersionRecord
from storage.naming import Names, under_todays_names, without_erased
from storage.ordering import order_of

Order = tuple[int, str, datetime]
"""Where a revision stands among the versions of its library: rank and key of its version, then when it was stored."""


@dataclass(slots=True)
class Revision:
    """One revision of a version. ``removed`` is the entry that removed it, if one did and none restored it.

    ``was_current``: it was its version's current one when it was removed.
    """

    number: int
    record: VersionRecord
    order: Order
    removed: Removed | None = None
    was_current: bool = False


@dataclass(slots=True)
class _Version:
    """One version of a library. ``times`` are the times that name its revisions; ``reserved`` is the highest number given."""

    revisions: list[Revision] = field(default_factory=list)
    times: dict[datetime, Revision] = field(default_factory=dict)
    reserved: int = 0
    current: Revision | None = None


@dataclass(slots=True)
class Library:
    """What is known of a library. ``newest`` is where its newest version stands, ``latest`` what ``latest`` means."""

    library_id: str
    created_at: datetime
    updated_at: datetime
    newest: Order
    newest_version: str
    latest: str
    held: str = ""
    held_at: datetime | None = None
    facts: dict[str, str | int | float] = field(default_factory=dict)
    versions: dict[str, _Version] = field(default_factory=dict)

    def current(self) -> Iterator[Revision]:
        """Yield the revision of each version that is read, as far as it has one that is not removed."""
        return (one.current for one in self.versions.values() if one.current is not None)

    def revisions(self) -> Iterator[tuple[Revision, bool]]:
        """Yield every revision, and whether it is its version's current one."""
        for version in self.versions.values():
            for one in version.revisions:
                yield one, one is version.current


@dataclass(slots=True)
class Replayed:
    """What the disk tells. ``lost`` are removals of revisions of which there is no record any more."""

    libraries: dict[str, Library] = field(default_factory=dict)
    pins: dict[tuple[str, str], Pinned] = field(default_factory=dict)
    labels: dict[tuple[str, str], Labelled] = field(default_factory=dict)
    lost: list[Removed] = field(default_factory=list)
    aliases: list[AliasRow] = field(default_factory=list)

    def told(self) -> Iterator[Library]:
        """Yield the libraries by name, but not those of which nothing but removals is known."""
        return (one for _, one in sorted(self.libraries.items()) if one.newest_version)


@dataclass(frozen=True, slots=True)
class _Number:
    """A number that a removal tells was given, at the time that its revision was stored."""

    library_id: str
    version: str
    revision: int


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
        names = Names(events)
        left, events = without_erased(*under_todays_names(names, valid, events))
        self._found.aliases = names.aliases()
        timeline: list[tuple[datetime, VersionRecord | Removed | Restored | LatestHeld | _Number]] = [
            (one.stored_at, one) for one in left
        ]
        timeline += [(one.at, one) for one in events if isinstance(one, Removed | Restored | LatestHeld)]
        timeline += [
            (one.stored_at, _Number(one.library_id, one.version, one.revision)) for one in events if isinstance(one, Removed)
        ]
        timeline.sort(key=itemgetter(0))
        for at, one in timeline:
            self._go_on(at, one)
        for library_id in list(self._unsettled):
            self._settle(library_id)
        self._note(events)
        return self._found

    def _go_on(self, at: datetime, one: VersionRecord | Removed | Restored | LatestHeld | _Number) -> None:
        # A cleanup removes many revisions at one time: its library is settled once, as it was when it happened.
        if self._unsettled.get(one.library_id, at) != at:
            self._settle(one.library_id)
        if isinstance(one, VersionRecord):
            self._add(one)
        elif isinstance(one, _Number):
            library = self._found.libraries.get(one.library_id)
            if library is not None and one.version in library.versions:
                version = library.versions[one.version]
                version.reserved = max(version.reserved, one.revision)
            else:
                self._reserve(one, at)
        elif isinstance(one, LatestHeld):
            self._hold(one)
        else:
            self._remove(one)

    def _reserve(self, number: _Number, at: datetime) -> None:
        """Remember a number of a version of which no record is left."""
        library = self._found.libraries.get(number.library_id)
        if library is None:
            library = self._begin(number.library_id, at)
        library.versions[number.version] = _Version(reserved=number.revision)

    def _begin(self, library_id: str, at: datetime) -> Library:
        library = Library(library_id, at, at, (-1, "", at), "", "")
        self._found.libraries[library_id] = library
        return library

    def _add(self, record: VersionRecord) -> None:
        library = self._found.libraries.get(record.library_id) or self._begin(record.library_id, record.stored_at)
        version = library.versions.setdefault(record.version, _Version())
        before = version.current
        if before is not None and (before.record.content_sha256 == record.content_sha256 or record.refuse_other):
            if before.record.content_sha256 == record.content_sha256:
                version.times[record.stored_at] = before
            return
        order = order_of(record.sort_as or record.version)
        version.reserved += 1
        one = Revision(version.reserved, record, (order.rank, order.key, record.stored_at))
        version.revisions.append(one)
        version.times[record.stored_at] = one
        version.current = one
        _announce(library, one, anew=before is None)

    def _remove(self, event: Removed | Restored) -> None:
        library = self._found.libraries.get(event.library_id)
        version = library.versions.get(event.version) if library is not None else None
        one = _meant(version, event) if version is not None else None
        if one is None or library is None:
            if isinstance(event, Removed):
                self._found.lost.append(event)
            return
        one.removed = event if isinstance(event, Removed) else None
        one.was_current = one is version.current if version is not None else False
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


def _meant(version: _Version, event: Removed | Restored) -> Revision | None:
    """Return the revision that an entry names by its time; where that one never held what was removed, the last one that did."""
    named = version.times.get(event.stored_at)
    content = event.content_sha256 if isinstance(event, Removed) else ""
    if not content or (named is not None and named.record.content_sha256 == content):
        return named
    holding = (one for one in reversed(version.revisions) if one.record.content_sha256 == content and one.removed is None)
    found = next(holding, None)
    if found is not None:
        version.times[event.stored_at] = found  # what restores it names it by the same time
    return found


def _announce(library: Library, one: Revision, *, anew: bool) -> None:
    """Have a library know of a new revision; ``anew``: there was no such version."""
    if not library.newest_version:
        library.created_at = one.record.stored_at
    library.updated_at = one.record.stored_at
    if one.order >= library.newest:
        if library.held and anew and library.held_at is not None and one.record.stored_at > library.held_at:
            library.held, library.held_at = "", None
        library.newest, library.newest_version = one.order, one.record.version
        library.latest = library.held or one.record.version
        library.facts.update({name: one.record.library[name] for name in LIBRARY_FACTS if name in one.record.library})
    elif one.record.version == library.newest_version:
        _find_newest(library)


def _find_newest(library: Library) -> None:
    newest = max(library.current(), key=lambda one: one.order, default=None)
    if newest is not None:
        library.newest, library.newest_version = newest.order, newest.record.version
        library.latest = library.held or newest.record.version
