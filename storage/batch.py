"""The segments that one store writes: small objects share one, a large object has its own."""

from __future__ import annotations

from models.rows import NewSegment
from storage.index import VersionRecord
from storage.layout import DataFolder
from storage.segments import Encoded, Finished, SegmentWriter

SEGMENT_BYTES = 64 << 20
"""Stored bytes after which a batch goes on in another segment: what a sweep reads, or a repair replaces, at once."""


class SegmentBatch:
    """Collects objects and the records of the versions that they are. After ``finish`` all segments are durable.

    ``untold`` are the records that no index of these segments tells of: the journal must.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._writer: SegmentWriter | None = None
        self._open: set[str] = set()
        self._records: list[VersionRecord] = []
        self._lengths: dict[str, int] = {}
        self.segments: list[NewSegment] = []
        self.untold: list[VersionRecord] = []

    def length_of(self, content_sha256: str) -> int | None:
        """Return the stored bytes of a content that this batch has written; None when it has not."""
        return self._lengths.get(content_sha256)

    def add(self, encoded: Encoded) -> None:
        """Append an object to the shared segment."""
        if self._writer is None:
            self._writer = SegmentWriter(self._folder)
        self._writer.append(encoded)
        self._open.add(encoded.content_sha256)
        self._lengths[encoded.content_sha256] = len(encoded.stored)

    def tell(self, record: VersionRecord) -> None:
        """Have the index of the shared segment tell of a version, when its content is there."""
        (self._records if record.content_sha256 in self._open else self.untold).append(record)

    def rotate_if_full(self) -> None:
        """Begin another segment when the open one has grown to SEGMENT_BYTES."""
        if self._writer is not None and self._writer.size_bytes >= SEGMENT_BYTES:
            self._close_shared()

    def add_own(self, writer: SegmentWriter, record: VersionRecord) -> None:
        """Finish a segment that holds one large object."""
        for place in self._finish(writer, [record]).segment.places:
            self._lengths[place.content_sha256] = place.length

    def finish(self) -> None:
        """Make everything durable."""
        if self._writer is not None:
            self._close_shared()

    def abort(self) -> None:
        """Remove what is not finished."""
        if self._writer is not None:
            self._writer.abort()

    def _close_shared(self) -> None:
        assert self._writer is not None
        self._finish(self._writer, self._records)
        self._writer, self._open, self._records = None, set(), []

    def _finish(self, writer: SegmentWriter, records: list[VersionRecord]) -> Finished:
        finished = writer.finish(records)
        self.segments.append(finished.segment)
        if not finished.told:
            self.untold += records
        return finished
