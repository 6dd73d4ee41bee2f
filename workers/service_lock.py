"""The lock on a data folder: one service at a time, whichever way its parts were started."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from strongroom.errors import DataFolderLocked, PermissionRefused
from workers.private_files import make_folder
from workers.processes import birth_of, is_running

_DYING_S = 5.0


def lock_service(data: Path) -> int:
    """Take the folder for a supervisor and return the lock's descriptor. Every part inherits it.

    So the lock is free only when the last process of a service is gone: after a supervisor was killed, this waits for
    its parts to die.

    Raises:
        DataFolderLocked: another service lives there.
    """
    descriptor = _open(data)
    deadline = time.monotonic() + _DYING_S
    while not _try(descriptor, fcntl.LOCK_EX):
        holder = _holder(descriptor)
        if holder is not None or time.monotonic() > deadline:
            os.close(descriptor)
            raise DataFolderLocked(_refusal(data, holder))
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {birth_of(os.getpid())}".encode("ascii"), 0)
    return descriptor


def share_lock(data: Path) -> int:
    """Take the folder together with other parts that were started one by one, and return the lock's descriptor, inheritable.

    Raises:
        DataFolderLocked: a supervisor lives there.
    """
    descriptor = _open(data)
    if not _try(descriptor, fcntl.LOCK_SH):
        holder = _holder(descriptor)
        os.close(descriptor)
        raise DataFolderLocked(_refusal(data, holder))
    os.set_inheritable(descriptor, True)
    return descriptor


def _open(data: Path) -> int:
    path = data / "metadata" / "service.lock"
    make_folder(path.parent)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise PermissionRefused(f"{path} cannot be written: {error.strerror}.") from error


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def supervisor_of(data: Path) -> int | None:
    """Return the process number of the supervisor that holds the folder, from its first moment to its last; else None."""
    try:
        descriptor = os.open(data / "metadata" / "service.lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        # What the file says counts only while the lock is held: its writer may have gone on to other things.
        return None if _try(descriptor, fcntl.LOCK_SH) else _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int | None:
    pid, _, birth = os.pread(descriptor, 100, 0).decode("ascii", "replace").partition(" ")
    return int(pid) if pid.isdigit() and is_running(int(pid), birth) else None


def _refusal(data: Path, holder: int | None) -> str:
    who = f"process {holder}" if holder else "parts that were started one by one"
    return f"A service already runs on {data} ({who})."
