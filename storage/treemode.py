"""What a changed STRONGROOM_TREE means for the tree that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from models.catalogue import forget_tree
from models.database import Database
from models.names import unlink_all
from storage.layout import DataFolder
from storage.tidy import mark_superseded
from storage.tree import MODES, Mode
from strongroom import durable
from strongroom.errors import ConfigurationError

_MARK = "tree.mode"


def adopt_mode(folder: DataFolder, database: Database, mode: Mode) -> None:
    """Make the tree follow a setting that has changed since the folder was last prepared.

    The old tree steps aside in one rename and goes after its grace period; the new one is built by ``Tree.catch_up``. So no
    reader finds versions that the setting hides, nor a ``latest`` that nobody keeps.

    Raises:
        ConfigurationError: there is no such mode.
    """
    if mode not in MODES:
        raise ConfigurationError(f"STRONGROOM_TREE cannot be {mode!r}: choose one of {', '.join(MODES)}.")
    mark = folder.metadata / _MARK
    if _read(mark) == mode:
        return
    if _read(mark) is not None:
        _step_aside(folder)
        with database.write("tree") as connection:
            forget_tree(connection)
            unlink_all(connection)
    mark.write_text(mode, encoding="utf-8")


def shown_mode(folder: DataFolder, mode: Mode) -> Mode:
    """Return the mode that the tree was built for: ``mode``, unless the folder was last prepared with another setting."""
    recorded = _read(folder.metadata / _MARK)
    return next((one for one in MODES if one == recorded), mode)


def _read(mark: Path) -> str | None:
    try:
        return mark.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _step_aside(folder: DataFolder) -> None:
    old = folder.trash / f"documentation-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with durable.os_errors("cannot replace the tree"):
        durable.rename(folder.documentation, old, "tree")
        mark_superseded(folder, old)
        durable.make_folder(folder.documentation, "tree")
