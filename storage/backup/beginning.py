"""Beginning: a place that holds no backups is begun, unless it held some: then a disk is not mounted, or somebody emptied it."""

from __future__ import annotations

from datetime import datetime

from models.backups import remembered_backups
from storage.backup.local import LocalTarget
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.engine import Engine
from storage.layout import FOLDERS
from strongroom.errors import NotFound, TargetUnfit, TargetUnreachable


def repository_for(engine: Engine, place: Place, now: datetime, *, anew: bool = False) -> Repository:
    """Use the place that holds the backups of a data folder; begin it if none was ever taken there, or ``anew`` says so.

    Raises:
        TargetUnreachable: backups were taken there, and nothing is there now: what lies below a mount point is the wrong disk.
        TargetUnfit: the target does not keep its promises, or lies where the data folder keeps its own files.
        StorageError: as ``Place.open``.
    """
    _refuse_own_folders(engine, place)
    try:
        return place.open()
    except NotFound:
        if not anew:
            _refuse_what_is_gone(engine, place)
    return place.make(now)


def _refuse_own_folders(engine: Engine, place: Place) -> None:
    """Refuse a place that a sweep, a restart or a rebuild tidies: ``tmp``, ``segments`` and the others."""
    target, root = place.target(), engine.folder.root.resolve()
    for own in FOLDERS:
        if isinstance(target, LocalTarget) and target.root.resolve().is_relative_to(root / own):
            raise TargetUnfit(f"{target.url} is in {own}/ of the data folder, which is tidied: backups are not safe there.")


def _refuse_what_is_gone(engine: Engine, place: Place) -> None:
    target = place.target()
    if isinstance(target, LocalTarget) and target.root.is_relative_to(engine.folder.root.absolute()):
        return  # it is there whenever the data folder is
    with engine.database.read() as connection:
        taken = [one for one in remembered_backups(connection) if one.state == "done" and one.target == target.url]
    if taken:
        said = f"{len(taken)} backups were taken to {target.url}, the last on {taken[0].started_at:%Y-%m-%d}: there is nothing."
        raise TargetUnreachable(said, "Mount the disk. Where it is empty on purpose: `strongroom backup create --begin-anew`.")
