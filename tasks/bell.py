"""The bell of a data folder: whoever has entered a job in the ledger rings it, and a worker process sends the job at once.

A named pipe. It says nothing but that there is something new: whoever hears it looks at the ledger. Where nobody hears it (no
service, workers on another host, a file system without named pipes) nothing is lost: workers look every two seconds in any case.

Rejected: to send the message from the command that entered the job. That takes a tenth of a second of imports to speak to the
broker, and one more place that knows how messages are made.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import suppress
from pathlib import Path

_NAME = "bell"
_GULP = 4096


def ring(run: Path) -> None:
    """Wake one process that listens in this run folder, if there is any."""
    with suppress(OSError):  # nobody listens, or there is no bell
        descriptor = os.open(run / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"\a")
        finally:
            os.close(descriptor)


def take_down(run: Path) -> None:
    """Remove the bell: nobody is left who listens. Copying a folder is easier without a pipe in it."""
    (run / _NAME).unlink(missing_ok=True)


class Bell:
    """A process's ear. Each ring is heard by one of all that listen in a folder."""

    def __init__(self, run: Path) -> None:
        """Hang the bell up if it is not there. Where it cannot be, nothing will be heard."""
        self._poll = select.poll()
        self._end, self._ended = os.pipe()
        self._poll.register(self._end, select.POLLIN)
        self._rope = _open(run / _NAME)
        if self._rope is not None:
            self._poll.register(self._rope, select.POLLIN)

    def heard(self) -> bool:
        """Wait until somebody rings; False when ``end`` was called."""
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._end in ready:
                return False
            with suppress(BlockingIOError):  # another process was faster
                if self._rope is not None and os.read(self._rope, _GULP):
                    return True

    def end(self) -> None:
        """Have ``heard`` return False from now on, in whatever thread it waits."""
        os.write(self._ended, b"\0")

    def close(self) -> None:
        """Let go of the descriptors; nobody waits any more."""
        for descriptor in (self._end, self._ended, self._rope):
            if descriptor is not None:
                os.close(descriptor)


def _open(path: Path) -> int | None:
    """Open for both directions: with a writer of its own a pipe has no end, which would be there to be read for ever."""
    with suppress(OSError):  # it hangs there, or cannot
        os.mkfifo(path, 0o600)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
