"""Read: bytes come out only after they have been found to hash to the recorded digest, in constant memory."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.rows import Place
from storage.codecs import decode, unpack
from storage.layout import DataFolder
from storage.segments import BLOCK_BYTES
from strongroom import durable
from strongroom.errors import IntegrityError

MAX_DEPTH = 3
"""How many references may have to be followed, of what is written."""
READABLE_DEPTH = 16
"""How many are followed all the same: a chain that grew too long is read, and compress makes it short; a circle is not."""
MAX_REFERENCE_BYTES = 32 << 20
"""What is referred to is held in memory whole."""
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""How segments are opened. Of a pipe in the place of one nobody waits for the other end."""


def read_content(folder: DataFolder, place: Place) -> bytes:
    """Return a content whole. Meant for documents of ordinary size; ``stream_content`` needs no memory to speak of.

    Raises:
        IntegrityError: the stored bytes are missing, cut short or damaged, or those of what they refer to.
    """
    if place.reference_sha256 is not None:
        return bytes(_read_whole(folder, place, READABLE_DEPTH))
    if place.blocks is not None:
        return b"".join(stream_content(folder, place))
    with _open_segment(folder, place) as descriptor:
        stored = _read_block(descriptor, place, 0, place.length, bytes.fromhex(place.stored_sha256))
    return bytes(unpack(stored, place.codec, place.size_bytes))


def stream_content(folder: DataFolder, place: Place) -> Iterator[bytes]:
    """Yield a content in pieces of at most 1 MiB; each block of stored bytes is verified before anything of it is yielded.

    In constant memory, but for what it refers to: that is held whole, 32 MiB at most.

    Raises:
        IntegrityError: as ``read_content``, when the damaged block is reached; nothing of that block has been yielded.
    """
    digest, size = hashlib.sha256(), 0
    reference = _reference(folder, place, READABLE_DEPTH)
    for piece in decode(stored_blocks(folder, place), place.codec, reference):
        digest.update(piece)
        size += len(piece)
        yield piece
    if size != place.size_bytes or digest.hexdigest() != place.content_sha256:
        raise _damaged(place, "unpack to another content than was recorded")


def _read_whole(folder: DataFolder, place: Place, depth: int) -> bytes | bytearray:
    reference = _reference(folder, place, depth)
    return unpack(b"".join(stored_blocks(folder, place)), place.codec, place.size_bytes, reference)


def _reference(folder: DataFolder, place: Place, depth: int) -> bytes | bytearray | None:
    """Return what an object refers to: verified as stored bytes are; that it is the right one the frame's checksum tells."""
    if place.reference_sha256 is None:
        return None
    if depth == 0 or place.reference_length > MAX_REFERENCE_BYTES:
        raise _damaged(place, "refer to too much")
    base = folder.find_place(place.reference_sha256)
    if base is None:
        raise _damaged(place, f"refer to the content {place.reference_sha256}, which is nowhere", "reference_missing")
    try:
        return _part(folder, base, place, depth - 1)
    except IntegrityError:
        moved = folder.find_place(place.reference_sha256)
        if moved is None or moved == base:
            raise
        return _part(folder, moved, place, depth - 1)


def _part(folder: DataFolder, base: Place, wanted: Place, depth: int) -> bytes | bytearray:
    """Return what ``wanted`` refers to of ``base``."""
    start, end = wanted.reference_offset, wanted.reference_offset + wanted.reference_length
    if end > base.size_bytes:
        raise _damaged(wanted, "refer to more than there is")
    if base.size_bytes <= MAX_REFERENCE_BYTES:
        plain = _read_whole(folder, base, depth)
        return plain if (start, end) == (0, len(plain)) else plain[start:end]
    part, at = bytearray(), 0
    for piece in decode(stored_blocks(folder, base), base.codec, _reference(folder, base, depth)):
        part += piece[max(start - at, 0) : max(end - at, 0)]
        at += len(piece)
        if at >= end:
            break
    return bytes(part)


def stored_blocks(folder: DataFolder, place: Place) -> Iterator[bytes]:
    """Yield an object's stored bytes in verified blocks of at most 1 MiB.

    Raises:
        IntegrityError: as ``read_content``.
    """
    digests = place.blocks or bytes.fromhex(place.stored_sha256)
    with _open_segment(folder, place) as descriptor:
        for number, at in enumerate(range(0, max(place.length, 1), BLOCK_BYTES)):
            length = min(BLOCK_BYTES, place.length - at)
            yield _read_block(descriptor, place, at, length, digests[number * 32 : number * 32 + 32])


def is_whole(folder: DataFolder, place: Place) -> bool:
    """Whether an object's stored bytes are there and hash to what was recorded.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    try:
        for _ in stored_blocks(folder, place):
            pass
    except IntegrityError:
        return False
    return True


def can_read(folder: DataFolder, place: Place, places: Mapping[str, Place]) -> bool:
    """Whether an object's stored bytes unpack to the content recorded, with what they refer to where ``places`` says.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    try:
        for _ in stream_content(replace(folder, find_place=places.get), place):
            pass
    except IntegrityError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    descriptor = os.open(path, FLAGS)
    try:
        while count := os.readv(descriptor, [buffer]):
            digest.update(view[:count])
    finally:
        os.close(descriptor)
    return digest.hexdigest()


@contextmanager
def _open_segment(folder: DataFolder, place: Place) -> Iterator[int]:
    path = folder.segment(place.segment_sha256)
    with _reading(f"The segment {folder.relative(path)}", place):
        descriptor = os.open(path, FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_block(descriptor: int, place: Place, at: int, length: int, digest: bytes) -> bytes:
    with _reading(_where(place), place):
        block = os.pread(descriptor, length, place.offset + at)
    if len(block) < length:
        raise _damaged(place, f"end after {at + len(block)} of {place.length} bytes", "truncated")
    if hashlib.sha256(block).digest() != digest:
        raise _damaged(place, f"do not hash to the recorded digest (bytes {at} to {at + length})")
    return block


def _damaged(place: Place, what: str, damage: str = "damaged") -> IntegrityError:
    return IntegrityError(f"{_where(place)} {what}.", None, {"damage": damage, "segment": place.segment_sha256})


def _where(place: Place) -> str:
    return f"The stored bytes in segment {place.segment_sha256[:16]}… at {place.offset}"


_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ESPIPE, errno.ENXIO)
DAMAGE = {errno.ENOENT: "missing", errno.EIO: "unreadable", **dict.fromkeys(_NO_FILE, "unreadable")}
"""What the operating system says of a file that is gone, on bad sectors, or is no file: no waiting heals it."""


@contextmanager
def _reading(what: str, place: Place) -> Iterator[None]:
    with durable.os_errors(f"{what} cannot be read"):
        try:
            yield
        except OSError as error:
            damage = DAMAGE.get(error.errno or 0)
            if damage is None:
                raise
            said = "is missing" if damage == "missing" else f"cannot be read: {error.strerror}"
            context = {"damage": damage, "segment": place.segment_sha256}
            raise IntegrityError(f"{what} {said}.", None, context) from error
