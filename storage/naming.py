"""What libraries are called today: records and entries stay as they were written, under the names of their time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from models.names import AliasRow
from storage.events import Event, Told, Void
from storage.index import VersionRecord
from storage.library_events import Erased
from storage.name_events import Aliased, Naming, Renamed, Unaliased

_MOMENT = timedelta(microseconds=1)


class Names:
    """What the journal tells of names."""

    def __init__(self, events: Iterable[Event]) -> None:
        told = [one for one in events if isinstance(one, Renamed | Aliased | Unaliased)]
        self._told: list[Naming] = sorted(told, key=lambda one: one.at)

    def __bool__(self) -> bool:
        return bool(self._told)

    def today(self, library_id: str, at: datetime) -> str:
        """Return what the library is called now that this name meant at that time.

        A store that a rename overtook has written the old name at a time when it was an alias already.
        """
        current = library_id
        for one in self._told:
            if isinstance(one, Renamed):
                if one.library_id == current:
                    current = one.to
                elif one.to == library_id and one.at <= at:
                    current = library_id
            elif one.alias == library_id and one.at <= at:
                current = one.library_id if isinstance(one, Aliased) else library_id
        return current

    def ever(self, library_id: str) -> set[str]:
        """Return everything that a library was ever called."""
        renamed = (one for one in self._told if isinstance(one, Renamed))
        former = {one.library_id for one in renamed if self.today(one.library_id, one.at - _MOMENT) == library_id}
        return {library_id, *former}

    def aliases(self) -> list[AliasRow]:
        """Return the names that mean a library now and are no library's own."""
        found: dict[str, AliasRow] = {}
        for one in self._told:
            if isinstance(one, Renamed):
                for other in [row for row in found.values() if row.library_id == one.library_id]:
                    found[other.alias] = replace(other, library_id=one.to)
                found.pop(one.to, None)
                found[one.library_id] = AliasRow(one.library_id, one.to, one.at, one.by, one.why)
            elif isinstance(one, Aliased):
                found[one.alias] = AliasRow(one.alias, one.library_id, one.at, one.by, one.why)
            else:
                found.pop(one.alias, None)
        return [row for _, row in sorted(found.items())]


def under_todays_names(
    names: Names, records: Sequence[VersionRecord], events: Sequence[Event]
) -> tuple[list[VersionRecord], list[Event]]:
    """Return records and entries with the ids that their libraries have now."""
    if not names:
        return list(records), list(events)
    told = [replace(one, library_id=names.today(one.library_id, one.stored_at)) for one in records]
    kept = (one for one in events if not isinstance(one, Void | Renamed | Aliased | Unaliased))
    return told, [replace(one, library_id=names.today(one.library_id, one.at)) for one in kept]


def without_erased(records: Sequence[VersionRecord], events: Sequence[Event]) -> tuple[Sequence[VersionRecord], Sequence[Event]]:
    """Leave out what was erased: a crash may have come before it was gone from the disk, or a backup brought it back."""
    ends: dict[tuple[str, str | None], datetime] = {}
    for one in events:
        if isinstance(one, Erased):
            ends[one.library_id, one.version] = max(one.at, ends.get((one.library_id, one.version), one.at))
    if not ends:
        return records, events

    def is_left(library_id: str, version: str | None, at: datetime) -> bool:
        return not any(key in ends and at <= ends[key] for key in ((library_id, None), (library_id, version)))

    left = [one for one in records if is_left(one.library_id, one.version, one.stored_at)]
    return left, [one for one in events if isinstance(one, Void | Told) or is_left(one.library_id, one.version, one.at)]
