"""Writing what leads to the copied segments: lists, rows, the journal's part, and the manifest that names all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.migrate import HEAD
from storage.backup.copying import Copying
from storage.backup.lists import PARTS_AT_MOST, Entry, ListWriter, read_lists
from storage.backup.manifest import Counts, Dump, Journal, Manifest, Part
from storage.backup.packs import Pack, PackWriter
from storage.backup.repository import Ref, Repository
from storage.backup.resume import Kept
from storage.backup.snapshot import JOURNAL, Piece, Snapshot, spooled
from storage.backup.waste import BASE, base_of

EXCLUDED = {
    "documentation": "derived: made again from the segments",
    "processed": "derived: made again from the documents",
    "trash": "removed for good when its grace period is over",
    "quarantine": "damaged files, kept for people",
    "inbox": "accepted jobs that had not been done: their producers' outboxes and sources have them",
    "active jobs": "they are nobody's in another folder",
}


@dataclass(slots=True)
class Basis:
    """What an incremental backup builds on. ``entries`` are read only where they are needed."""

    parent: Manifest | None
    entries: dict[str, Entry] | None = None

    @property
    def anew(self) -> bool:
        """Whether the chain behind the parent has become so long that everything but segments is written as a whole."""
        return self.parent is not None and len(self.parent.lists) >= PARTS_AT_MOST


@dataclass(slots=True)
class Writing:
    """Writes into packs of their own: what is read first does not lie among the documents' bytes."""

    repository: Repository
    tmp: Path
    kept: Kept
    pack_bytes: int
    refs: dict[str, Ref] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def manifest(self, backup_id: str, basis: Basis, snapshot: Snapshot, copying: Copying, spool: Path) -> Manifest:
        """Return the manifest of a backup. All that it names is durable and was read back."""
        parent = basis.parent
        entries: Iterable[Entry] = [copying.entry(one.segment_sha256) for one in snapshot.segments]
        copied = {ref.pack for one in entries for ref in (one.segment, one.index)}
        gone: Iterable[str] = snapshot.gone
        if parent is not None and basis.anew:
            entries, gone = self._all(basis, entries, gone), []
        with PackWriter(self.repository, self.tmp, self._keep, self.pack_bytes) as packs:
            lists = ListWriter(packs)
            lists.add(entries, gone)
            for number, piece in enumerate(snapshot.pieces):
                packs.add(_key(number, piece), spooled(spool, piece), piece.sha256)
            packs.finish()
        part = lists.part(snapshot.as_of, self.refs)
        before = () if parent is None or basis.anew else parent.lists
        parts = (*before, part) if part.refs else before
        return self._manifest(backup_id, basis, snapshot, parts, copied, entries if basis.anew else ())

    def _all(self, basis: Basis, entries: Iterable[Entry], gone: Iterable[str]) -> list[Entry]:
        assert basis.parent is not None
        known = dict(basis.entries or read_lists(self.repository, basis.parent.lists))
        for name in gone:
            known.pop(name, None)
        return list({**known, **{one.name: one for one in entries}}.values())

    def _manifest(
        self,
        backup_id: str,
        basis: Basis,
        snapshot: Snapshot,
        lists: tuple[Part, ...],
        copied: set[str],
        listed: Iterable[Entry],
    ) -> Manifest:
        parent = basis.parent
        journal, rows = self._journal(parent, snapshot), self._rows(parent, snapshot)
        sizes = {**(parent.packs if parent else {}), **self.kept.packs, **self.sizes}
        named = {ref.pack for part in lists for ref in part.refs} | {ref.pack for ref in journal.parts}
        named |= {one.ref.pack for one in rows} | copied
        named |= {ref.pack for one in listed for ref in (one.segment, one.index)}
        if parent is not None and not basis.anew:
            named |= parent.packs.keys()
        counts, packs = Counts(**asdict(snapshot.counts)), {name: sizes[name] for name in sorted(named)}
        return Manifest(
            backup_id=backup_id,
            kind="full" if parent is None else "incremental",
            parent=parent.backup_id if parent else None,
            as_of=snapshot.as_of,
            finished_at=snapshot.as_of,
            schema=HEAD,
            counts=counts,
            packs=packs,
            lists=lists,
            journal=journal,
            rows=rows,
            change=snapshot.change,
            removed=len(snapshot.gone),
            new_segments=len(snapshot.segments),
            excluded=EXCLUDED,
            new_bytes=sum(sizes[name] for name in named - (parent.packs.keys() if parent else set())),
            seconds=0.0,
            marks={**snapshot.marks, BASE: base_of(parent, packs, counts)},
        )

    def _journal(self, parent: Manifest | None, snapshot: Snapshot) -> Journal:
        before = () if parent is None or snapshot.journal_anew else parent.journal.parts
        parts = tuple(ref for _, ref in self._pieces(snapshot, journal=True))
        return Journal((*before, *parts), snapshot.journal_offset, snapshot.journal_tail, tuple(snapshot.untold))

    def _rows(self, parent: Manifest | None, snapshot: Snapshot) -> tuple[Dump, ...]:
        dumped = [Dump(piece.what, piece.whole, ref, piece.rows) for piece, ref in self._pieces(snapshot, journal=False)]
        whole = {one.table for one in dumped if one.whole}
        return (*(one for one in (parent.rows if parent else ()) if one.table not in whole), *dumped)

    def _pieces(self, snapshot: Snapshot, *, journal: bool) -> list[tuple[Piece, Ref]]:
        numbered = enumerate(snapshot.pieces)
        return [(piece, self.refs[_key(number, piece)]) for number, piece in numbered if (piece.what == JOURNAL) is journal]

    def _keep(self, pack: Pack) -> None:
        self.kept.keep(pack)
        self.refs.update(pack.items)
        self.sizes[pack.name] = pack.size_bytes


def _key(number: int, piece: Piece) -> str:
    return f"piece {number:06} {piece.what}"
