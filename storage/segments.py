"""Segments: immutable files of encoded objects, named by the SHA-256 of their bytes, with an index beside them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.rows import NewSegment, Place
from storage.index import Index, VersionRecord
from storage.index_files import place_index
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import IntegrityError, TransientIO

BLOCK_BYTES = 1 << 20
"""Stored bytes a block digest covers: the most that is read before it can be verified."""

_Entry = tuple[tuple[str, int, str], tuple[int, int, str, bytes | None, str | None, int, int, int]]
"""What stands before and behind the segment's digest in a place: the digest is known at the end."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An object in memory, ready to be appended."""

    content_sha256: str
    size_bytes: int
    codec: str
    stored: bytes
    stored_sha256: str
    blocks: bytes | None
    reference_sha256: str | None = None
    reference_offset: int = 0
    reference_length: int = 0
    effort: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A segment that is durable and in place. ``told``: its index tells of the versions that came with it."""

    segment: NewSegment
    told: bool


def in_place(folder: DataFolder, segments: Iterable[NewSegment]) -> bool:
    """Whether the files of new segments are where their rows will say. Asked in the transaction that adds the rows.

    A sweep may have taken them for what a crashed store left; it moves files in a write transaction of its own.
    """
    return all(folder.segment(one.segment_sha256).exists() and folder.index(one.segment_sha256).exists() for one in segments)


def block_digests(stored: bytes) -> bytes | None:
    """Return the digests of a stored object's blocks; None when it is one block, which its own digest covers."""
    if len(stored) <= BLOCK_BYTES:
        return None
    view = memoryview(stored)
    return b"".join(hashlib.sha256(view[at : at + BLOCK_BYTES]).digest() for at in range(0, len(stored), BLOCK_BYTES))


class SegmentWriter:
    """Writes one segment to ``tmp/``. Nothing is in place before ``finish``; ``abort`` leaves nothing behind."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._part = folder.tmp / f"{secrets.token_hex(16)}.segment"
        self._index_part = self._part.with_suffix(".index")
        self._entries: list[_Entry] = []
        self._digest = hashlib.sha256()
        with durable.os_errors("cannot write a segment"):
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._file = open(descriptor, "wb", buffering=BLOCK_BYTES)  # noqa: SIM115 - closed by finish or abort
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def contents(self) -> set[str]:
        """The contents of the objects so far."""
        return {content_sha256 for (content_sha256, *_), _ in self._entries}

    def append(self, encoded: Encoded) -> None:
        """Add an object that is in memory."""
        start = self.size_bytes
        self._write(encoded.stored)
        behind = (
            start,
            len(encoded.stored),
            encoded.stored_sha256,
            encoded.blocks,
            encoded.reference_sha256,
            encoded.reference_offset,
            encoded.reference_length,
            encoded.effort,
        )
        self._entries.append(((encoded.content_sha256, encoded.size_bytes, encoded.codec), behind))

    def append_stream(self, pieces: Iterable[bytes]) -> StreamedObject:
        """Add an object whose stored bytes come in pieces; its content's digest and size are told afterwards, by ``describe``."""
        start = self.size_bytes
        blocks = BlockDigests()
        for piece in pieces:
            blocks.update(piece)
            self._write(piece)
        return StreamedObject(start, self.size_bytes - start, blocks.whole.hexdigest(), blocks.finish())

    def describe(self, stream: StreamedObject, content_sha256: str, size_bytes: int, codec: str, effort: int = 0) -> None:
        """Say what the bytes of ``append_stream`` are."""
        behind = (stream.offset, stream.length, stream.stored_sha256, stream.blocks, None, 0, 0, effort)
        self._entries.append(((content_sha256, size_bytes, codec), behind))

    def append_copy(self, place: Place, pieces: Iterable[bytes], effort: int | None = None) -> None:
        """Add an object as it lies elsewhere; ``pieces`` are its verified stored bytes.

        Raises:
            IntegrityError: they are not what the place says.
        """
        stream = self.append_stream(pieces)
        if (stream.length, stream.stored_sha256) != (place.length, place.stored_sha256):
            raise IntegrityError(f"Stored bytes in segment {place.segment_sha256} changed while they were copied.")
        known = place.effort if effort is None else effort
        reference = (place.reference_sha256, place.reference_offset, place.reference_length)
        behind = (stream.offset, place.length, place.stored_sha256, place.blocks, *reference, known)
        self._entries.append(((place.content_sha256, place.size_bytes, place.codec), behind))

    def _write(self, stored: bytes) -> None:
        try:
            self._file.write(stored)
        except OSError:
            with durable.os_errors("cannot write a segment"):
                raise
        self._digest.update(stored)
        self.size_bytes += len(stored)

    def finish(
        self, versions: Sequence[VersionRecord], written_at: datetime | None = None, replaces: Sequence[str] = ()
    ) -> Finished:
        """Make the segment and its index durable and in place; ``replaces`` are segments whose places of these contents go.

        It counts as written when the first version in it was stored, if ``written_at`` does not say otherwise.

        The order is the promise: both files' bytes, then both names, the index first (a segment without an index would be
        garbage that looks like data), then the folder.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing of this segment is in use.
        """
        name = self._digest.hexdigest()
        places = tuple(Place(content, size, codec, name, *behind) for (content, size, codec), behind in self._entries)
        target = self._folder.segment(name)
        with durable.os_errors("cannot write a segment"):
            durable.step("segment: flush")
            self._file.flush()
            durable.fsync_file(self._file.fileno(), "segment")
            self._file.close()
            durable.make_folder(target.parent, "segment")
            when = written_at or min((one.stored_at for one in versions), default=None)
            index = Index(name, self.size_bytes, places, tuple(versions), tuple(one for one in replaces if one != name), when)
            told = place_index(self._index_part, self._folder.index(name), index)
            try:
                durable.rename(self._part, target, "segment")
            except FileNotFoundError as error:
                raise TransientIO("A segment went while it was written: an erasure tidied there.") from error
            durable.fsync_folder(target.parent, "segment")
        return Finished(NewSegment(name, self.size_bytes, places, when), told)

    def abort(self) -> None:
        """Remove what was written; harmless after ``finish``."""
        with contextlib.suppress(OSError):  # closing tries to write what a full disk refused before
            self._file.close()
        self._part.unlink(missing_ok=True)
        self._index_part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class StreamedObject:
    """Where a streamed object lies and what its stored bytes hash to."""

    offset: int
    length: int
    stored_sha256: str
    blocks: bytes | None


class BlockDigests:
    """Hashes a stream as a whole and block by block, whatever the sizes of its pieces."""

    def __init__(self) -> None:
        self.whole = hashlib.sha256()
        self._block = hashlib.sha256()
        self._room = BLOCK_BYTES
        self._done: list[bytes] = []

    def update(self, piece: bytes) -> None:
        """Take the next piece."""
        self.whole.update(piece)
        view = memoryview(piece)
        while view:
            part, view = view[: self._room], view[self._room :]
            self._block.update(part)
            self._room -= len(part)
            if self._room == 0:
                self._done.append(self._block.digest())
                self._block, self._room = hashlib.sha256(), BLOCK_BYTES

    def finish(self) -> bytes | None:
        """Return the digests of the blocks; None when it was one block."""
        if self._room < BLOCK_BYTES:
            self._done.append(self._block.digest())
        return b"".join(self._done) if len(self._done) > 1 else None
