"""What a manager tells about what is stored: plain values for other programs, named as in the requirements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypedDict, TypeVar

from models.rows import LibraryRow, StoredVersion
from storage.engine import Totals
from strongroom.result import Result

T = TypeVar("T")

StorageResult = Result[T]
"""``Ok | Err`` under the name that the platform's first store had for what it answered."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """The current revision of a version. Sizes in bytes, plain and as stored; ``file_path`` is below the data folder.

    ``content_sha256`` is of the plain bytes as they came in, ``checksum_sha256`` of the stored ones.
    """

    version_id: str
    library_id: str
    version: str
    revision: int
    latest: bool
    file_path: str
    file_size_bytes: int
    compressed_size_bytes: int
    content_sha256: str
    checksum_sha256: str
    created_at: datetime
    download_source: str
    metadata: Mapping[str, Any]  # the producer's: any JSON

    @property
    def compression_ratio(self) -> float:
        """1 - stored / plain."""
        return 1 - self.compressed_size_bytes / self.file_size_bytes

    @classmethod
    def of(cls, stored: StoredVersion) -> Self:
        """Return what is told of a version."""
        return cls(
            version_id=stored.version_id,
            library_id=stored.library_id,
            version=stored.version,
            revision=stored.revision,
            latest=stored.latest,
            file_path=stored.file_path,
            file_size_bytes=stored.place.size_bytes,
            compressed_size_bytes=stored.place.length,
            content_sha256=stored.place.content_sha256,
            checksum_sha256=stored.place.stored_sha256,
            created_at=stored.created_at,
            download_source=stored.source,
            metadata=stored.details,
        )


class StorageStats(TypedDict):
    """Sums over the current versions of everything, or of one library. ``compression_ratio`` is 1 - stored / plain."""

    library_id: str | None
    total_libraries: int
    total_versions: int
    latest_version: str | None
    total_size_bytes: int
    compressed_size_bytes: int
    saved_bytes: int
    compression_ratio: float


def library_stats(library: LibraryRow) -> StorageStats:
    """Return the sums of one library."""
    sums = Totals(1, library.total_versions, library.total_size_bytes, library.compressed_size_bytes)
    return _stats(sums, library.library_id, library.latest_version)


def total_stats(totals: Totals) -> StorageStats:
    """Return the sums over everything."""
    return _stats(totals, None, None)


def _stats(sums: Totals, library_id: str | None, latest_version: str | None) -> StorageStats:
    return {
        "library_id": library_id,
        "total_libraries": sums.libraries,
        "total_versions": sums.versions,
        "latest_version": latest_version,
        "total_size_bytes": sums.size_bytes,
        "compressed_size_bytes": sums.stored_bytes,
        "saved_bytes": sums.size_bytes - sums.stored_bytes,
        "compression_ratio": sums.compression_ratio,
    }
