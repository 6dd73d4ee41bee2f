"""A segment without its index is cut into its objects: each stream tells its own end, and each content what it is."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path

from backports import zstd

from models.rows import Place
from storage.codecs import PIECE_BYTES, UNPACKING, decompressor_of
from storage.damage import segment_sha256_of
from storage.documents import DocumentScanner, Limits
from storage.identity import Identity
from storage.segments import BLOCK_BYTES, BlockDigests
from strongroom.errors import IntegrityError, StorageError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # RFC 1952, 2.3.1; RFC 8878, 3.1.1
_NOTHING = Identity(None, None)


@dataclass(frozen=True, slots=True)
class Cut:
    """One object, and what its document says about itself."""

    place: Place
    identity: Identity


@dataclass(frozen=True, slots=True)
class CutUp:
    """The objects of a segment. ``left_bytes`` belong to objects that cannot be unpacked, such as those that refer to others."""

    cuts: tuple[Cut, ...]
    left_bytes: int


def cut_up(path: Path, name: str, limits: Limits) -> CutUp:
    """Cut a segment into its objects. In constant memory, but for what cannot be unpacked.

    Raises:
        IntegrityError: it does not hash to its name: nothing can be told from it for sure.
        OSError: the operating system refused.
    """
    if segment_sha256_of(path) != name:
        raise IntegrityError(f"The segment {name} does not hash to its name.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Knife(data, name, limits).cut_up()


class _Knife:
    def __init__(self, data: mmap.mmap, name: str, limits: Limits) -> None:
        self._data, self._name, self._limits = data, name, limits

    def cut_up(self) -> CutUp:
        cuts: list[Cut] = []
        at, left = 0, 0
        while at < len(self._data):
            codec = self._codec(at)
            found = None if codec is None else self._unpack(at, codec)
            if found is not None:
                cuts.append(found)
                at += found.place.length
                continue
            length = self._frame_bytes(at)
            left, at = left + length, at + length
        return CutUp(tuple(cuts), left)

    def _codec(self, at: int) -> str | None:
        if self._data[at : at + len(_GZIP)] == _GZIP:
            return "gzip"
        if self._data[at : at + len(_ZSTD)] == _ZSTD:
            return "zstd"
        return None if at else "none"  # where nothing is packed, only one object can be told from the next

    def _frame_bytes(self, at: int) -> int:
        """Return how long the object is that cannot be unpacked: up to the end, where even that cannot be told."""
        try:
            return zstd.get_frame_size(self._data[at:])
        except zstd.ZstdError:
            return len(self._data) - at

    def _unpack(self, at: int, codec: str) -> Cut | None:
        plain = _Plain(self._limits)
        end = len(self._data)
        try:
            if codec == "none":
                for start in range(0, end, PIECE_BYTES):
                    plain.take(self._data[start : start + PIECE_BYTES])
            else:
                end = self._stream(at, codec, plain)
        except UNPACKING:
            return None
        identity = plain.identity()
        if codec == "none" and identity is None:
            return None
        blocks = BlockDigests()
        for start in range(at, end, BLOCK_BYTES):
            blocks.update(self._data[start : min(start + BLOCK_BYTES, end)])
        stored = blocks.whole.hexdigest()
        place = Place(plain.digest.hexdigest(), plain.size_bytes, codec, self._name, at, end - at, stored, blocks.finish())
        return Cut(place, identity or _NOTHING)

    def _stream(self, at: int, codec: str, plain: _Plain) -> int:
        """Unpack the stream that begins there; return where it ends."""
        decompressor = decompressor_of(codec)
        while not decompressor.eof:
            piece = self._data[at : at + PIECE_BYTES]
            if not piece:
                raise EOFError("the segment ends before the stream does")
            at += len(piece)
            some = decompressor.decompress(piece, max_length=PIECE_BYTES)
            while some:
                plain.take(some)
                some = b"" if decompressor.eof else decompressor.decompress(b"", max_length=PIECE_BYTES)
        return at - len(decompressor.unused_data)


class _Plain:
    """Hashes and scans a content while it is unpacked."""

    def __init__(self, limits: Limits) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._scanner: DocumentScanner | None = DocumentScanner(limits)

    def take(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.size_bytes += len(piece)
        try:
            if self._scanner is not None:
                self._scanner.feed(piece)
        except StorageError:
            self._scanner = None

    def identity(self) -> Identity | None:
        """Return what the document says about itself; None when it is none."""
        try:
            return None if self._scanner is None else self._scanner.finish()
        except StorageError:
            return None
