"""Unpacking: packs are read from end to end, two at a time, and what is wanted of each becomes a file, proven by its digest."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Event

from backports import zstd

from storage.backup.lists import Entry
from storage.backup.manifest import Manifest
from storage.backup.repository import Ref, Repository, pack_path
from storage.backup.target import PIECE_BYTES
from storage.backup.untold import void_line
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import BackupDamaged, NotFound

Progress = Callable[[int, int], None]
_AT_ONCE = 2
"""Packs that are unpacked at a time: while one is hashed, which leaves the interpreter to others, another is read and written."""


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
    waiting, under_way = deque(sorted(packs)), deque[tuple[Future[None], int]]()
    unpacking = _Unpacking(repository)
    with ThreadPoolExecutor(_AT_ONCE, "unpack") as threads:
        try:
            while waiting or under_way:
                if waiting and len(under_way) < _AT_ONCE:
                    durable.step("restore: pack")
                    name = waiting.popleft()
                    size = sum(one.ref.size_bytes for one in packs[name])
                    under_way.append((threads.submit(unpacking.run, name, packs[name]), size))
                    continue
                future, size = under_way.popleft()
                future.result()
                done += size
                progress(done, total)
        finally:
            unpacking.stopped.set()  # whatever went wrong is not to wait for the rest of a pack
    return total


class _Stopped(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """What threads do with packs until they are ``stopped``."""

    repository: Repository
    stopped: Event = field(default_factory=Event)

    def run(self, name: str, items: Sequence[Item]) -> None:
        wanted = sorted((one for one in items if not _is_there(one)), key=lambda one: one.ref.offset)
        if not wanted:
            return
        reader = _Reader(self._pieces(name))
        for one in wanted:
            reader.skip_to(one.ref.offset)
            digest = hashlib.sha256()
            with durable.os_errors("cannot write what is restored"), one.path.open("wb") as file:
                for piece in reader.take(one.ref.size_bytes):
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != one.ref.sha256:
                one.path.unlink()
                raise BackupDamaged(f"The pack {name} does not hold {one.path.name} whole.", None, {"pack": name})

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield the plain bytes of a pack. It is not hashed as a whole: each item is, and nothing else of it is used."""
        repository = self.repository
        try:
            for piece in repository.seal.opened(repository.read(pack_path(name))):
                if self.stopped.is_set():
                    raise _Stopped
                yield piece
        except NotFound:
            raise BackupDamaged(f"The pack {name} is missing from {repository.target.url}.", None, {"pack": name}) from None


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
