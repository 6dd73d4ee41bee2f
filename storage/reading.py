"""Reading versions: what is damaged is mended on the spot where a good source exists, and nothing damaged is handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.catalogue import places_of
from models.database import Database
from models.rows import Place, StoredVersion
from models.scrubbing import mark_suspect
from storage.layout import DataFolder
from storage.read import is_whole, read_content, stream_content
from strongroom.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from storage.repair import Repair

STORE_AGAIN = (
    "The damaged bytes were not served, and no good copy was found in the data folder. Store the document again from its source; "
    "`strongroom verify --all --repair` looks at everything."
)

Again = Callable[[], StoredVersion]
"""Finds the version anew, wherever it lies now."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one data folder. ``mends``: whether damage that a read meets is repaired at once."""

    folder: DataFolder
    database: Database
    repair: Callable[[], Repair]
    """Asked for when something is damaged."""
    mends: bool = True

    def read(self, found: StoredVersion, again: Again) -> bytes:
        """Return a version's plain bytes, verified.

        Raises:
            IntegrityError: they are damaged, and no good copy was found.
        """
        tried: set[str] = set()
        while True:
            try:
                return read_content(self.folder, found.place)
            except IntegrityError as error:
                found = self._mended(found, again, error, tried)

    def stream(self, found: StoredVersion, again: Again) -> Iterator[bytes]:
        """Yield a version's plain bytes, verified, in constant memory. Damage in the middle is mended, and the stream goes on.

        Raises:
            IntegrityError: as ``read``; a damaged block ends the stream before anything of it is yielded.
        """
        given, tried = 0, set[str]()
        while True:
            try:
                for piece in _skipped(stream_content(self.folder, found.place), given):
                    yield piece
                    given += len(piece)
            except IntegrityError as error:
                whole = self._mended(found, again, error, tried)
                if given and whole.place.content_sha256 != found.place.content_sha256:
                    raise  # another revision took its place: what was yielded is not of that
                found = whole
            else:
                return

    def _mended(self, found: StoredVersion, again: Again, error: IntegrityError, tried: set[str]) -> StoredVersion:
        """Return where a version lies whole. Each segment that it needs is tried once: several of a chain may be damaged.

        Raises:
            IntegrityError: nowhere, or what was mended is damaged still.
        """
        segment = str(error.context.get("segment", found.place.segment_sha256))
        if segment in tried:
            raise IntegrityError(error.message, STORE_AGAIN, error.context) from error
        tried.add(segment)
        return self._whole(found, again, error)

    def _whole(self, found: StoredVersion, again: Again, error: IntegrityError) -> StoredVersion:
        """Return where a version lies whole: moved meanwhile, mended now, or in another place.

        Raises:
            IntegrityError: nowhere.
        """
        now = again()
        if now.place != found.place:
            return now
        segment = str(error.context.get("segment", found.place.segment_sha256))
        if self.mends:
            with suppress(StorageError):  # a folder that cannot be written, a disk that is full: the error of the read counts
                self.repair().see_to(self._damaged(found, segment), by="read", show=False)
        place = next((place for place in self._places(found) if is_whole(self.folder, place)), None)
        if place is not None:
            return replace(found, place=place)
        self._suspect(segment)
        raise IntegrityError(error.message, STORE_AGAIN, error.context) from error

    def _damaged(self, found: StoredVersion, segment: str) -> set[str]:
        """Return the segment that an error names, which may be of what the version refers to, and its own if that is, too."""
        return {segment} if is_whole(self.folder, found.place) else {segment, found.place.segment_sha256}

    def _places(self, found: StoredVersion) -> list[Place]:
        with self.database.read() as connection:
            return places_of(connection, found.place.content_sha256)

    def _suspect(self, segment: str) -> None:
        with suppress(StorageError), self.database.write("suspect") as connection:
            mark_suspect(connection, [segment])


def _skipped(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield what comes behind the first ``count`` bytes."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:]
        count = max(0, count - len(piece))
