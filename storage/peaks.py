"""Peaks: the most that a long job adds to what is on the disk while it runs, predicted before it begins."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url

from models.admission import used_bytes
from models.database import Database
from models.recompress import fast_bytes
from storage.layout import DataFolder


def compress_peak(database: Database, library_id: str | None = None) -> int:
    """Return what compressing may add: the old encodings stay in the trash beside the new ones, and none becomes larger.

    Of one library all of it is taken, since some of its contents refer to each other.
    """
    with database.read() as connection:
        return fast_bytes(connection) if library_id is None else used_bytes(connection, library_id)


def rebuild_peak(folder: DataFolder, database_url: str) -> int:
    """Return what a rebuild may add: a second catalogue, as large as the first, or as what it is made from if that is more.

    In PostgreSQL it adds nothing here.
    """
    if make_url(database_url).get_backend_name() != "sqlite":
        return 0
    told = sum(_size(path) for path in folder.segments.glob("??/*.index")) + sum(map(_size, folder.metadata.glob("journal*")))
    return max(_size(Path(make_url(database_url).database or "")), told)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
