"""Damage on purpose: one byte of one stored copy, changed and put back."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.rows import StoredVersion
from storage.layout import DataFolder


@dataclass(frozen=True, slots=True)
class Spot:
    """A byte on disk that belongs to one version alone."""

    version: StoredVersion
    segment: Path
    offset: int


def choose_spot(versions: Sequence[StoredVersion], folder: DataFolder) -> Spot:
    """Return the middle byte of the largest copy that no other version shares."""
    shared = Counter(one.place.content_sha256 for one in versions)
    alone = [one for one in versions if shared[one.place.content_sha256] == 1]
    version = max(alone, key=lambda one: (one.place.length, one.library_id))
    return Spot(version, folder.segment(version.place.segment_sha256), version.place.offset + version.place.length // 2)


@contextmanager
def changed(spot: Spot) -> Iterator[None]:
    """Change the byte while entered, and put the old one back."""
    before = _exchange(spot, None)
    _exchange(spot, bytes([before[0] ^ 0xFF]))
    try:
        yield
    finally:
        _exchange(spot, before)


def _exchange(spot: Spot, byte: bytes | None) -> bytes:
    descriptor = os.open(spot.segment, os.O_RDWR if byte else os.O_RDONLY)
    try:
        before = os.pread(descriptor, 1, spot.offset)
        if byte:
            os.pwrite(descriptor, byte, spot.offset)
    finally:
        os.close(descriptor)
    return before
