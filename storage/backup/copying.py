"""Copying segments into packs: each is proven by its digest while it is read, wherever it lies by now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from models.backups import KnownSegment
from storage.backup.lists import Entry
from storage.backup.packs import PackWriter
from storage.backup.resume import Kept
from storage.backup.untold import FRESH, Records
from storage.index import check_index, parse_index
from storage.layout import DataFolder
from storage.read import DAMAGE
from storage.trash import list_trash
from strongroom import durable
from strongroom.errors import BackupDamaged, IntegrityError

Progress = Callable[[int, int], None]
"""Told now and then how many bytes of how many are copied."""


@dataclass(slots=True)
class Copying:
    """Copies segments that are not kept yet. ``damaged`` are those that could not be had whole."""

    folder: DataFolder
    packs: PackWriter
    kept: Kept
    records: Records
    progress: Progress
    total_bytes: int = 0
    done_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    _trash: dict[tuple[str, str], Path] | None = None

    def run(self, segments: Sequence[KnownSegment], since: datetime) -> None:
        """Copy them; on return everything but ``damaged`` is durable at the target.

        Raises:
            StorageError: the target or the operating system refused.
        """
        self.total_bytes = sum(one.size_bytes for one in segments)
        for one in segments:
            name = one.segment_sha256
            try:
                self._index(name, fresh=one.created_at > since - FRESH)
                self._segment(one)
            except BackupDamaged:  # of the target: nothing here is wrong
                raise
            except IntegrityError as error:
                self.damaged[name] = error.message
            self.done_bytes += one.size_bytes
            self.progress(self.done_bytes, self.total_bytes)
        self.packs.finish()

    def entry(self, segment_sha256: str) -> Entry:
        """Return where a segment was kept."""
        return Entry(self.kept.items[f"s {segment_sha256}"], self.kept.items[f"i {segment_sha256}"])

    def _segment(self, one: KnownSegment) -> None:
        name = one.segment_sha256
        if f"s {name}" in self.kept.items:
            return
        path = self._find(name, "segment")
        if one.size_bytes >= self.packs.pack_bytes:
            self.packs.add_file(f"s {name}", path, name)
            return
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != name:
            raise IntegrityError(f"The segment {name} does not hash to its name.", None, {"damage": "segment_damaged"})
        self.packs.add(f"s {name}", data, name)

    def _index(self, name: str, *, fresh: bool) -> None:
        """Copy an index; of one that was kept before it must be the same still, as others may have told it more."""
        data = _read(self._find(name, "index"))
        index = parse_index(data, name) if fresh else None
        if index is None:
            check_index(data, name)
        else:
            self.records.add(index.versions)
        digest = hashlib.sha256(data).hexdigest()
        known = self.kept.items.get(f"i {name}")
        if known is None or known.sha256 != digest:
            self.packs.add(f"i {name}", data, digest)

    def _find(self, name: str, kind: str) -> Path:
        path = self.folder.segment(name) if kind == "segment" else self.folder.index(name)
        if path.exists():
            return path
        if self._trash is None:
            self._trash = {(one.segment_sha256, one.kind): one.path for one in list_trash(self.folder)}
        return self._trash.get((name, kind), path)


def _read(path: Path) -> bytes:
    with durable.os_errors(f"cannot read {path.name}"):
        try:
            return path.read_bytes()
        except OSError as error:
            damage = DAMAGE.get(error.errno or 0)
            if damage is None:
                raise
            raise IntegrityError(f"{path.name} is {damage}.", None, {"damage": damage}) from error
