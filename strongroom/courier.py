"""The courier: a thread that delivers what an outbox holds, and lives only as long as there is something to deliver."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from strongroom.errors import StorageError

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
PAUSE_GROWTH = 1.5


class Courier:
    """Calls ``round`` again and again, ever more seldom, until it answers that nothing is left.

    The thread dies with the process, with ``stop``, and with its courier. A fork leaves it behind; the child's next ``wake``
    starts another.
    """

    def __init__(self, round_: Callable[[], bool], is_empty: Callable[[], bool]) -> None:
        self._round, self._is_empty = round_, is_empty
        self._renew()
        _couriers.add(self)

    def _renew(self) -> None:
        # In a fork's child a lock that another thread held would never come free.
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Make sure that the thread runs. Called after something was kept."""
        with self._guard:
            if self._thread is None:
                self._stopping = threading.Event()
                self._thread = threading.Thread(
                    target=_deliver, args=(weakref.ref(self), self._stopping), name="strongroom outbox", daemon=True
                )
                self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread; wait that long for what it does just now. ``wake`` starts another."""
        with self._guard:
            thread, self._thread = self._thread, None
            self._stopping.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def turn(self) -> bool:
        """Deliver once; return whether the thread may end."""
        try:
            if not self._round():
                return False
        except StorageError:  # the broker is still down, or the disk: told to whoever stores or flushes next
            return False
        with self._guard:  # what is kept after this look is followed by a wake, which finds no thread and starts one
            ended = self._is_empty()
            if ended and self._thread is threading.current_thread():
                self._thread = None
            return ended


_couriers: weakref.WeakSet[Courier] = weakref.WeakSet()


def _deliver(courier: weakref.ref[Courier], stopping: threading.Event) -> None:
    pause_s = FIRST_PAUSE_S
    while not stopping.wait(pause_s):
        living = courier()
        if living is None or living.turn():
            return
        del living  # not held while sleeping: a client that nobody holds any more ends this thread
        pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)


def _renew_in_child() -> None:
    for courier in list(_couriers):
        courier._renew()


os.register_at_fork(after_in_child=_renew_in_child)
