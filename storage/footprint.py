"""How many bytes a data folder takes: what is freed is only what is really gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

NOT_COUNTED = ("backups", "trash", "logs")


def footprint(root: Path) -> int:
    """Return the bytes of all files below a data folder but its backups, trash and logs; hard links once, a sparse file whole."""
    sizes: dict[tuple[int, int], int] = {}
    for status in _files(root):
        sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def _files(root: Path) -> Iterator[os.stat_result]:
    for place, folders, files in os.walk(root):
        if Path(place) == root:
            folders[:] = [name for name in folders if name not in NOT_COUNTED]
        for name in files:
            try:
                yield os.lstat(os.path.join(place, name))
            except FileNotFoundError:  # somebody works there meanwhile
                continue
