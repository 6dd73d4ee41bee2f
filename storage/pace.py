"""The pace of a sweep: as fast as the disk when nothing else runs, out of the way when something does."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

LOOK_S = 0.05
"""How often is looked whether somebody else is at work."""

LINGER_S = 1.0
"""How long somebody who was seen at work is taken to be at it: between two jobs that follow each other nothing is to be seen."""

SHARE = 0.05
"""What of the time a sweep reads while others work: the promise must come nearer all the same."""

MIB = 1 << 20
NICENESS = 10


class Pace:
    """Takes its time after each piece that was read. Safe in several threads, which share it.

    ``busy`` tells whether others are at work; it is asked at most each LOOK_S. ``most_mb_s``: never faster; 0 is no limit.
    """

    def __init__(self, busy: Callable[[], bool] = lambda: False, most_mb_s: float = 0.0) -> None:
        self._busy = busy
        self._piece_s = 1 / most_mb_s if most_mb_s else 0.0
        self._lock = threading.Lock()
        self._looked = self._seen = -math.inf
        self._began = time.monotonic()
        self._free_at = self._began
        self.yielded_s = 0.0
        """How long it stood aside for others."""

    def __call__(self, count: int) -> None:
        """Note that so many bytes were read, and wait as long as is due for them."""
        pause_s = self._due(count)
        if pause_s > 0:
            time.sleep(pause_s)

    def _due(self, count: int) -> float:
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_S:
                self._looked = now
                self._seen = now if self._busy() else self._seen
            aside_s = 0.0
            if now - self._seen < LINGER_S:
                aside_s = max(now - self._began, 0.001) * (1 / SHARE - 1)
                aside_s = min(aside_s, LOOK_S)
                self.yielded_s += aside_s
            self._free_at = max(self._free_at, now) + count / MIB * self._piece_s
            self._began = now + aside_s
            return max(aside_s, self._free_at - now)


def step_back() -> None:
    """Have the calling thread compute behind everybody else's (setpriority(2) on Linux takes a thread)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
