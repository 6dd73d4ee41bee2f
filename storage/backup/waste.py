"""Waste: a pack stays as long as one of its items is needed. When half of a chain is dead, everything is copied again.

Repacking what lives of each pack was rejected: it reads a target that may be far away, and what is copied from the data folder
is proven once more on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.backup.manifest import Counts, Manifest

BASE = "base"
FACTOR = 2.0
SPARE_BYTES = 64 << 20
"""Below this nobody minds."""


def base_of(parent: Manifest | None, packs: Mapping[str, int], counts: Counts) -> Any:  # JSON
    """Return what the full backup at the beginning of a chain took, and for how many bytes of segments."""
    return [sum(packs.values()), counts.segment_bytes] if parent is None else parent.marks.get(BASE)


def is_wasteful(parent: Manifest) -> bool:
    """Whether a chain takes more than twice what a full backup would, as far as the one at its beginning tells."""
    base = parent.marks.get(BASE)
    if not base or not base[1]:
        return False
    stored_bytes, segment_bytes = base
    expected = stored_bytes * parent.counts.segment_bytes / segment_bytes
    return bool(parent.stored_bytes > FACTOR * expected + SPARE_BYTES)
