"""Packs that hold something of what is erased, or may, and so the backups that do: by what these tell of themselves.

A pack is clean when every byte of it is accounted for and nothing of that tells of what is erased. Bytes that no list names were
those of a removed backup, and nobody knows what they are; only a pack that is older than all that is erased is clean even so,
as long as nothing says that a clock was wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models.database import Database
from models.mending import holders
from storage.backup.manifest import Manifest, Unusable, manifest_path, manifests
from storage.backup.packs import SALT_BYTES, Pack
from storage.backup.repository import BACKUPS, PACKS, Ref, Repository
from storage.backup.resume import noted_packs
from storage.backup.target import Stored
from storage.erase.items import INDEX, JOURNAL, Items
from storage.erase.scope import Scope
from storage.erase.tales import Tale, Telling
from storage.events import REDACTED
from storage.layout import DataFolder
from strongroom.errors import BackupDamaged

_TELLS, _LOST, _UNKNOWN = "with something of it", "that cannot be read", "with bytes that no list tells of"
SLACK = timedelta(days=1)
"""How far the clock of a target may be from the one by which documents were stored."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found at a place. ``holding``: packs that hold something of it, or may, and why; ``going``: backups likewise.

    ``unusable`` are backups whose manifests nobody can use, ``noted`` packs of runs that did not come to their end.
    """

    manifests: tuple[Manifest, ...]
    unusable: Mapping[str, str]
    packs: Mapping[str, Stored]
    holding: Mapping[str, str]
    going: Mapping[str, str]
    noted: Set[str]

    def needed(self, without: Collection[str]) -> set[str]:
        """Return the packs that backups need, but for these backups."""
        return {name for one in self.manifests if one.backup_id not in without for name in one.packs}


@dataclass(slots=True)
class Survey:
    """Looks at the backups in a repository, any number of times. ``contents``: digests that must not stand there, besides."""

    repository: Repository
    folder: DataFolder
    database: Database
    scope: Scope
    contents: Collection[str] = ()
    _items: Items = field(init=False)

    def __post_init__(self) -> None:
        self._items = Items(self.repository, self.folder, Telling(self.scope))

    def run(self) -> Surveyed:
        """Look at lists, indexes, journals and dumps of all backups, and at what packs there are. Changes nothing.

        Raises:
            StorageError: the target does not answer.
        """
        noted = noted_packs(self.folder, self.repository)
        every = dict(manifests(self.repository))
        packs = {one.name.rpartition("/")[2]: one for one in self.repository.target.names(PACKS)}
        usable = tuple(one for one in every.values() if isinstance(one, Manifest))
        named = _Named(self._items)
        for one in usable:
            named.add_backup(one)
        for pack in noted:
            named.add_pack(pack)
        tales = dict(self._items.tales(named.readable.items()))
        gone = self._gone(tales.values())
        telling = dict(_telling(named, tales, gone))
        since = self._since(usable, [packs[name].at for name, said in telling.items() if said == _TELLS and name in packs])
        holding = {**self._unknown(named, packs, since), **telling, **dict.fromkeys(named.lost, _LOST)}
        holding = {name: said for name, said in holding.items() if name in packs}
        going = {one.backup_id: said for one in usable if (said := self._why(one, holding, gone))}
        return Surveyed(usable, _said(every), packs, holding, going, {one.name for one in noted})

    def _gone(self, tales: Iterable[Tale | None]) -> set[bytes]:
        """Return the contents that are to be nowhere: of what is erased, those that nothing else here needs."""
        told = {one for tale in tales if tale is not None for one in tale.contents}
        told |= set(map(bytes.fromhex, self.contents))
        with self.database.read() as connection:
            found = holders(connection, {one.hex() for one in told})
        for one in found:
            if self.scope.target_now(one.library_id, one.version, one.stored_at) is None:
                told.discard(bytes.fromhex(one.content_sha256))
        return told

    def _since(self, usable: Iterable[Manifest], telling: Iterable[datetime]) -> datetime | None:
        """Return since when packs may hold some of it; None: since ever, as far as anybody can tell by clocks.

        ``telling`` are the times of packs that do. One from before it was stored, or a manifest that is not as old at the target
        as it says itself, and some clock was wrong.
        """
        since = self.scope.since
        written = {one.name: one.at for one in self.repository.target.names(BACKUPS)} if since is not None else {}
        apart = (abs(one.finished_at - written.get(manifest_path(one.backup_id), one.finished_at)) for one in usable)
        if since is None or any(at < since - SLACK for at in telling) or any(one > SLACK for one in apart):
            return None
        return since

    def _unknown(self, named: _Named, packs: Mapping[str, Stored], since: datetime | None) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, known in named.extents.items():
            stored = packs.get(name)
            if stored is None or (since is not None and stored.at < since - SLACK):
                continue
            if self._plain_bytes(stored) - _covered(known) > SALT_BYTES:
                found[name] = _UNKNOWN
        return found

    def _why(self, manifest: Manifest, holding: Mapping[str, str], gone: Set[bytes]) -> str:
        """Return why a backup holds something of it, or may; empty: it does not."""
        untold = manifest.journal.untold
        if any(self.scope.target_of(one.library_id, one.version, one.stored_at) for one in untold):
            return "Its manifest tells of it."
        if any(bytes.fromhex(one.content_sha256) in gone for one in untold if one.content_sha256 != REDACTED):
            return "Its manifest names a content of it."
        mine = [holding[name] for name in manifest.packs if name in holding]
        said = (f"{mine.count(one)} of {len(manifest.packs)} packs {one}" for one in sorted(set(mine), reverse=True))
        return f"{', '.join(said)}." if mine else ""

    def _plain_bytes(self, stored: Stored) -> int:
        try:
            return self.repository.plain_bytes(stored.name.rpartition("/")[2], stored.size_bytes)
        except BackupDamaged:
            return stored.size_bytes


class _Named:
    """What backups and noted packs name: which bytes of which pack, and what these are."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.extents = defaultdict[str, set[tuple[int, int]]](set)
        self.readable: dict[Ref, str] = {}
        self.segments = defaultdict[str, set[str]](set)
        """The packs in which a segment lies."""
        self.indexes = defaultdict[str, set[Ref]](set)
        self.here: set[str] = set()
        """Segments of noted packs that the data folder has: from there what is erased is gone."""
        self.lost: set[str] = set()
        """Packs of which a list cannot be read."""

    def add_backup(self, manifest: Manifest) -> None:
        for name in manifest.packs:
            self.extents[name] |= set()
        for ref in (ref for part in manifest.lists for ref in part.refs):
            self._add(ref)
            try:
                for entry in self._items.entries(ref):
                    self._add_segment(entry.name, entry.segment)
                    self._add_index(entry.name, entry.index)
            except BackupDamaged:
                self.lost.add(ref.pack)
        for ref in manifest.journal.parts:
            self._add(ref, JOURNAL)
        for dump in manifest.rows:
            self._add(dump.ref, dump.table)

    def add_pack(self, pack: Pack) -> None:
        for key, ref in pack.items:
            kind, _, name = key.partition(" ")
            if kind == "s":
                self._add_segment(name, ref)
                if self._items.is_here(name):
                    self.here.add(name)
            elif kind == "i":
                self._add_index(name, ref)
            else:  # a list, whose number is all that follows; or a piece of the journal or of a table
                self._add(ref, name.partition(" ")[2])

    def _add_segment(self, name: str, ref: Ref) -> None:
        self._add(ref)
        self.segments[name].add(ref.pack)

    def _add_index(self, name: str, ref: Ref) -> None:
        self._add(ref, f"{INDEX}{name}")
        self.indexes[name].add(ref)

    def _add(self, ref: Ref, what: str = "") -> None:
        self.extents[ref.pack].add((ref.offset, ref.size_bytes))
        if what:
            self.readable[ref] = what


def _telling(named: _Named, tales: Mapping[Ref, Tale | None], gone: Set[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the packs in which something lies that tells of what is erased, or of which nobody knows what it tells."""
    for ref, tale in tales.items():
        if tale is None or tale.tells(gone):
            yield ref.pack, _LOST if tale is None else _TELLS
    for name, packs in named.segments.items():
        mine = [tales[ref] for ref in named.indexes[name]]
        if (not mine and name not in named.here) or any(tale is None or tale.names_any(gone) for tale in mine):
            yield from ((pack, _TELLS if mine else _UNKNOWN) for pack in packs)


def _covered(extents: Iterable[tuple[int, int]]) -> int:
    """Return how many bytes are in at least one extent."""
    total = end = 0
    for offset, size in sorted(extents):
        total += max(0, offset + size - max(end, offset))
        end = max(end, offset + size)
    return total


def _said(every: Mapping[str, Manifest | Unusable]) -> dict[str, str]:
    return {backup_id: one.message for backup_id, one in every.items() if not isinstance(one, Manifest)}
