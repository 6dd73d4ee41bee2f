"""Parts of an inbox file, read through one descriptor that many may share."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

from strongroom.errors import PayloadDamaged, PayloadMissing

_NO_REGULAR_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV}  # what open(2) says of a symlink, a socket, a device that is none


def open_regular(path: Path) -> int:
    """Return a descriptor of an inbox file for reading; a link is not followed, and nothing is waited for.

    Raises:
        PayloadMissing: no such file.
        PayloadDamaged: it is no regular file.
        OSError: the operating system refused.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise PayloadMissing(f"The inbox file {path.name} is not there.") from None
    except OSError as error:
        if error.errno not in _NO_REGULAR_FILE:
            raise
        raise PayloadDamaged(f"{path.name} is no inbox file: {error.strerror}.") from error


class Extent(io.RawIOBase):
    """Part of a file, read by position: the descriptor is shared and keeps its own place."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor, self._start, self._offset, self._end = descriptor, offset, offset, offset + length

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place of the part, and return it."""
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._offset, io.SEEK_END: self._end}[whence]
        self._offset = max(self._start, base + offset)
        return self._offset - self._start

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # typeshed asks for any writable buffer
        """Fill the buffer as far as the part goes; return how many bytes that were."""
        room = memoryview(buffer)[: max(0, self._end - self._offset)]
        count = os.preadv(self._descriptor, [room], self._offset) if room else 0
        self._offset += count
        return count
