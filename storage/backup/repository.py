"""A repository: a target that holds backups, who made it, and how what it keeps is sealed."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from storage.backup.seal import HEAD_BYTES, NONE, Seal
from storage.backup.target import Target, prove
from strongroom.errors import BackupDamaged, BackupError, BackupKeyError, NameTaken, NotFound, StorageError

FORMAT = 1
MARK = "strongroom-backup.json"
PACKS, BACKUPS = "packs/", "backups/"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST = (1 << 62) - 1
_NONE_THERE = (
    "Is its name right, and its disk mounted? Those of a data folder lie in its folder `backups`, if nothing else was set. "
    "`strongroom backup create` makes the first."
)


@dataclass(frozen=True, slots=True)
class Ref:
    """Where bytes lie: ``size_bytes`` of them from ``offset`` on in the plain bytes of a pack, and what they hash to."""

    pack: str
    offset: int
    size_bytes: int
    sha256: str


def ref_of(pack: object, offset: object, size_bytes: object, sha256: object) -> Ref:
    """Return a place as it was read: who can write to the target must choose no path, and nothing that is no number.

    Raises:
        ValueError: it is no place.
    """
    names, sizes = (is_digest(pack), is_digest(sha256)), (is_size(offset), is_size(size_bytes))
    if not all((*names, *sizes)):
        raise ValueError(f"{str((pack, offset, size_bytes, sha256))[:200]} is no place")
    return Ref(pack, offset, size_bytes, sha256)  # type: ignore[arg-type]  # which was just looked at


def is_digest(value: object) -> bool:
    """Whether something that was read is a SHA-256 in lower-case hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_size(value: object) -> bool:
    """Whether something that was read is a number of bytes that there may be."""
    return type(value) is int and 0 <= value <= _LARGEST


def time_of(text: str) -> datetime:
    """Return a time as it was read; ValueError where it is none, or says of no zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at


@dataclass(frozen=True, slots=True)
class Repository:
    """A target whose mark was read. ``seal`` opens what it keeps; ``sealed_for``: who could when it was begun."""

    target: Target
    seal: Seal
    repository_id: str
    sealed_for: tuple[str, ...] = ()

    def file(self, name: str) -> bytes:
        """Return a small file as the target keeps it.

        Raises:
            NotFound: there is none of that name.
            BackupDamaged: this file cannot be read, twice in a row, while the target answers: its mark was read in between.
            StorageError: the target does not answer; nothing is said of the file.
        """
        return b"".join(self.read(name))

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield bytes of a file. One more try from where a read failed tells a bad moment from a bad sector.

        A target that is gone does not give its mark either: whatever it says then is said of all of it.

        Raises:
            NotFound, BackupDamaged, StorageError: as ``file``.
        """
        at, failed_at = offset, -1
        while True:
            try:
                for piece in self.target.read(name, at, None if length is None else offset + length - at):
                    at += len(piece)
                    yield piece
            except NotFound:
                raise
            except StorageError as error:
                self._ask(error)
                if failed_at == at:
                    raise BackupDamaged(f"{error.message}. Other files there can be read.", None, {"name": name}) from error
                failed_at = at
            else:
                return

    def _ask(self, first: StorageError) -> None:
        try:
            b"".join(self.target.read(MARK))  # not out of a cache: see LocalTarget.read
        except StorageError:
            raise first from None

    def pack(self, name: str) -> Iterator[bytes]:
        """Yield the plain bytes of a pack; what the target keeps is proven to be what its name says, at the end.

        Raises:
            BackupDamaged: it is missing, other bytes than were written, or it alone cannot be read, each time.
            StorageError: the target does not answer.
        """
        yield from self.seal.opened(self.stored(name))

    def stored(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a pack as the target keeps them, and prove them at the end: no key is needed for that.

        Raises:
            BackupDamaged: as ``pack``.
        """
        digest = hashlib.sha256()
        try:
            for piece in self.read(pack_path(name)):
                digest.update(piece)
                yield piece
        except NotFound:
            raise BackupDamaged(f"The pack {name} is missing from {self.target.url}.", None, {"pack": name}) from None
        if digest.hexdigest() != name:
            raise BackupDamaged(
                f"The pack {name} in {self.target.url} holds other bytes than were written.", None, {"pack": name}
            )

    def part(self, name: str, offset: int, size_bytes: int) -> Iterator[bytes]:
        """Yield so many of the plain bytes of a pack, without a proof. What is sealed is opened from its beginning.

        Raises:
            BackupDamaged: the pack is missing, or cannot be opened, or it alone cannot be read, each time.
            StorageError: the target does not answer.
        """
        if self.seal.kind == NONE:
            yield from _found(self.read(pack_path(name), offset, size_bytes), name, self.target.url)
            return
        at = 0
        for piece in self.pack(name):
            yield piece[max(0, offset - at) : max(0, offset + size_bytes - at)]
            at += len(piece)

    def plain_bytes(self, name: str, size_bytes: int) -> int:
        """Return how many plain bytes a pack has that takes so many at the target.

        Raises:
            BackupDamaged: it is missing, or no sealed file.
        """
        if self.seal.kind == NONE:
            return size_bytes
        head = b"".join(_found(self.read(pack_path(name), 0, HEAD_BYTES), name, self.target.url))
        return self.seal.plain_bytes(size_bytes, head)

    def item(self, ref: Ref) -> bytes:
        """Return what lies at a place, proven by its digest. For what fits into memory.

        Raises:
            BackupDamaged: its pack is missing or damaged.
        """
        data = b"".join(self.part(ref.pack, ref.offset, ref.size_bytes))
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise BackupDamaged(f"The pack {ref.pack} in {self.target.url} is damaged.", None, {"pack": ref.pack})
        return data


def _found(pieces: Iterator[bytes], name: str, url: str) -> Iterator[bytes]:
    try:
        yield from pieces
    except NotFound:
        raise BackupDamaged(f"The pack {name} is missing from {url}.", None, {"pack": name}) from None


def pack_path(name: str) -> str:
    """Return the name under which a target keeps a pack."""
    return f"{PACKS}{name[:2]}/{name}"


def open_repository(target: Target, seal: Seal) -> Repository:
    """Use a target that holds backups.

    Raises:
        NotFound: it holds none.
        BackupError: a newer release made it, or its mark is damaged.
        BackupKeyError: it is sealed, and the key is another one or none.
    """
    try:
        told = json.loads(b"".join(target.read(MARK)))
        format_, repository_id = told["format"], str(told["repository_id"])
        kind, recipients = str(told["sealed"]["kind"]), [str(one) for one in told["sealed"]["recipients"]]
    except NotFound:
        raise NotFound(f"There are no backups in {target.url}.", _NONE_THERE) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupDamaged(f"{MARK} in {target.url} is damaged: {error}.") from error
    if format_ > FORMAT:
        raise BackupError(
            f"{target.url} has format {format_}; this release knows up to {FORMAT}.", "Use the release that made it."
        )
    try:
        seal.check(kind, recipients)
    except BackupKeyError:  # the mark is never written again: it names the keys of the beginning
        if kind != seal.kind or not _opens_the_newest(target, seal):
            raise
    return Repository(target, seal, repository_id, tuple(recipients))


def _opens_the_newest(target: Target, seal: Seal) -> bool:
    for name in sorted((one.name for one in target.names(BACKUPS)), reverse=True):
        try:
            return bool(b"".join(seal.opened(target.read(name))))
        except BackupKeyError:
            return False
        except (BackupDamaged, NotFound):  # says nothing of the key
            continue
    return False


def make_repository(target: Target, seal: Seal, now: datetime) -> Repository:
    """Use a target; prove and mark it first when it is new. Any number of processes may, at the same time.

    Raises:
        TargetUnfit: it does not keep its promises.
        BackupError: as ``open_repository``.
    """
    with suppress(NotFound):
        return open_repository(target, seal)
    prove(target, now)
    told = {"strongroom": "backups", "format": FORMAT, "repository_id": secrets.token_hex(8), "made_at": now.isoformat()}
    with suppress(NameTaken):  # another one was quicker: its mark counts
        target.create(MARK, [json.dumps({**told, "sealed": {"kind": seal.kind, "recipients": seal.recipients}}).encode() + b"\n"])
    return open_repository(target, seal)
