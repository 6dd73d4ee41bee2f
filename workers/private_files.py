"""Files and folders below the data folder that only their owner may read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from strongroom.errors import DataFolderError, PermissionRefused


def make_folder(path: Path) -> None:
    """Make the folder, and those above it, when they are not there.

    Raises:
        PermissionRefused: the operating system says no.
        DataFolderError: something that is no folder stands in the way, or none can be there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataFolderError(f"{path} cannot be a folder: {error.strerror}.") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):  # no folder can be there
            raise DataFolderError(f"{path} cannot be made: {error.strerror}.") from error
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise PermissionRefused(f"{path} cannot be made: {error.strerror}.") from error


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, mode 0600: a reader sees the old text or the new, never a part.

    Not synced: what is written here is made anew at each start.
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
