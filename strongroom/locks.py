"""Locks between processes (flock): the kernel drops one when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSES_S = (0.0005, 0.02)
PATIENCE_S = 30.0
"""Nobody holds a lock that is waited for longer than a few syncs take, but for a process that was stopped in the middle."""

_held: set[int] = set()


def _let_go_in_child() -> None:
    # A child's copy of a descriptor would hold the lock for as long as the child lives, past the holder's end.
    for descriptor in list(_held):
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock while entered; yields the lock file's descriptor. The file is made when it is not there, mode 0600.

    Raises:
        BlockingIOError: it did not come free within PATIENCE_S.
    """
    with _opened(path) as descriptor:
        if not _taken(descriptor, PATIENCE_S):
            raise BlockingIOError(errno.EAGAIN, "a lock is held by another process", str(path))
        yield descriptor


@contextmanager
def locked_if_free(path: Path, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold the lock while entered if it comes free within that time; yields whether it is held."""
    with _opened(path) as descriptor:
        yield _taken(descriptor, patience_s)


@contextmanager
def shared_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock together with others who share it, while entered, unless somebody has it alone; yields whether it is held."""
    with _opened(path) as descriptor:
        yield _taken(descriptor, 0.0, fcntl.LOCK_SH)


@contextmanager
def locked_folder_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of a folder itself while entered if it is free; yields whether it is held. Nothing is made in the folder."""
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        yield _taken(descriptor, 0.0)


def _taken(descriptor: int, patience_s: float, how: int = fcntl.LOCK_EX) -> bool:
    deadline = time.monotonic() + patience_s
    pause_s, longest_s = _PAUSES_S
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        else:
            return True


@contextmanager
def _opened(path: Path, how: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    # Opened anew each time: then it excludes this process's other threads as well.
    descriptor = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _held.add(descriptor)
    try:
        yield descriptor
    finally:
        # Let go by name, too: a fork at the very moment of opening may have left a copy in a child.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        _held.discard(descriptor)
        os.close(descriptor)
