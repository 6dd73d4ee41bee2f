"""Packs: many items one after another in one immutable file, named by the digest of what the target keeps.

A pack is sealed, named, kept, and read back before anything says that it exists. Small items share one, since a file (or a
request) for each would cost more than its bytes. An item that is larger than a pack is one of its own, and passes in pieces.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from storage.backup.doomed import doomed_packs
from storage.backup.repository import Ref, Repository, pack_path
from storage.backup.seal import NONE
from storage.backup.target import PIECE_BYTES
from strongroom import durable
from strongroom.errors import BackupDamaged, IntegrityError, NameTaken

PACK_BYTES = 32 << 20
"""How large a pack grows: two are in memory at a time, one that fills and one that is on its way."""

SALT_BYTES = 16
"""Behind the items of a pack that needs another name than equal bytes had."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that the target keeps: its name, how many bytes that is there, and where which item lies, by its key."""

    name: str
    size_bytes: int
    items: tuple[tuple[str, Ref], ...]


class PackWriter:
    """Gathers items into packs. ``kept`` is told of each one, in the caller's thread, once it is durable and proven."""

    def __init__(self, repository: Repository, tmp: Path, kept: Callable[[Pack], None], pack_bytes: int = PACK_BYTES) -> None:
        self._repository, self._tmp, self._kept, self.pack_bytes = repository, tmp, kept, pack_bytes
        self._items: list[tuple[str, int, int, str]] = []
        self._buffer = bytearray()
        self._threads = ThreadPoolExecutor(1, "pack")
        self._on_its_way: Future[Pack] | None = None
        self._doomed: set[str] | None = None
        self.new_bytes = 0

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, key: str, data: bytes, sha256: str) -> None:
        """Add an item that is in memory.

        Raises:
            StorageError: the target refused this or an earlier pack.
        """
        self._items.append((key, len(self._buffer), len(data), sha256))
        self._buffer += data
        if len(self._buffer) >= self.pack_bytes:
            self._send()

    def add_file(self, key: str, path: Path, sha256: str, check: Callable[[int], None] = lambda _count: None) -> None:
        """Keep a large file as a pack of its own, in pieces.

        Raises:
            IntegrityError: it does not hash to ``sha256``.
            StorageError: the target refused.
        """
        self._wait()
        pack = self._keep_large(key, path, sha256, check)
        self.new_bytes += pack.size_bytes
        self._kept(pack)

    def finish(self) -> None:
        """Keep what is left. On return all items are kept and were told of."""
        if self._items:
            self._send()
        self._wait()

    def _send(self) -> None:
        self._wait()
        data, items = self._buffer, self._items
        self._buffer, self._items = bytearray(), []
        self._on_its_way = self._threads.submit(self._keep, data, items)

    def _wait(self) -> None:
        if self._on_its_way is not None:
            future, self._on_its_way = self._on_its_way, None
            pack = future.result()
            self.new_bytes += pack.size_bytes
            self._kept(pack)

    def _keep(self, data: bytearray, items: list[tuple[str, int, int, str]]) -> Pack:
        sealed = data if self._repository.seal.kind == NONE else b"".join(self._repository.seal.sealed(_cut(data)))
        name = hashlib.sha256(sealed).hexdigest()
        if not self._create(name, partial(_cut, sealed)):
            return self._keep(data + secrets.token_bytes(SALT_BYTES), items)
        return _pack(name, len(sealed), items)

    def _keep_large(self, key: str, path: Path, sha256: str, check: Callable[[int], None]) -> Pack:
        size = path.stat().st_size
        # Unsealed its bytes are the pack's: what it should hash to is the name, and reading the pack back proves both.
        plain = self._repository.seal.kind == NONE
        if plain and self._create(sha256, lambda: _proven(_read(path, check), sha256)):
            return _pack(sha256, size, [(key, 0, size, sha256)])
        sealed = self._tmp / f"{secrets.token_hex(12)}.sealed"
        try:
            name, sealed_bytes = self._seal(path, sealed, sha256, check)
            self._create(name, partial(_read, sealed))
        finally:
            sealed.unlink(missing_ok=True)
        return _pack(name, sealed_bytes, [(key, 0, size, sha256)])

    def _seal(self, path: Path, sealed: Path, sha256: str, check: Callable[[int], None]) -> tuple[str, int]:
        """Seal to a file: its name is known at the end only, and sealing again would give other bytes."""
        whole, size = hashlib.sha256(), 0
        with durable.os_errors("cannot write what is sealed"), sealed.open("wb") as file:
            salt = [secrets.token_bytes(SALT_BYTES)] if self._repository.seal.kind == NONE else []
            for piece in self._repository.seal.sealed(chain(_proven(_read(path, check), sha256), salt)):
                whole.update(piece)
                size += len(piece)
                file.write(piece)
        return whole.hexdigest(), size

    def _create(self, name: str, pieces: Callable[[], Iterable[bytes]]) -> bool:
        """Keep a pack and read it back. One of that name may be there: a run that was killed, or another one, kept it.

        Return False when that name is doomed: what has it is about to be removed, or was, so the bytes need another one.
        """
        if self._doomed is None:
            self._doomed = doomed_packs(self._repository)
        if name in self._doomed:
            return False
        try:
            self._repository.target.create(pack_path(name), pieces())
        except NameTaken:
            if name in doomed_packs(self._repository):
                return False
            try:
                self._prove(name)
            except BackupDamaged:  # it has rotted since, and here is what it should be
                self._repository.target.remove(pack_path(name))
                self._repository.target.create(pack_path(name), pieces())
            else:
                return True
        self._prove(name)
        return True

    def _prove(self, name: str) -> None:
        for _ in self._repository.stored(name):
            pass


def _pack(name: str, size_bytes: int, items: list[tuple[str, int, int, str]]) -> Pack:
    return Pack(name, size_bytes, tuple((key, Ref(name, offset, size, sha256)) for key, offset, size, sha256 in items))


def _cut(data: bytes | bytearray) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(0, len(view), PIECE_BYTES):
        yield bytes(view[at : at + PIECE_BYTES])


def _read(path: Path, check: Callable[[int], None] = lambda _count: None) -> Iterator[bytes]:
    with durable.os_errors("cannot read what is backed up"), path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            check(len(piece))
            yield piece


def _proven(pieces: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """Yield pieces, and raise at their end when they are others: whoever takes them then keeps nothing."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise IntegrityError(f"The segment {sha256} does not hash to its name.", None, {"damage": "segment_damaged"})
