"""What is to be nowhere, and whether a file holds it: as text, as it is, packed, or as one of several objects."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backports import zstd

from storage.codecs import decode
from storage.events import REDACTED
from storage.index import read_index
from storage.read import file_sha256
from strongroom.errors import IntegrityError

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PIECE_BYTES = 1 << 20
_WHOLE_BYTES = 256 << 20
_MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Gone:
    """What is to be nowhere: contents by their digest, and the segments that held them."""

    contents: frozenset[str]
    segments: frozenset[str]

    def redacted(self, data: bytes) -> bytes:
        """Return bytes with the contents' digests made illegible, of the same length: what else they tell stays."""
        return DIGEST.sub(lambda found: REDACTED.encode() if found[0].decode() in self.contents else found[0], data)

    def told_in(self, data: bytes) -> bool:
        """Whether bytes name one of the contents."""
        return any(found[0].decode() in self.contents for found in DIGEST.finditer(data))


def index_tells(path: Path, name: str, gone: Gone) -> bool:
    """Whether an index says that its segment holds one of the contents, or what refers to one."""
    try:
        places = read_index(path, name).places
    except IntegrityError:
        return gone.told_in(path.read_bytes()) if path.exists() else False
    return any(one.content_sha256 in gone.contents or one.reference_sha256 in gone.contents for one in places)


def holds(path: Path, gone: Gone) -> bool:
    """Whether a file is one of the contents, packed or not, is made of such objects, or names one by its digest."""
    if any(name in path.name for name in gone.segments):
        return True
    return names_any(path, gone) or any(content in gone.contents for content in _contents(path))


def names_any(path: Path, gone: Gone) -> bool:
    """Whether a file holds the digest of one of the contents as text; also in pages that a database has freed."""
    before = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                if gone.told_in(before[-64:] + piece):
                    return True
                before = piece
    except FileNotFoundError:
        pass
    return False


def _contents(path: Path) -> Iterator[str]:
    """Yield what a file may be the content of: its own digest, and that of each gzip member or Zstandard frame in a row.

    What is longer than a shared segment gets is one object, if it is any.
    """
    try:
        if path.stat().st_size > _WHOLE_BYTES:
            yield from _large(path)
            return
        data = path.read_bytes()
    except FileNotFoundError:
        return
    yield hashlib.sha256(data).hexdigest()
    while codec := _codec(data):
        plain, data = first_object(data, codec)
        if plain is not None:
            yield hashlib.sha256(plain).hexdigest()


def _large(path: Path) -> Iterator[str]:
    yield file_sha256(path)
    with path.open("rb") as file, suppress(IntegrityError):
        codec = _codec(file.read(4))
        file.seek(0)
        if codec is not None:
            digest = hashlib.sha256()
            for piece in decode(iter(lambda: file.read(PIECE_BYTES), b""), codec):
                digest.update(piece)
            yield digest.hexdigest()


def _codec(data: bytes) -> str | None:
    return next((name for magic, name in _MAGICS.items() if data.startswith(magic)), None)


def first_object(data: bytes, codec: str) -> tuple[bytes | None, bytes]:
    """Return the first object of several, unpacked, and what is behind it; None for one that does not unpack."""
    unpacker = zlib.decompressobj(31) if codec == "gzip" else zstd.ZstdDecompressor()
    try:
        plain = unpacker.decompress(data)
    except (zlib.error, zstd.ZstdError, EOFError):
        return None, b""
    return (plain, unpacker.unused_data) if unpacker.eof else (None, b"")
