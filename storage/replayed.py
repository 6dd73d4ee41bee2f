"""What a replay of records and journal has found: libraries, their versions, each revision, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from models.names import AliasRow
from storage.events import Labelled, Pinned, Purged, Removed, Restored
from storage.index import VersionRecord

Order = tuple[int, str, datetime]
"""Where a revision stands among the versions of its library: rank and key of its version, then when it was stored."""


@dataclass(slots=True)
class Revision:
    """One revision of a version. ``removed`` is the entry that removed it, if one did and none restored it.

    ``was_current``: it was its version's current one when it was removed. ``purged``: since then it cannot be restored;
    ``forgotten``: nor does its number have to be kept any more. ``hollow``: its record is gone, and what removed it tells of it.
    """

    number: int
    record: VersionRecord
    order: Order
    hollow: bool = False
    removed: Removed | None = None
    was_current: bool = False
    purged: datetime | None = None
    forgotten: bool = False


@dataclass(slots=True)
class Version:
    """One version of a library. ``times`` are the times that name its revisions; ``reserved`` is the highest number given."""

    revisions: list[Revision] = field(default_factory=list)
    times: dict[datetime, Revision] = field(default_factory=dict)
    reserved: int = 0
    current: Revision | None = None

    def add(self, one: Revision) -> None:
        """Add the newest revision."""
        self.reserved = one.number
        self.revisions.append(one)
        self.times[one.record.stored_at] = one
        self.current = one

    def remove(self, event: Removed) -> bool:
        """Remove what the entry means; return whether that changes anything. Said twice, the first counts."""
        one = self._meant(event)
        if one is None or one.removed is not None:
            return False
        one.removed, one.was_current = event, one is self.current
        return True

    def restore(self, event: Restored) -> bool:
        """Bring back what the entry means; return whether there is such a revision."""
        one = self.times.get(event.stored_at)
        if one is None:
            return False
        one.removed, one.purged, one.forgotten = None, None, False
        return True

    def purge(self, event: Purged) -> None:
        """Give up what the entry means, as models/sweeping.py does: of what was given up only the highest number is kept."""
        one = self.times.get(event.stored_at)
        if one is not None and one.removed is not None:
            one.purged = event.at
        for purged in (other for other in self.revisions if other.purged is not None):
            purged.forgotten = purged.number < self.reserved

    def _meant(self, event: Removed) -> Revision | None:
        """Return the revision that an entry names by its time; where that one never held what was removed, the last that did."""
        named = self.times.get(event.stored_at)
        content = event.content_sha256
        if not content or (named is not None and named.record.content_sha256 == content):
            return named
        holding = (one for one in reversed(self.revisions) if one.record.content_sha256 == content and one.removed is None)
        found = next(holding, None)
        if found is not None:
            self.times[event.stored_at] = found  # what restores it names it by the same time
        return found


@dataclass(slots=True)
class Library:
    """What is known of a library. ``newest`` is where its newest version stands, ``latest`` what ``latest`` means.

    ``empty``: every version is removed, and these are of what there was.
    """

    library_id: str
    created_at: datetime
    updated_at: datetime
    newest: Order
    newest_version: str
    latest: str
    empty: bool = True
    held: str = ""
    held_at: datetime | None = None
    facts: dict[str, str | int | float] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)

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
    """What the disk tells."""

    libraries: dict[str, Library] = field(default_factory=dict)
    pins: dict[tuple[str, str], Pinned] = field(default_factory=dict)
    labels: dict[tuple[str, str], Labelled] = field(default_factory=dict)
    aliases: list[AliasRow] = field(default_factory=list)

    def told(self) -> Iterator[Library]:
        """Yield the libraries by name."""
        return (one for _, one in sorted(self.libraries.items()))

    def version(self, library_id: str, version: str) -> Version | None:
        """Return a version, if it is known."""
        library = self.libraries.get(library_id)
        return None if library is None else library.versions.get(version)
