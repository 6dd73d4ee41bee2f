"""Whether stored bytes are damaged, and how: looked at twice, so that a bad read is not taken for rot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from models.catalogue import places_of
from models.database import Database
from models.rows import Place
from storage.layout import DataFolder
from storage.read import DAMAGE, file_sha256, is_whole, stored_blocks, stream_content
from strongroom import durable
from strongroom.errors import IntegrityError


def damage_of(folder: DataFolder, place: Place) -> str:
    """Return what is wrong with an object's stored bytes: missing, truncated, damaged, unreadable; nothing when they are whole.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    return _damage(folder, place) and _damage(folder, place)


def segment_sha256_of(path: Path) -> str:
    """Return what a segment's file hashes to; nothing when it is missing or cannot be read.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    with durable.os_errors(f"cannot read segment {path.name}"):
        try:
            return file_sha256(path)
        except OSError as error:
            if error.errno in DAMAGE:
                return ""
            raise


def plain_of(folder: DataFolder, database: Database, content_sha256: str) -> Iterator[bytes] | None:
    """Return the plain bytes of a content from a place where it is whole; None when there is none."""
    whole = whole_place(folder, database, content_sha256)
    return None if whole is None else stream_content(folder, whole)


def whole_place(folder: DataFolder, database: Database, content_sha256: str) -> Place | None:
    """Return the newest place in which a content's stored bytes are whole; None when there is none."""
    with database.read() as connection:
        places = places_of(connection, content_sha256)
    return next((one for one in places if is_whole(folder, one)), None)


def segment_is_whole(folder: DataFolder, name: str) -> bool:
    """Whether a segment's file is there and hashes to its name.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    return segment_sha256_of(folder.segment(name)) == name


def place_error(folder: DataFolder, place: Place) -> IntegrityError | None:
    """Return what is wrong with an object's stored bytes, its blocks and the whole of them; None when they are whole.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    digest = hashlib.sha256()
    try:
        for block in stored_blocks(folder, place):
            digest.update(block)
    except IntegrityError as error:
        return error
    if digest.hexdigest() != place.stored_sha256:
        return IntegrityError("The stored bytes do not hash to the recorded digest.", None, {"damage": "damaged"})
    return None


def _damage(folder: DataFolder, place: Place) -> str:
    error = place_error(folder, place)
    return "" if error is None else str(error.context.get("damage", "damaged"))
