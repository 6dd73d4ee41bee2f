"""The items of backups, read for what they tell. None is read twice, and an index that lies here as well not from far away."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backports import zstd

from storage.backup.lists import Entry, entries_in
from storage.backup.repository import Ref, Repository
from storage.backup.seal import NONE
from storage.erase.tales import Tale, Telling
from storage.layout import DataFolder
from strongroom.errors import BackupDamaged

JOURNAL, INDEX = "journal", "index "


@dataclass(slots=True)
class Items:
    """Items of the backups in one repository."""

    repository: Repository
    folder: DataFolder
    telling: Telling
    _tales: dict[Ref, Tale] = field(default_factory=dict)
    _entries: dict[Ref, list[Entry]] = field(default_factory=dict)

    def entries(self, ref: Ref) -> list[Entry]:
        """Return the entries of a list's item, those too that a later item takes away.

        Raises:
            BackupDamaged: its pack is missing or damaged.
        """
        if ref not in self._entries:
            self._entries[ref] = list(entries_in(self.repository, ref))
        return self._entries[ref]

    def is_here(self, segment_sha256: str) -> bool:
        """Whether the data folder has a segment."""
        return self.folder.index(segment_sha256).exists()

    def tales(self, wanted: Iterable[tuple[Ref, str]]) -> Iterator[tuple[Ref, Tale | None]]:
        """Yield what items tell, given what each is: ``index SEGMENT``, ``journal`` or a table; None where one cannot be read.

        Raises:
            StorageError: the target does not answer.
        """
        far = defaultdict[str, list[tuple[Ref, str]]](list)
        for ref, what in wanted:
            if ref not in self._tales and (data := self._here(ref, what)) is not None:
                self._tales[ref] = self.telling.of_index(data)
            if ref in self._tales:
                yield ref, self._tales[ref]
            else:
                far[ref.pack].append((ref, what))
        for pack in sorted(far):
            for ref, tale in self._of_pack(pack, far[pack]):
                if tale is not None:
                    self._tales[ref] = tale
                yield ref, tale

    def _here(self, ref: Ref, what: str) -> bytes | None:
        """Return an index as it lies in the data folder, if that is the same one."""
        if not what.startswith(INDEX):
            return None
        try:
            data = self.folder.index(what.removeprefix(INDEX)).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == ref.sha256 else None

    def _of_pack(self, pack: str, wanted: list[tuple[Ref, str]]) -> Iterator[tuple[Ref, Tale | None]]:
        """Read some items of a pack. What is sealed is opened from its beginning: so once for all of them."""
        whole: bytes | None = None
        try:
            if self.repository.seal.kind != NONE and len(wanted) > 1:
                whole = b"".join(self.repository.pack(pack))
        except BackupDamaged:
            yield from ((ref, None) for ref, _ in wanted)
            return
        for ref, what in wanted:
            try:
                yield ref, self._tale(self.repository.item(ref) if whole is None else _cut(whole, ref), what)
            except (BackupDamaged, ValueError, KeyError, TypeError, AttributeError, zstd.ZstdError):
                yield ref, None

    def _tale(self, data: bytes, what: str) -> Tale:
        if what.startswith(INDEX):
            return self.telling.of_index(data)
        lines = zstd.decompress(data)
        return self.telling.of_journal(lines) if what == JOURNAL else self.telling.of_rows(what, lines)


def _cut(whole: bytes, ref: Ref) -> bytes:
    data = whole[ref.offset : ref.offset + ref.size_bytes]
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise BackupDamaged(f"The pack {ref.pack} is damaged.", None, {"pack": ref.pack})
    return data
