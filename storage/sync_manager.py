"""SyncStorageManager: the engine under the names of the requirements, for programs without an event loop."""

from __future__ import annotations

import os
from typing import Self

from storage.engine import Options
from storage.faces import Answering, Raising
from storage.interface import Interface
from storage.room import Room


class SyncResults(Interface, Answering):
    """Every operation of a SyncStorageManager, answering ``Ok`` or ``Err``."""


class SyncStorageManager(Interface, Raising):
    """Stores, reads and verifies documents in one data folder; errors are raised, ``results`` answers instead.

    Any thread may call it; stores that come at the same time share a durability barrier. It belongs to one process: make it
    after a fork. Any number of processes may have managers of one folder.
    """

    def __init__(self, base_path: str | os.PathLike[str], options: Options | None = None) -> None:
        """Take a data folder. Touches nothing; ``initialize`` does. Without options the tree stays as the folder has it."""
        super().__init__(Room(base_path, options))
        self.results = SyncResults(self._room)

    def close(self) -> None:
        """Let go of the folder. Not while other threads are at work; ``initialize`` takes it up again."""
        self._room.close()

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
