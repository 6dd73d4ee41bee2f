"""Unpacking: packs are read one after another, and what is wanted of each becomes a file, proven by its digest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from backports import zstd

from storage.backup.lists import Entry
from storage.backup.manifest import Manifest
from storage.backup.repository import Ref, Repository
from storage.backup.target import PIECE_BYTES
from storage.backup.untold import void_line
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import BackupDamaged

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Item:
    """What lies at a place of a backup, and the file that it becomes."""

    ref: Ref
    path: Path


def unpack_segments(repository: Repository, entries: Mapping[str, Entry], folder: DataFolder, progress: Progress) -> int:
    """Write the files of all these segments and their indexes; return how many bytes. Nothing is synced yet.

    A file that is there and whole is left as it is.

    Raises:
        BackupDamaged: the backup does not hold what it promised.
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    segments = (Item(entry.segment, folder.segment(name)) for name, entry in entries.items())
    indexes = (Item(entry.index, folder.index(name)) for name, entry in entries.items())
    return unpack(repository, chain(segments, indexes), progress)


def unpack(repository: Repository, items: Iterable[Item], progress: Progress) -> int:
    """Write these files, pack by pack; as ``unpack_segments``."""
    packs: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        packs[item.ref.pack].append(item)
    total, done = sum(one.ref.size_bytes for items in packs.values() for one in items), 0
    for name in sorted(packs):
        durable.step("restore: pack")
        wanted = [one for one in packs[name] if not _is_there(one)]
        if wanted:
            _unpack(_Reader(repository.pack(name)), sorted(wanted, key=lambda one: one.ref.offset))
        done += sum(one.ref.size_bytes for one in packs[name])
        progress(done, total)
    return total


def _unpack(reader: _Reader, items: Iterable[Item]) -> None:
    for one in items:
        reader.skip_to(one.ref.offset)
        digest = hashlib.sha256()
        with durable.os_errors("cannot write what is restored"), one.path.open("wb") as file:
            for piece in reader.take(one.ref.size_bytes):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != one.ref.sha256:
            one.path.unlink()
            raise BackupDamaged(f"The pack {one.ref.pack} does not hold {one.path.name} whole.", None, {"pack": one.ref.pack})


class _Reader:
    """Goes through the plain bytes of a pack once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._at = pieces, 0
        self._rest = memoryview(b"")

    def skip_to(self, offset: int) -> None:
        for _ in self.take(offset - self._at):
            pass

    def take(self, count: int) -> Iterator[memoryview]:
        while count > 0:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    return  # too few: their digest will tell
                self._rest = memoryview(piece)
            part, self._rest = self._rest[:count], self._rest[count:]
            self._at += len(part)
            count -= len(part)
            yield part


def _is_there(item: Item) -> bool:
    with durable.os_errors("cannot read what was restored before"):
        if not item.path.exists() or item.path.stat().st_size != item.ref.size_bytes:
            return False
        digest = hashlib.sha256()
        with item.path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest() == item.ref.sha256


def write_journal(repository: Repository, manifest: Manifest, path: Path) -> None:
    """Write the journal as it was, and behind it which of the versions that it tells of never came to be.

    Raises:
        BackupDamaged: a part is missing or damaged.
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    journal = manifest.journal
    if not journal.parts and not journal.untold:
        return
    with durable.os_errors("cannot write the journal"), path.open("wb") as file:
        path.chmod(0o600)
        for ref in journal.parts:
            file.write(_plain(repository, ref))
        file.writelines(void_line(one) for one in journal.untold)


def _plain(repository: Repository, ref: Ref) -> bytes:
    try:
        return zstd.decompress(repository.item(ref))
    except zstd.ZstdError as error:
        raise BackupDamaged(f"The pack {ref.pack} holds no part of the journal: {error}.", None, {"pack": ref.pack}) from error
