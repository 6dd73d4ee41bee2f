"""StorageManager: the engine under the names of the requirements, for asyncio."""

from __future__ import annotations

import asyncio
import os
from typing import Self

from storage.engine import Options
from storage.faces import AsyncAnswering, AsyncRaising, Threads
from storage.interface import Interface
from storage.room import Room


class Results(Interface, AsyncAnswering):
    """Every operation of a StorageManager, answering ``Ok`` or ``Err``."""


class StorageManager(Interface, AsyncRaising):
    """Stores, reads and verifies documents in one data folder; errors are raised, ``results`` answers instead.

    Every operation runs in a thread, at most 16 at a time; documents that are stored at the same time share a durability barrier.
    Parsing holds the interpreter, about 5 ms a MB: large documents are better read as bytes or streamed. A cancelled store may
    have happened all the same. It belongs to one process; any number of processes may have managers of one folder.
    """

    def __init__(self, base_path: str | os.PathLike[str], options: Options | None = None) -> None:
        """Take a data folder. Touches nothing; ``initialize`` does. Without options the tree stays as the folder has it."""
        super().__init__(Room(base_path, options), Threads())
        self.results = Results(self._room, self._threads)

    async def close(self) -> None:
        """Wait for what is running, cancelled calls too, and let go of the folder; ``initialize`` takes it up again."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.end()
        self._room.close()

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
