"""A damaged segment, put together again byte for byte: the same bytes may take its place, and then nothing else changes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.catalogue import places_of
from models.database import Database
from models.mending import Holder
from models.rows import Place
from storage.codecs import ENCODERS, Encoder
from storage.documents import Limits, unpack
from storage.encodings import SMALLEST
from storage.layout import DataFolder
from storage.read import file_sha256, is_whole, stored_blocks
from storage.sources import Recovered
from strongroom import durable
from strongroom.errors import StorageError

_PIECE_BYTES = 1 << 20
WHOLE_BYTES = 64 << 20
"""Documents up to here may have been encoded in one call, which makes other bytes than a stream does."""


def tiles(places: Sequence[Place]) -> list[Place]:
    """Return places in the order of the file, one for each stretch of bytes."""
    return sorted({(one.offset, one.length): one for one in reversed(places)}.values(), key=lambda one: one.offset)


def reassemble(
    folder: DataFolder,
    database: Database,
    name: str,
    places: Sequence[Place],
    recovered: Mapping[str, Recovered],
    holders: Mapping[str, Sequence[Holder]],
) -> Path | None:
    """Write a segment again to ``tmp/``, durably, from what is whole of it and what was recovered; None when the bytes differ.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    part = folder.tmp / f"{secrets.token_hex(16)}.segment"
    digest = hashlib.sha256()
    fits = False
    try:
        with durable.os_errors("cannot write a segment"), part.open("xb") as file:
            for place in places:
                pieces = _stored(
                    folder, database, place, recovered.get(place.content_sha256), holders.get(place.content_sha256, ())
                )
                if pieces is None or place.offset != file.tell():
                    return None
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            durable.step("reassembly: flush")
            file.flush()
            if digest.hexdigest() == name:
                durable.fsync_file(file.fileno(), "reassembly")
                fits = True
    finally:
        if not fits:
            part.unlink(missing_ok=True)
    return part if fits else None


def put_in_place(folder: DataFolder, name: str, part: Path) -> None:
    """Give a segment's own bytes its name again. Durable on return.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    target = folder.segment(name)
    with durable.os_errors("cannot write a segment"):
        if target.is_dir() and not target.is_symlink():
            target.rmdir()  # its content has a name in the quarantine; a file cannot take a folder's place
        durable.rename(part, target, "reassembly")
        durable.fsync_folder(target.parent, "reassembly")


def _stored(
    folder: DataFolder, database: Database, place: Place, recovered: Recovered | None, holders: Sequence[Holder]
) -> Iterator[bytes] | None:
    """Return the very bytes of an object: from the segment, from where they were copied to, or encoded again."""
    with database.read() as connection:
        places = [place, *places_of(connection, place.content_sha256)]
    for one in places:
        if one.stored_sha256 == place.stored_sha256 and one.length == place.length and is_whole(folder, one):
            return stored_blocks(folder, one)
    for path in (folder.root / one.file_path for one in holders):
        if _hashes_to(path, place.stored_sha256):
            return _read(path)
    return None if recovered is None else _encoded_alike(recovered, place)


def _encoded_alike(recovered: Recovered, place: Place) -> Iterator[bytes] | None:
    """Return what an encoder makes of a content, if one makes the very bytes that were stored."""
    for encoder in (*ENCODERS.values(), *SMALLEST.values()):
        if encoder.format == place.codec:
            for encode in (_encode_stream, _encode_whole):
                digest = hashlib.sha256()
                for piece in encode(encoder, recovered):
                    digest.update(piece)
                if digest.hexdigest() == place.stored_sha256:
                    return encode(encoder, recovered)
    return None


def _encode_stream(encoder: Encoder, recovered: Recovered) -> Iterator[bytes]:
    compressor = encoder.stream()
    with recovered.path.open("rb") as file:
        for piece in unpack(file, Limits()):  # cut as a store cuts what comes plain: an encoder's bytes depend on that
            yield compressor.compress(piece)
    yield compressor.flush()


def _encode_whole(encoder: Encoder, recovered: Recovered) -> Iterator[bytes]:
    if recovered.path.stat().st_size <= WHOLE_BYTES:
        yield encoder.whole(recovered.path.read_bytes())


def _hashes_to(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and file_sha256(path) == digest
    except (OSError, StorageError):
        return False


def _read(path: Path) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
