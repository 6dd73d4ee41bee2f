"""Reading a file from the disk and not from the page cache: what is cached was right once, whatever the disk has made of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from storage.read import DAMAGE, FLAGS
from strongroom import durable

PIECE_BYTES = 1 << 20

Pace = Callable[[int], None]
"""Told how many bytes were read; may take its time."""


def unhurried(_count: int) -> None:
    """Take no time."""


def fresh_sha256(path: Path, pace: Pace = unhurried) -> str:
    """Return what a file hashes to as the disk has it; nothing when it is missing, or the disk cannot read it.

    What of it was cached is dropped before and after: a sweep does not push out what others read (posix_fadvise). Bytes that
    are not on the disk yet cannot be dropped; segments were synced before they got their name.

    Raises:
        TransientIO, PermissionRefused: nobody can tell now.
    """
    with durable.os_errors(f"cannot read segment {path.name}"):
        try:
            return _hash(path, pace)
        except OSError as error:
            if error.errno in DAMAGE:
                return ""
            raise


def _hash(path: Path, pace: Pace) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(PIECE_BYTES)
    view = memoryview(buffer)
    descriptor = os.open(path, FLAGS)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := os.readv(descriptor, [buffer]):
            digest.update(view[:count])
            pace(count)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return digest.hexdigest()
