"""Contents in segments that no row names: what a sweep threw away, and what crashed stores left behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.catalogue import list_segments
from models.database import Database
from models.rows import Place
from storage.index import read_index
from storage.layout import DataFolder
from strongroom.errors import StorageError

_DIGEST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A place in a file that is no segment of the catalogue. Nothing of it has been verified."""

    told: str
    path: Path
    place: Place


def found_elsewhere(folder: DataFolder, database: Database) -> dict[str, list[Found]]:
    """Return where contents lie by the indexes of the trash and of segments that the catalogue does not know.

    Reads the name of every segment: for repairs that found nothing closer.
    """
    with database.read() as connection:
        known = {name for name, _ in list_segments(connection)}
    found: dict[str, list[Found]] = defaultdict(list)
    for told, path, index in _indexes(folder, known):
        try:
            places = read_index(index, _name_in(index)).places
        except StorageError:
            continue
        for place in places:
            found[place.content_sha256].append(Found(told, path, place))
    return found


def _indexes(folder: DataFolder, known: set[str]) -> Iterator[tuple[str, Path, Path]]:
    for index in sorted(folder.segments.glob("??/*.index")):
        if index.stem not in known:
            yield f"segment {index.stem}, which no row names", index.with_suffix(""), index
    for index in sorted(folder.trash.glob("swept-*.index")):
        yield f"trash {index.stem}", index.with_suffix(".segment"), index


def _name_in(index: Path) -> str:
    """Return the segment's digest, with which the names of both kinds end."""
    return index.stem[-_DIGEST_CHARS:]
