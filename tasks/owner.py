"""Who runs a job: a run of a process, which shows that it lives by a lock that the system drops when the process ends.

A lock, since it tells the truth however a process ends, and the same in two containers that share the data folder, where process
numbers and host names mean nothing. (Rejected: host, number and start time of the process, looked up in /proc.)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path


def this_process() -> str:
    """Return what people call this process: ``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Presence:
    """This process at work on one data folder, for as long as it lives. Every process makes its own, after a fork.

    Runs are named ``host:pid:lock:number``; the first two only tell people where to look.
    """

    def __init__(self, folder: Path, process: str) -> None:
        """Take a new lock in ``folder``, which is made when it is not there; locks of dead processes are removed.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._process = folder, process
        self._lock = secrets.token_hex(8)
        self._numbers = count(1)
        self._at_work: set[str] = set()
        self._descriptor = _take(folder / self._lock)
        self._forget_the_dead()

    @contextmanager
    def at_work(self) -> Iterator[str]:
        """Yield a name for one run. After the block nobody does what is still marked with that name."""
        number = str(next(self._numbers))
        self._at_work.add(number)
        try:
            yield f"{self._process}:{self._lock}:{number}"
        finally:
            self._at_work.discard(number)

    def is_alive(self, owner: str) -> bool:
        """Whether that run may still go on: its process lives, and if it is this very one, the run has not ended."""
        lock, _, number = owner.rpartition(":")
        lock = lock.rpartition(":")[2]
        if lock == self._lock:
            return number in self._at_work
        return bool(lock) and _is_held(self._folder / lock)

    def close(self) -> None:
        """Leave, as the end of the process would."""
        os.close(self._descriptor)

    def _forget_the_dead(self) -> None:
        for path in self._folder.iterdir():
            if path.name != self._lock:
                _remove_unless_held(path)


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between the two lines above another process may have taken it for a dead one's.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _remove_unless_held(path: Path) -> None:
    """Remove a lock while holding it: else its owner could take it in between, and would hold a file without a name."""
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
