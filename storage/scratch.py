"""Scratch: room for what is made and thrown away. A lock on it tells whether its owner lives; what the dead left goes at once."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.layout import DataFolder
from strongroom import durable
from strongroom.locks import locked_folder_if_free

SCRATCH = ".scratch"
RESTORING = ".restoring"
"""What a restore makes until it moves that up begins like this: in the root of what becomes a data folder."""


@contextmanager
def scratch_space(folder: DataFolder) -> Iterator[Path]:
    """Yield a name below ``tmp/`` that nobody has. What is made there is removed afterwards; what dead ones left, before.

    Any number may be used at once.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused, here or while entered.
    """
    with durable.os_errors("cannot use scratch space"):
        remove_dead(folder)
        made = folder.tmp / secrets.token_hex(12)
        scratch = made.with_suffix(SCRATCH)
        made.mkdir(mode=0o700)
        try:
            with locked_folder_if_free(made):
                made.rename(scratch)  # nobody ever sees it without its lock: that would be taken for a dead one's
                yield scratch / "data"
        finally:
            for path in (made, scratch):
                shutil.rmtree(path, ignore_errors=True)


def remove_dead(folder: DataFolder) -> int:
    """Remove the scratch space of those who died, and in the root what a restore left that died behind its last step.

    Returns how many those were. Safe at any time and in several processes at once.
    """
    removed = sum(_remove(path, path) for path in folder.tmp.glob(f"*{SCRATCH}"))
    if folder.exists():  # else it is a restore's that can go on
        removed += sum(_remove(path, folder.root) for path in folder.root.glob(f"{RESTORING}*"))
    return removed


def _remove(path: Path, locked: Path) -> bool:
    with suppress(FileNotFoundError), locked_folder_if_free(locked) as free:
        if free:
            durable.step("scratch: remove")
            shutil.rmtree(path)
            return True
    return False
