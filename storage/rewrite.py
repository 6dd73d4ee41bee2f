"""One batch of compress: other encodings are written, read back, and take the place of those that are there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from models.commit import Outdated
from models.database import Database
from models.recompress import Shown, dependents, replace_places
from models.replaced import not_before, segments_of
from models.rows import NewSegment, Place
from models.sweeping import live_records
from storage.allowance import discard
from storage.carry import with_replaced
from storage.chains import are_short
from storage.encodings import SMALLEST, Kept, packed
from storage.events import append_events
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from storage.paths import tree_path
from storage.read import stored_blocks, stream_content
from storage.segments import Encoded, SegmentWriter, in_place
from strongroom.errors import IntegrityError

BATCH_BYTES = 24 << 20
BATCH_OBJECTS = 200
"""Stored bytes and objects after which a batch is committed: what a crash costs."""


@dataclass(slots=True)
class Rewrite:
    """Collects new encodings of a library's contents; nothing of them is in use before ``commit``."""

    folder: DataFolder
    database: Database
    shown: Shown
    _shared: SegmentWriter | None = None
    _own: list[SegmentWriter] = field(default_factory=list)
    _contents: set[str] = field(default_factory=set)
    _old: dict[str, None] = field(default_factory=dict)  # an ordered set
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
        return self.size_bytes >= BATCH_BYTES or len(self._contents) >= BATCH_OBJECTS

    def __len__(self) -> int:
        return len(self._contents)

    def add(self, old: Place, encoded: Encoded, *, own: bool) -> None:
        """Add an encoding in memory; ``own``: into a segment of its own, so that the tree can link it."""
        self._writer(old, own=own).append(encoded)
        self.size_bytes += len(encoded.stored)

    def add_copy(self, old: Place, effort: int, *, own: bool) -> None:
        """Add an encoding as it is, for nothing better was found."""
        self._writer(old, own=own).append_copy(old, stored_blocks(self.folder, old), effort)
        self.size_bytes += old.length

    def add_stream(self, old: Place, kept: Kept, effort: int, *, alone: bool) -> None:
        """Add an encoding of a content that does not fit in memory, in a segment of its own, if it is smaller.

        If it is not, the content still gets a segment of its own, unless it is ``alone`` already.

        Raises:
            IntegrityError: what is there is damaged.
        """
        writer = SegmentWriter(self.folder)
        try:
            stream = writer.append_stream(packed(SMALLEST[kept].stream(), stream_content(self.folder, old)))
            writer.describe(stream, old.content_sha256, old.size_bytes, kept, effort)
        except BaseException:
            writer.abort()
            raise
        if stream.length >= old.length and old.reference_sha256 is None:
            writer.abort()
            if not alone:
                self.add_copy(old, effort, own=True)
            return
        self._note(old)
        self._own.append(writer)
        self.size_bytes += stream.length

    def _note(self, old: Place) -> None:
        self._contents.add(old.content_sha256)
        self._old[old.segment_sha256] = None

    def _writer(self, old: Place, *, own: bool) -> SegmentWriter:
        self._note(old)
        if own:
            self._own.append(SegmentWriter(self.folder))
            return self._own[-1]
        if self._shared is None:
            self._shared = SegmentWriter(self.folder)
        return self._shared

    def abort(self) -> None:
        """Remove what was written and not committed."""
        for writer in self._writers():
            writer.abort()
        self._shared, self._own, self.size_bytes = None, [], 0
        self._contents, self._old = set(), {}

    def commit(self, now: datetime) -> set[str]:
        """Make the encodings durable, read each back, commit; return the segments that old ones were in.

        Returns none when something that they rely on has gone meanwhile, or when a chain would grow too long: what was written is
        garbage then, and goes as such.

        Raises:
            IntegrityError: they do not read back as the contents that they are of; nothing has changed.
            DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing has changed.
        """
        try:
            if not self._contents:
                return set()
            with self.database.read() as connection:
                before = segments_of(connection, self._contents)
                when = not_before(connection, now, set().union(*before.values()))
            segments = self._finish(self._records(), before, when)
            new = {place.content_sha256: place for segment in segments for place in segment.places}
            self._read_back(segments, new)
            return set() if self._makes_too_long(new) else self._replace(segments, set().union(*before.values()), now)
        finally:
            self.abort()

    def _writers(self) -> list[SegmentWriter]:
        return [*self._own, *([] if self._shared is None else [self._shared])]

    def _records(self) -> list[VersionRecord]:
        """Return what the old indexes tell of living revisions of these contents. One that cannot be read keeps its segment."""
        told: list[VersionRecord] = []
        for name in self._old:
            try:
                index = read_index(self.folder.index(name))
            except IntegrityError:
                continue
            told += [one for one in index.versions if one.content_sha256 in self._contents]
        with self.database.read() as connection:
            live = live_records(connection, {(tree_path(one.library_id, one.version), one.stored_at) for one in told})
        return [one for one in told if (tree_path(one.library_id, one.version), one.stored_at) in live]

    def _finish(self, records: Sequence[VersionRecord], before: Mapping[str, set[str]], when: datetime) -> list[NewSegment]:
        segments: list[NewSegment] = []
        untold: list[VersionRecord] = []
        for writer in self._writers():
            mine = [one for one in records if one.content_sha256 in writer.contents]
            replaced = set().union(*(before.get(one, set()) for one in writer.contents))
            finished = writer.finish(mine, when, with_replaced(self.folder, replaced))
            segments.append(finished.segment)
            untold += [] if finished.told else mine
        if untold:
            append_events(self.folder.journal, untold)
        return segments

    def _makes_too_long(self, new: Mapping[str, Place]) -> bool:
        """Whether something could no longer be read within MAX_DEPTH that can be now: also what only refers to the new ones."""
        if are_short(new, self._finder(new), self._dependents(new)):
            return False
        return are_short(new, self._finder({}), self._dependents({}))

    def _finder(self, new: Mapping[str, Place]) -> Callable[[str], Place | None]:
        return lambda content_sha256: new.get(content_sha256) or self.folder.find_place(content_sha256)

    def _dependents(self, new: Mapping[str, Place]) -> Callable[[str], list[Place]]:
        def find(content_sha256: str) -> list[Place]:
            with self.database.read() as connection:
                stored = dependents(connection, content_sha256)
            return [*stored, *(one for one in new.values() if one.reference_sha256 == content_sha256)]

        return find

    def _read_back(self, segments: Sequence[NewSegment], new: Mapping[str, Place]) -> None:
        """Read what is durable now, through what it refers to, as any reader will. What is wrong goes: it claims to be newer."""
        try:
            self._read_whole(new)
        except IntegrityError:
            with self.database.write("compress") as connection:
                discard(connection, self.folder, segments)
            raise

    def _read_whole(self, new: Mapping[str, Place]) -> None:
        folder = replace(self.folder, find_place=self._finder(new))
        for place in new.values():
            digest = hashlib.sha256()
            for piece in stream_content(folder, place):
                digest.update(piece)
            if digest.hexdigest() != place.content_sha256:
                raise IntegrityError(f"The segment {place.segment_sha256} does not read back as what it was made of.")

    def _replace(self, segments: Sequence[NewSegment], told: set[str], now: datetime) -> set[str]:
        try:
            with self.database.write("compress") as connection:
                if not in_place(self.folder, segments):
                    raise Outdated
                emptied = replace_places(connection, segments, self.shown, now)
                if emptied - told:  # somebody stored one of them meanwhile, and no index says that it is replaced
                    raise Outdated
                return emptied
        except Outdated:
            return set()
