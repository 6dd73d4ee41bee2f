"""The rows that go into and come out of the catalogue, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

LIBRARY_FACTS = (
    "name",
    "description",
    "category",
    "trust_score",
    "star_count",
    "language",
    "homepage_url",
    "repository_url",
)
"""What a document may say about its library; columns of the table."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an encoding of a content lies and what it hashes to.

    ``blocks`` holds 32 bytes of SHA-256 for each MiB of stored bytes; None when the whole is one block. ``reference_sha256`` is
    the content without which the stored bytes do not unpack: ``reference_length`` bytes of it, from ``reference_offset`` on.
    ``effort`` is 0 as it was encoded on arrival, 1 when compress has found nothing better.
    """

    content_sha256: str
    size_bytes: int
    codec: str
    segment_sha256: str
    offset: int
    length: int
    stored_sha256: str
    blocks: bytes | None = None
    reference_sha256: str | None = None
    reference_offset: int = 0
    reference_length: int = 0
    effort: int = 0


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment that is durable on disk and not yet known to the catalogue. ``written_at`` is what its index tells."""

    segment_sha256: str
    size_bytes: int
    places: tuple[Place, ...]
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to add, whose content is in a new segment or already known.

    ``recorded``: the disk knows of it too (a segment's index or the journal), so that a rebuild finds it again.
    """

    library_id: str
    version: str
    order_rank: int
    order_key: str
    file_path: str
    content_sha256: str
    size_bytes: int
    stored_bytes: int
    stored_at: datetime
    refuse_other: bool = False
    source: str = ""
    library: Mapping[str, str | int | float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)  # a JSON object of the producer's: any shape
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class Committed:
    """What the catalogue did with a NewVersion."""

    status: Literal["stored", "unchanged", "refused"]
    revision: int
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version and the place of its bytes."""

    version_id: str
    library_id: str
    version: str
    revision: int
    current: bool
    latest: bool
    file_path: str
    created_at: datetime
    order_rank: int
    order_key: str
    in_tree: bool
    source: str
    details: Mapping[str, Any]  # as in NewVersion
    place: Place


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A library and its sums over the current revisions, in bytes."""

    library_id: str
    facts: Mapping[str, str | int | float | None]
    total_versions: int
    latest_version: str
    total_size_bytes: int
    compressed_size_bytes: int
    created_at: datetime
    updated_at: datetime

    @property
    def compression_ratio(self) -> float:
        """1 - stored / plain; 0.0 for nothing stored."""
        return 1 - self.compressed_size_bytes / self.total_size_bytes if self.total_size_bytes else 0.0
