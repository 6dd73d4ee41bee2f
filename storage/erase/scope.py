"""The scope of an erasure: what it means, and up to when; what was stored afterwards under the same name is another thing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.backup.repository import Repository
from storage.erase.note import Note, Target
from storage.events import Event, read_events
from storage.index import VersionRecord
from storage.library_events import Erased, ErasedFromBackups
from storage.naming import Names


@dataclass(frozen=True, slots=True)
class Scope:
    """Libraries and versions, by their names of today, each with the time up to which what is told of it is meant.

    ``since``: when one of the contents was first stored, as far as that is known: what was written before then holds none.
    """

    ends: Mapping[Target, datetime]
    names: Names
    since: datetime | None = None

    def target_of(self, library_id: str, version: str | None, at: datetime) -> Target | None:
        """Return what of the scope this is a part of: something that was told at that time, under the name of that time."""
        return self.target_now(self.names.today(library_id, at), version, at)

    def target_now(self, library_id: str, version: str | None, at: datetime) -> Target | None:
        """Return the same of what the catalogue tells: under the name of today."""
        for target in ((library_id, None), (library_id, version)):
            if target in self.ends and at <= self.ends[target]:
                return target
        return None

    def ids(self) -> set[str]:
        """Return every id under which something of it may be told."""
        return {name for library_id, _ in self.ends for name in self.names.ever(library_id)}


def names_told(journal: Path) -> Names:
    """Return what a journal tells of names."""
    return Names(_told(journal))


def _told(journal: Path) -> list[Event]:
    return [one for one in read_events(journal) if not isinstance(one, VersionRecord)]


def scope_of(note: Note, names: Names) -> Scope:
    """Return what an erasure means that is under way."""
    return Scope(dict.fromkeys(note.targets, note.at), names, note.since)


def pending_scope(journal: Path, repository: Repository, only: Collection[Target] | None = None) -> Scope:
    """Return what was erased from a data folder and not yet from the backups in this repository; of these targets, or of all.

    A repository that somebody copied has the same id elsewhere, and what was done to one is not done to the other.
    ``since`` goes by all of it: another library may have had the same contents before, and its records are gone by now.
    """
    events = _told(journal)
    names, here = Names(events), (repository.repository_id, repository.target.url)
    ends: dict[Target, datetime] = {}
    since: dict[Target, datetime | None] = {}
    for one in events:
        if not isinstance(one, Erased | ErasedFromBackups):
            continue
        target = (names.today(one.library_id, one.at), one.version)
        if isinstance(one, Erased):
            before = [since[target]] if target in ends else []
            ends[target] = max(one.at, ends.get(target, one.at))
            since[target] = _first([*before, one.since])
        elif (one.repository_id, one.place) == here and target in ends and ends[target] <= one.until:
            del ends[target], since[target]
    meant = ends if only is None else {target: end for target, end in ends.items() if target in only}
    return Scope(meant, names, _first(since.values()))


def _first(times: Collection[datetime | None]) -> datetime | None:
    known = [one for one in times if one is not None]
    return min(known, default=None) if len(known) == len(times) else None
