"""The governor of the disk's space: a job begins only when the most that it may need is free above a reserve.

The reserve is for what must go on when everything else has to wait: the catalogue's own writes, cleanup and the sweep, which ask
for nothing. What is predicted is the most that a job may add, so that a job which was let in does not fail for space unless
somebody else takes it: another program, or producers, who stage as long as a byte is free.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.sizes import in_words
from strongroom import durable
from strongroom.errors import NotEnoughSpace

RESERVE_SHARE = 50
RESERVE_AT_MOST = 1 << 30
"""Unless it is set, the reserve is a fiftieth of the disk and at most this much."""

STORE_BYTES = 256 << 10
"""What a store needs beside its documents: index, journal, the tree's folders, the catalogue's log."""


@dataclass(frozen=True, slots=True)
class Space:
    """A file system: its size, and what is free there for those who are not root."""

    total_bytes: int
    free_bytes: int


def space_of(path: Path) -> Space:
    """Ask the operating system.

    Raises:
        StorageError: it does not say.
    """
    with durable.os_errors("cannot see how much space is free"):
        status = os.statvfs(path)
    return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


class Governor:
    """Lets jobs in on one data folder. ``promised`` is always what admitted jobs may still need: the ledger knows."""

    def __init__(self, root: Path, reserve_bytes: int | None = None, look: Callable[[Path], Space] = space_of) -> None:
        self._root, self._reserve_bytes, self._look = root, reserve_bytes, look

    def space(self) -> Space:
        """Return the file system as it is now."""
        return self._look(self._root)

    def reserve_bytes(self, space: Space) -> int:
        """Return how much is to stay free."""
        return min(space.total_bytes // RESERVE_SHARE, RESERVE_AT_MOST) if self._reserve_bytes is None else self._reserve_bytes

    def room_bytes(self) -> int:
        """Return what is free above the reserve; negative when that is being used."""
        space = self.space()
        return space.free_bytes - self.reserve_bytes(space)

    def most_bytes(self) -> int:
        """Return what would be free above the reserve if nothing else were on the disk."""
        space = self.space()
        return space.total_bytes - self.reserve_bytes(space)

    def admit(self, needs_bytes: int, promised_bytes: int = 0, kept_bytes: int = 0) -> None:
        """Let a job in. What needs nothing is always let in: it frees space, or hardly takes any.

        ``kept_bytes`` are for those that have waited for long.

        Raises:
            NotEnoughSpace: too little is free; the context has ``needs_bytes`` and ``room_bytes``.
        """
        if needs_bytes <= 0:
            return
        room = self.room_bytes()
        if needs_bytes <= room - promised_bytes - kept_bytes:
            return
        words = f"It needs {in_words(needs_bytes)}, and {_free(room)}"
        if promised_bytes:
            words += f", of which running jobs may need {in_words(promised_bytes)}"
        if kept_bytes:
            words += f"; {in_words(kept_bytes)} are kept for jobs that have waited for long"
        left = room - promised_bytes - kept_bytes
        raise NotEnoughSpace(f"{words}.", None, {"needs_bytes": needs_bytes, "room_bytes": left})

    def fitting(self, needs: Iterable[int], promised_bytes: int, kept: Collection[int] = ()) -> list[bool]:
        """Return which of these needs there is room for when those before them are let in.

        What those at the places in ``kept`` need is kept for them though they do not fit.
        """
        left = self.room_bytes() - promised_bytes
        fits: list[bool] = []
        for place, needed in enumerate(needs):
            fits.append(needed <= max(left, 0))
            left -= needed if fits[-1] or place in kept else 0
        return fits


def _free(room: int) -> str:
    return f"{in_words(room)} are free above the reserve" if room > 0 else f"the reserve itself lacks {in_words(-room)}"


def store_peak(accepted_bytes: int) -> int:
    """Return the most that storing an accepted file adds: its documents as they came, once in segments and once in the tree."""
    return 2 * accepted_bytes + STORE_BYTES
