"""Spare room: a file that stands for free space, so that a sweep can still write its rows when the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress

from storage.layout import DataFolder
from strongroom import durable

SPARE = "sweep.spare"
SPARE_BYTES = 8 << 20
"""What the catalogue's log grows by in a sweep of a few thousand segments."""


def keep_spare(folder: DataFolder) -> bool:
    """Have the room set aside, if there is as much; return whether there is. The disk's own errors are nobody's trouble here."""
    path = folder.metadata / SPARE
    with suppress(OSError):
        if path.exists() and path.stat().st_size == SPARE_BYTES:
            return True
        durable.step("spare: allocate")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SPARE_BYTES)
        except OSError:
            path.unlink()  # half of it would only take room from others
            return False
        finally:
            os.close(descriptor)
        return True
    return False


def use_spare(folder: DataFolder) -> bool:
    """Free the room that was set aside; return whether there was any."""
    try:
        (folder.metadata / SPARE).unlink()
    except FileNotFoundError:
        return False
    return True
