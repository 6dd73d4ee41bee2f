"""Inventory: every segment and index, and what else lies among them, held against the catalogue."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models import consistency
from models.catalogue import list_places
from models.database import Database
from models.findings import Observation
from models.rows import Place
from storage.events import read_events
from storage.index import Index, VersionRecord, read_index
from storage.layout import DataFolder
from storage.read import file_sha256
from storage.tidy import ABANDONED
from strongroom import durable
from strongroom.errors import IntegrityError

_NAME = re.compile("[0-9a-f]{64}")
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_YOUNG: timedelta = ABANDONED
"""What nobody knows and was written to lately may be a store that has not come to its commit."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size_bytes: int
    regular: bool
    written: datetime


class Inventory:
    """One look at the segments."""

    def __init__(self, folder: DataFolder, database: Database, now: datetime) -> None:
        self._folder, self._database, self._now = folder, database, now
        self._told: set[int] = set()
        self._files: dict[str, _File] = {}
        self._known: dict[str, tuple[int, bool]] = {}
        self._unreadable: set[str] = set()

    def look(self, progress: Callable[[int, int], None]) -> Iterator[Observation]:
        """Yield what is missing, too much, or not as the catalogue says."""
        self._gather()
        for number, (name, (size_bytes, condemned)) in enumerate(sorted(self._known.items()), 1):
            progress(number, len(self._known))
            segment = self._files.pop(self._folder.relative(self._folder.segment(name)), None)
            index = self._files.pop(self._folder.relative(self._folder.index(name)), None)
            if not condemned:
                yield from self._segment(name, size_bytes, segment)
                yield from self._index(name, index, readable=segment is not None and segment.regular)
        yield from self._rest()
        yield from self._untold()

    def strays(self) -> list[Observation]:
        """Return only what lies among the segments and is of none that the catalogue knows; see ``find_strays``."""
        self._gather()
        for name in self._known:
            for path in (self._folder.segment(name), self._folder.index(name)):
                self._files.pop(self._folder.relative(path), None)
        return list(self._rest())

    def _gather(self) -> None:
        self._files = {self._folder.relative(one.path): one for one in self._walk()}
        with self._database.read() as connection:
            self._known = consistency.segments_known(connection)

    def _walk(self) -> Iterator[_File]:
        with durable.os_errors("cannot look at the segments"):
            for folder, _, names in os.walk(self._folder.segments):
                for name in names:
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):
                        status = path.lstat()
                        written = datetime.fromtimestamp(status.st_mtime, self._now.tzinfo)
                        yield _File(path, status.st_size, stat.S_ISREG(status.st_mode), written)

    def _segment(self, name: str, size_bytes: int, file: _File | None) -> Iterator[Observation]:
        path = self._folder.relative(self._folder.segment(name))
        if file is None:
            other = self._renamed(name, size_bytes)
            if other is None:
                yield Observation("missing", "", path, "The segment is not there.")
            else:
                yield Observation("renamed", "", path, f"The segment lies at {other}: mv it back.")
        elif not file.regular:
            yield Observation("unreadable", "", path, "It is no file.")
        elif file.size_bytes != size_bytes:
            code = "truncated" if file.size_bytes < size_bytes else "wrong_size"
            yield Observation(code, "", path, f"It has {file.size_bytes} bytes, and should have {size_bytes}.")

    def _renamed(self, name: str, size_bytes: int) -> str | None:
        """Return where the bytes of a segment lie that is not there under its name, matched by their digest."""
        for path, file in self._files.items():
            in_place = file.path.name in self._known and file.path == self._folder.segment(file.path.name)
            if file.size_bytes == size_bytes and file.regular and not in_place:
                with durable.os_errors(f"cannot read {path}"):
                    if file_sha256(file.path) == name:
                        del self._files[path]
                        return path
        return None

    def _index(self, name: str, file: _File | None, *, readable: bool) -> Iterator[Observation]:
        path = self._folder.index(name)
        if file is None:
            yield Observation("index_missing", "", self._folder.relative(path), "The index is not there.")
            return
        try:
            index = read_index(path, bad_sectors=True)
        except IntegrityError as error:
            yield Observation(error.context.get("damage", "index_damaged"), "", self._folder.relative(path), error.message)
            self._unreadable.add(name)
            return
        self._remember(index)
        with self._database.read() as connection:
            places = list_places(connection, name)
        differ = list(self._places(path, index, places))
        yield from differ
        if readable and not differ:
            yield from self._codecs(name, places)

    def _places(self, path: Path, index: Index, places: list[Place]) -> Iterator[Observation]:
        told = {(one.content_sha256, one.offset, one.length, one.stored_sha256): one.codec for one in index.places}
        for one in places:
            codec = told.get((one.content_sha256, one.offset, one.length, one.stored_sha256))
            where = self._folder.relative(path)
            if codec is None:
                yield Observation("index_out_of_step", "", where, "The catalogue places objects where the index does not.")
                return
            if codec != one.codec:
                yield Observation("wrong_codec", "", where, f"The catalogue says {one.codec}, the index {codec}.")
                return

    def _codecs(self, name: str, places: list[Place]) -> Iterator[Observation]:
        """Look at the first bytes of each object. What they should be is known for most encodings."""
        path = self._folder.segment(name)
        with suppress(OSError), path.open("rb") as file:
            for one in places:
                magic = _MAGIC.get(one.codec, b"")
                found = os.pread(file.fileno(), len(magic), one.offset)
                if len(found) == len(magic) and found != magic:
                    message = f"The object at {one.offset} does not begin as {one.codec} does."
                    yield Observation("wrong_codec", "", self._folder.relative(path), message)
                    return

    def _remember(self, index: Index) -> None:
        self._told.update(_key(one) for one in index.versions)

    def _rest(self) -> Iterator[Observation]:
        """Tell of the files that belong to no segment of the catalogue, unless they are young."""
        segments = {file.path.name for file in self._files.values()}
        for path, file in sorted(self._files.items()):
            stem = file.path.name.removesuffix(".index")
            if self._now - file.written < _YOUNG:
                continue
            if not _NAME.fullmatch(stem) or file.path.parent.name != stem[:2]:
                yield Observation("foreign", "", path, "It is no segment and no index.")
            elif file.path.suffix == ".index":
                if stem not in segments and stem not in self._known:
                    yield Observation("orphan", "", path, "An index without a segment.")
            else:
                yield from self._unknown(stem, path)

    def _unknown(self, name: str, path: str) -> Iterator[Observation]:
        try:
            index = read_index(self._folder.index(name))
        except IntegrityError:
            yield Observation("orphan", "", path, "A segment that no row names, without an index.")
            return
        with self._database.read() as connection:
            known = consistency.contents_known(connection)
        news = [one for one in index.versions if (one.library_id, one.version, one.content_sha256) not in known]
        if news:
            told = ", ".join(f"{one.library_id} {one.version}" for one in news[:5])
            yield Observation("segment_without_row", "", path, f"It tells of what the catalogue does not know: {told}.")
        else:
            yield Observation("orphan", "", path, "A segment that no row names.")

    def _untold(self) -> Iterator[Observation]:
        """Tell of the revisions that neither an index nor the journal tells of: a rebuild would lose them."""
        if self._unreadable:
            return  # said already, and nobody knows what these told
        with durable.os_errors("cannot read the journal"):
            self._told.update(_key(one) for one in read_events(self._folder.journal) if isinstance(one, VersionRecord))
        with self._database.read() as connection:
            for library_id, version, at, _, revision in consistency.revisions_told(connection):
                if hash((library_id, version, at)) not in self._told:
                    subject = f"{library_id} {version} (revision {revision})"
                    yield Observation("untold", subject, "metadata", "Neither an index nor the journal tells of it.")


def find_strays(folder: DataFolder, database: Database, now: datetime) -> list[Observation]:
    """Return what lies among the segments and is of none that the catalogue knows, found twice: orphans, foreign files.

    Raises:
        TransientIO, PermissionRefused: the operating system refused.
    """
    first = Inventory(folder, database, now).strays()
    second = set(Inventory(folder, database, now).strays()) if first else set()
    return [one for one in first if one in second]


def _key(one: VersionRecord) -> int:
    return hash((one.library_id, one.version, one.stored_at))
