"""A process that was stopped (SIGSTOP) inside a write transaction holds up everybody: it is known by the lock that it holds.

Nobody can take its lease away, since that is a write as well, and all heartbeats stand still together: the ledger does not tell
who is to blame. The kernel does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from models.database import Database
from tasks.procfs import parent_of, state_of

PATIENCE_S = 5.0
"""Less than a lease: the others' heartbeats go on before anybody could take them for frozen."""

_WRITE_LOCK_BYTE = 120
"""Of the file ``-shm``: whoever writes holds a lock on it. Source: sqlite.org/walformat.html, section 2.3.1."""


class StoppedWriter:
    """One process's view of who writes to a SQLite catalogue. On PostgreSQL, and where there is no /proc, it sees nobody."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        path = database.engine.url.database if database.is_sqlite else None
        self._shared = Path(f"{path}-shm") if path else None
        self._clock = clock
        self._seen: tuple[int, float] | None = None

    def kill(self, ours: Callable[[int], bool]) -> int | None:
        """Kill the writer when it is one of ``ours`` and has been seen stopped for PATIENCE_S; return its number.

        Its transaction is undone, and its job is begun again as after any other death. Call it every second or so.
        """
        writer = self._stopped()
        if writer is None or self._seen is None or self._seen[0] != writer:
            self._seen = None if writer is None else (writer, self._clock())
            return None
        if self._clock() - self._seen[1] < PATIENCE_S or not ours(writer):
            return None
        with suppress(ProcessLookupError):
            os.kill(writer, signal.SIGKILL)
        return writer

    def _stopped(self) -> int | None:
        with suppress(OSError):
            writer = _holder(self._shared.stat().st_ino) if self._shared else None
            return writer if writer and state_of(writer) == "T" else None
        return None


def is_of_this_service(pid: int) -> bool:
    """Whether a process is a child of this one's worker, or of another part that the same supervisor started."""
    with suppress(OSError):
        parent, worker = parent_of(pid), os.getppid()
        return parent == worker or (parent_of(worker) > 1 and parent_of(parent) == parent_of(worker))
    return False


def _holder(inode: int) -> int | None:
    # Not fcntl's F_GETLK: to close the descriptor that it takes would drop all of this process's own locks on the file.
    for line in Path("/proc/locks").read_text("ascii").splitlines():
        words = line.split()  # proc_locks(5): 12: POSIX ADVISORY WRITE 900 fe:00:2245016 120 120
        if words[1] == "POSIX" and words[3] == "WRITE" and words[5].endswith(f":{inode}") and words[6] == str(_WRITE_LOCK_BYTE):
            return int(words[4])
    return None
