"""Tidy: remove what dead processes left behind and what nobody can still be reading. Never touches a document."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from storage.canary import CAGES
from storage.layout import DataFolder
from storage.scratch import SCRATCH, remove_dead
from strongroom import durable
from strongroom.disposal import DONE
from strongroom.inbox import RECEIPTS

ABANDONED = timedelta(days=1)
"""After so long without a write, an unfinished file's writer is dead: a living one writes at least every few seconds."""
UNCLAIMED = timedelta(days=7)
"""How long a receipt waits for its producer. The ledger keeps the outcome."""
USED = timedelta(seconds=20)
"""How long a used inbox file or receipt waits: they are removed together, when nobody is in a hurry (strongroom/disposal.py)."""
GRACE = timedelta(hours=1)
"""How long a superseded generation of the tree stays for those who resolved its link before it was switched."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many of each were removed."""

    unfinished: int
    used: int
    receipts: int
    generations: int


def tidy(folder: DataFolder, now: datetime) -> Tidied:
    """Remove unfinished files of dead writers, used files, receipts nobody fetched, superseded generations of the tree.

    Safe at any time and in several processes at once.
    """
    left = (path for path in _older(folder.tmp, now - ABANDONED) if path.suffix != SCRATCH)  # a long restore writes deep below
    unfinished = [*_older(folder.inbox, now - ABANDONED, ".part"), *left]
    unfinished += _older(folder.restores, now - ABANDONED, ".part")
    unfinished += _older(folder.run / CAGES, now - ABANDONED)
    receipts = list(_older(folder.inbox / RECEIPTS, now - UNCLAIMED))
    used = [*_older(folder.inbox / DONE, now - USED), *_older(folder.trash, now - USED, ".replaced")]
    superseded = list(_older(folder.trash, now - GRACE, ".superseded"))
    return Tidied(
        remove_dead(folder) + sum(_remove(path) for path in unfinished),
        sum(_remove(path) for path in used),
        sum(_remove(path) for path in receipts),
        sum(_remove_generation(path) for path in superseded),
    )


def mark_superseded(folder: DataFolder, generation: Path) -> None:
    """Remember a generation that no link shows any more: it goes when its grace period is over."""
    with suppress(FileExistsError):
        (folder.trash / f"{generation.name[-80:]}.superseded").symlink_to(os.path.relpath(generation, folder.trash))


def _older(place: Path, than: datetime, suffix: str = "") -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.endswith(suffix) and entry.stat(follow_symlinks=False).st_mtime < than.timestamp():
                yield Path(entry.path)


def _remove(path: Path) -> bool:
    durable.step("tidy: remove")
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False


def _remove_generation(mark: Path) -> bool:
    name = Path(os.path.normpath(mark.parent / mark.readlink()))
    generation = name.resolve()
    removed = generation.is_dir() and _remove(generation)
    if name.is_symlink():  # it was on a shelf (storage/shelve.py)
        name.unlink()
    mark.unlink(missing_ok=True)
    return removed
