"""Compaction: what lives of segments that are mostly dead is copied into a new one, and the old ones go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.commit import Outdated, add_segment
from models.database import Database
from models.replaced import not_before
from models.rows import Place
from models.sweeping import Looked, live_places, replace_segments
from storage.carry import needed_records, with_replaced
from storage.events import append_events
from storage.index import VersionRecord
from storage.layout import DataFolder
from storage.read import is_whole, stored_blocks
from storage.segments import Finished, SegmentWriter, in_place
from strongroom.errors import IntegrityError

MOSTLY_DEAD = 0.5
SEGMENT_BYTES = 32 << 20
"""Live bytes of one new segment."""
SEGMENT_OBJECTS = 4000


@dataclass(frozen=True, slots=True)
class _Old:
    """A segment to be emptied: what lives in it, and what its index tells of living versions."""

    name: str
    places: list[Place]
    records: list[VersionRecord]


class Compaction:
    """Collects segments that are mostly dead, and rewrites them when there are enough for a new one."""

    def __init__(self, folder: DataFolder, database: Database, older_than: datetime) -> None:
        self._folder = folder
        self._database = database
        self._older_than = older_than
        self._waiting: list[Looked] = []

    def take(self, looked: Iterable[Looked], now: datetime) -> int:
        """Note what is worth it; return how many segments were rewritten. A segment of one object is never mostly dead."""
        worth = [one for one in looked if 0 < one.live_bytes < MOSTLY_DEAD * one.size_bytes and one.objects > 1]
        self._waiting += worth
        full = sum(one.live_bytes for one in self._waiting) >= SEGMENT_BYTES
        return self.finish(now) if full or sum(one.objects for one in self._waiting) >= SEGMENT_OBJECTS else 0

    def take_all(self, looked: Iterable[Looked]) -> None:
        """Note segments of which something is needed, however much: the rest of them is to go at once."""
        self._waiting += [one for one in looked if one.live_bytes]

    def finish(self, now: datetime) -> int:
        """Rewrite what was noted; return how many segments were emptied and condemned by that. Their contents are durable.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing has changed.
        """
        olds = [old for old in map(self._old, self._waiting) if old is not None]
        self._waiting = []
        if not olds:
            return 0
        writer = SegmentWriter(self._folder)
        try:
            for place in {place.content_sha256: place for old in olds for place in old.places}.values():
                writer.append_copy(place, stored_blocks(self._folder, place))
            names = [old.name for old in olds]
            with self._database.read() as connection:
                when = not_before(connection, now, names)
            finished = writer.finish([record for old in olds for record in old.records], when, with_replaced(self._folder, names))
        finally:
            writer.abort()
        return len(olds) if self._replace(olds, finished, now) else 0

    def _old(self, one: Looked) -> _Old | None:
        try:
            records = needed_records(self._folder, self._database, one.segment_sha256)
        except IntegrityError:
            return None  # its index has to be mended first
        with self._database.read() as connection:
            places = live_places(connection, one.segment_sha256)
        if not places or not all(is_whole(self._folder, place) for place in places):
            return None  # verify finds it, and a repair has to go first: copying would make damage look new
        return _Old(one.segment_sha256, places, records)

    def _replace(self, olds: Sequence[_Old], finished: Finished, now: datetime) -> bool:
        """Commit the new places for the old ones, when the new segment reads back as it should."""
        if not all(is_whole(self._folder, place) for place in finished.segment.places):
            raise IntegrityError(f"The segment {finished.segment.segment_sha256} does not read back as it was written.")
        if not finished.told:
            append_events(self._folder.journal, [record for old in olds for record in old.records])
        try:
            with self._database.write("compaction") as connection:
                if not in_place(self._folder, [finished.segment]):
                    return False
                add_segment(connection, finished.segment, now)
                copied = {place.content_sha256 for place in finished.segment.places}
                if not replace_segments(connection, [old.name for old in olds], copied, self._older_than):
                    raise Outdated
        except Outdated:
            return False  # what was written is garbage, and goes as such
        return True
