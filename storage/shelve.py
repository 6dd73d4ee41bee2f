"""Superseded generations of the tree are put on a shelf in the trash; who resolved the path of one still reads it."""

from __future__ import annotations

import ctypes
import os
import secrets
from contextlib import suppress
from pathlib import Path

from storage.layout import DataFolder

_AT_FDCWD, _EXCHANGE = -100, 2
SHELF = "shelved-"


def shelve(folder: DataFolder) -> int:
    """Move superseded generations to the trash and leave links to them; return how many were moved.

    Folder and link change places in one step, so that a path which was resolved before goes on to be good until the grace
    period is over. Where the system cannot do that, they stay where they are until then.
    """
    moved = 0
    for mark in folder.trash.glob("*.superseded"):
        with suppress(OSError):  # gone meanwhile, or no such step here: nothing depends on it
            generation = Path(os.path.normpath(folder.trash / mark.readlink()))
            if generation.is_dir() and not generation.is_symlink():
                moved += _exchange_for_link(generation, folder.trash / f"{SHELF}{secrets.token_hex(8)}")
    return moved


def _exchange_for_link(generation: Path, shelf: Path) -> bool:
    shelf.symlink_to(os.path.relpath(shelf, generation.parent))
    if exchange(generation, shelf):
        return True
    shelf.unlink()
    return False


def exchange(one: Path, other: Path) -> bool:
    """Have two paths change places in one step; return False where the system cannot do that."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    return bool(call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0)
