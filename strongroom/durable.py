"""Durable steps on a file system: what has happened survives a power cut once these return.

Every step is announced under a name before it runs, so that a test can crash a process at each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from strongroom.errors import DiskFull, PermissionRefused, StorageError, TransientIO

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_PASSING = {errno.EAGAIN, errno.EINTR, errno.EIO, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Steps:
    """Announces durable steps to an observer. Without one it does nothing; only tests set one."""

    observer: Callable[[str], None] | None = None

    def __call__(self, name: str) -> None:
        """Tell the observer that the step ``name`` is about to happen."""
        if self.observer is not None:
            self.observer(name)


step = Steps()


def fsync_file(descriptor: int, name: str) -> None:
    """Make a file's bytes durable. After a failure write the file anew: a second fsync may lie (fsyncgate, 2018)."""
    step(f"{name}: fsync")
    os.fsync(descriptor)


def fsync_folder(folder: Path, name: str) -> None:
    """Make a folder's entries durable: a rename is only safe after this."""
    step(f"{name}: fsync folder")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path, name: str) -> None:
    """Switch a finished file into place. Durable after ``fsync_folder`` of the target's folder."""
    step(f"{name}: rename")
    source.rename(target)


def make_folder(folder: Path, name: str) -> None:
    """Make a folder and its missing parents, private to their owner, each durable in the folder above."""
    if folder.is_dir():
        return
    make_folder(folder.parent, name)
    step(f"{name}: make folder")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    fsync_folder(folder.parent, name)


@contextlib.contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turn an OSError into the StorageError that says what to do.

    Raises:
        DiskFull: no space, or a quota is used up.
        PermissionRefused: access denied or a read-only file system.
        TransientIO: an error that may pass, tried again by those who retry.
        StorageError: any other.
    """
    try:
        yield
    except OSError as error:
        reason = f"{what}: {error.strerror or error}"
        context = {"path": str(error.filename)} if error.filename else {}
        if error.errno in _FULL:
            raise DiskFull(reason, None, context) from error
        if error.errno in _REFUSED:
            raise PermissionRefused(reason, None, context) from error
        if error.errno in _PASSING:
            raise TransientIO(reason, None, context) from error
        raise StorageError(reason, None, context) from error
