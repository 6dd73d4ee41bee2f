"""One damaged segment as a repair sees it: what it should hold, what of that is damaged, what was found of it, who needs it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from models.catalogue import list_places, places_of
from models.database import Database
from models.mending import Holder, holders, is_known
from models.rows import Place
from models.sweeping import live_places
from storage.codecs import Encoder
from storage.damage import damage_of, plain_of
from storage.documents import Limits
from storage.fetches import Fetches, Wanted
from storage.index import Index, VersionRecord
from storage.layout import DataFolder
from storage.read import is_whole
from storage.retelling import read_if_whole, retold
from storage.sources import Recovered, Sources, forget
from strongroom.contracts import Repaired


@dataclass(frozen=True, slots=True)
class Means:
    """What a repair works with. ``by`` is ``person:NAME``, ``schedule`` or ``read``; ``now`` is when it is done."""

    folder: DataFolder
    database: Database
    encoder: Encoder
    limits: Limits
    by: str
    now: datetime
    fetches: Fetches = field(default_factory=Fetches)


@dataclass(slots=True)
class Case:
    """One damaged segment; without a name, contents that have no place at all.

    ``elsewhere`` are damaged contents that another segment of the catalogue holds whole.
    """

    means: Means
    name: str = ""
    needed: list[Place] = field(default_factory=list)
    known: list[Place] = field(default_factory=list)
    index: Index | None = None
    holders: dict[str, list[Holder]] = field(default_factory=dict)
    damage: dict[str, str] = field(default_factory=dict)
    recovered: dict[str, Recovered] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    @property
    def fresh(self) -> dict[str, Recovered]:
        """What was recovered and is needed, and what no segment of the catalogue holds whole."""
        needed = {place.content_sha256 for place in self.needed} if self.name else self.recovered.keys()
        return {content: one for content, one in sorted(self.recovered.items()) if content in needed - self.elsewhere}

    @property
    def lost(self) -> set[str]:
        """What is needed and damaged, and what no source has."""
        return {place.content_sha256 for place in self.needed} & self.damage.keys() - self.recovered.keys()

    def close(self) -> None:
        """Remove the files of what was recovered."""
        for one in self.recovered.values():
            forget(one)

    def look_at(self, place: Place, sources: Sources) -> None:
        """Note what is damaged, and look for it elsewhere."""
        damage = damage_of(self.means.folder, place)
        content = place.content_sha256
        if not damage or content in self.damage:
            return
        self.damage[content] = damage
        if any(one != place and is_whole(self.means.folder, one) for one in self._places(content)):
            self.elsewhere.add(content)
        found = sources.recover(Wanted(content, place.size_bytes, tuple(self.holders.get(content, ()))), (place,))
        if found is not None:
            self.recovered[content] = found

    def records(self, contents: Collection[str]) -> list[VersionRecord]:
        """Return what the disk should remember of the revisions that have these contents."""
        held = [one for content in sorted(contents) for one in self.holders.get(content, ())]
        return retold(self.means.folder.index(self.name), held, self._plain, self.means.limits) if held else []

    def told(self, contents: Collection[str], told: str = "") -> list[Repaired]:
        """Return the stored revisions that have these contents, and where their bytes came from."""
        return [
            Repaired(
                library_id=one.library_id,
                version=one.version,
                revision=one.revision,
                code=self.damage.get(content, ""),
                source=told or self.recovered[content].told,
            )
            for content in sorted(contents)
            for one in self.holders.get(content, ())
            if not one.removed
        ]

    def _places(self, content_sha256: str) -> list[Place]:
        with self.means.database.read() as connection:
            return places_of(connection, content_sha256)

    def _plain(self, content_sha256: str) -> Iterator[bytes] | None:
        if content_sha256 in self.recovered:
            return self.recovered[content_sha256].pieces()
        return plain_of(self.means.folder, self.means.database, content_sha256)


def open_case(means: Means, name: str) -> Case | None:
    """Return a case of a segment; None when the catalogue does not know it, or is about to be rid of it."""
    with means.database.read() as connection:
        if not is_known(connection, name):
            return None
        case = Case(means, name, live_places(connection, name), list_places(connection, name))
        for one in holders(connection, {place.content_sha256 for place in case.needed}):
            case.holders.setdefault(one.content_sha256, []).append(one)
    case.index = read_if_whole(means.folder.index(name))
    return case


def details(done: Sequence[Repaired], segment: str, kept: Path | None) -> list[tuple[str, str, dict[str, object]]]:
    """Return what the audit trail is told of repaired revisions."""
    common = {"segment": segment, "kept": kept.name if kept is not None else None}
    return [
        (one.library_id, one.version, {"revision": one.revision, "code": one.code, "from": one.source, **common}) for one in done
    ]
