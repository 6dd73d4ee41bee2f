"""Peaks: the most that a long job adds to what is on the disk while it runs, predicted before it begins."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from models.admission import added_bytes, used_bytes
from models.alarms import last_good_backup
from models.database import Database
from models.recompress import fast_bytes
from storage.backup.local import LocalTarget
from storage.backup.place import Place
from storage.layout import DataFolder

_EVER = datetime.min.replace(tzinfo=UTC)
_LISTS_BYTES = 4 << 20
"""Lists, manifest and snapshot of a backup, and what sealing adds."""


def compress_peak(database: Database, library_id: str | None = None) -> int:
    """Return what compressing may add: the old encodings stay in the trash beside the new ones, and none becomes larger.

    Of one library all of it is taken, since some of its contents refer to each other.
    """
    with database.read() as connection:
        return fast_bytes(connection) if library_id is None else used_bytes(connection, library_id)


def backup_peak(database: Database, folder: DataFolder, place: Place, *, full: bool = False) -> int:
    """Return what a backup may add to this folder's disk: what was stored since the last good one, or everything, and its lists.

    On another disk, or in an object store, it adds nothing here.
    """
    if place.url.startswith("s3:"):
        return 0
    target = place.target()
    if not isinstance(target, LocalTarget) or _device(target.root) != _device(folder.root):
        return 0
    with database.read() as connection:
        last = None if full else last_good_backup(connection)
        return added_bytes(connection, last or _EVER) + _LISTS_BYTES


def _device(path: Path) -> int:
    return next(one for one in (path, *path.parents) if one.exists()).stat().st_dev


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
