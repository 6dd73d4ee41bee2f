"""What a changed STRONGROOM_TREE means for the tree that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from models.catalogue import forget_tree
from models.database import Database
from models.names import unlink_all
from storage.layout import DataFolder
from storage.tidy import mark_superseded
from storage.tree import MODES, Mode, Tree
from strongroom import durable
from strongroom.errors import ConfigurationError

_MARK = "tree.mode"


def adopt_mode(folder: DataFolder, database: Database, mode: Mode) -> None:
    """Make the tree follow a setting that has changed since the folder was last prepared.

    Between ``all`` and ``latest`` a library's latest version is readable all the while: what is hidden goes when that stands,
    after its grace period; what is to be shown is by ``Tree.catch_up``. For ``none`` the tree steps aside in one rename.
    Cut short, the next call begins again.

    Raises:
        ConfigurationError: there is no such mode.
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    if mode not in MODES:
        raise ConfigurationError(f"STRONGROOM_TREE cannot be {mode!r}: choose one of {', '.join(MODES)}.")
    mark = folder.metadata / _MARK
    before = _read(mark)
    if before == mode:
        return
    if (before, mode) == ("all", "latest"):
        Tree(folder, database, mode).narrow()
    elif (before, mode) == ("latest", "all"):
        with database.write("tree") as connection:
            forget_tree(connection, but_latest=True)
    elif before is not None:
        _step_aside(folder)
        with database.write("tree") as connection:
            forget_tree(connection)
            unlink_all(connection)
    _write(mark, mode)


def shown_mode(folder: DataFolder, mode: Mode) -> Mode:
    """Return the mode that the tree was built for: ``mode``, unless the folder was last prepared with another setting."""
    recorded = _read(folder.metadata / _MARK)
    return next((one for one in MODES if one == recorded), mode)


def _read(mark: Path) -> str | None:
    try:
        return mark.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _write(mark: Path, mode: Mode) -> None:
    part = mark.with_name(f"{mark.name}.part")  # one process at a time prepares a folder
    with durable.os_errors("cannot note the tree's mode"):
        part.write_text(mode, encoding="utf-8")
        durable.rename(part, mark, "tree mode")


def _step_aside(folder: DataFolder) -> None:
    old = folder.trash / f"documentation-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with durable.os_errors("cannot replace the tree"):
        durable.rename(folder.documentation, old, "tree")
        mark_superseded(folder, old)
        durable.make_folder(folder.documentation, "tree")
