"""What a power cut would leave: which files and folders were synced since they were last written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

_State = tuple[int, int]


class Synced:
    """Remembers what everything that was synced looked like then. SQLite's own syncs are not seen.

    ``hold`` is called before each sync.
    """

    def __init__(self, hold: Callable[[], object]) -> None:
        self._then: dict[int, _State] = {}
        self._hold = hold
        self._fsync = os.fsync

    def fsync(self, descriptor: int) -> None:
        """Sync, and remember."""
        self._hold()
        self._fsync(descriptor)
        status = os.fstat(descriptor)
        self._then[status.st_ino] = (status.st_mtime_ns, status.st_size)

    def lost(self, *roots: Path) -> list[Path]:
        """Return those of these, and of what is below them, that were not synced or have been written since."""
        paths = [path for root in roots for path in (root, *root.rglob("*"))]
        return [path for path in paths if self._then.get((status := path.stat()).st_ino) != (status.st_mtime_ns, status.st_size)]


@contextmanager
def syncs_seen(hold: Callable[[], object] = lambda: None) -> Iterator[Synced]:
    """Look at the syncs of the block."""
    seen = Synced(hold)
    with mock.patch.object(os, "fsync", seen.fsync):
        yield seen
