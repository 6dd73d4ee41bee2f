"""The gate: back-pressure. Who sends faster than the workers store is held up, for a bounded time, before anything is staged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from strongroom import durable
from strongroom.errors import DiskFull, QueueFull
from strongroom.result import Problem

MAX_WAITING = 200_000
"""Messages that may wait in a queue: what a busy night leaves behind, and small enough for the broker's memory (1 KB each)."""

LEAST_FREE_BYTES = 16 << 20
"""What a disk must have free before a batch is staged on it: room for a whole one."""

LOOK_S = 1.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
PAUSE_GROWTH = 1.6


OnFull = Callable[[Problem], object]
"""Is called, with an error that says how full the queue is, at each pause of a call that is held up."""


class Patience:
    """How long one call may still be held up, in all."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds

    def sleep(self, seconds: float) -> None:
        """Use up some of it."""
        pause_s = min(seconds, self.left_s)
        self.left_s -= pause_s
        time.sleep(pause_s)


class Gate:
    """Looks at queue and disk about once a second, and counts what is sent in between. No lock: a look too many does no harm."""

    def __init__(
        self,
        inbox: Path | None,
        most: Callable[[], int],
        on_full: OnFull | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox, self._most, self._on_full, self._clock = inbox, most, on_full, clock
        self._space_at = float("-inf")
        self._limit = 0
        self._looks: dict[str, tuple[float, int]] = {}

    def pass_through(self, queues: Sequence[str], depth: Callable[[str], int], patience: Patience) -> None:
        """Return when a batch may be begun that goes to one of these queues, after growing pauses if need be.

        Raises:
            QueueFull: the patience is at its end.
            DiskFull: the inbox's disk has no room for a batch. Nothing that a producer could wait for heals that.
            BrokerUnavailable: the broker does not tell how many wait.
        """
        self._check_space()
        pause_s = FIRST_PAUSE_S
        while (full := next((found for queue in queues if (found := self.full(queue, depth))), None)) is not None:
            if patience.left_s <= 0:
                raise full
            if self._on_full is not None:
                self._on_full(Problem.of(full))
            patience.sleep(pause_s)
            pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)

    def full(self, queue: str, depth: Callable[[str], int]) -> QueueFull | None:
        """Return an error when a queue holds as much as it may, else None."""
        seen_at, waiting = self._looks.get(queue, (float("-inf"), 0))
        if waiting >= self._limit or self._clock() - seen_at >= LOOK_S:
            waiting, self._limit = depth(queue), self._most()
            self._looks[queue] = (self._clock(), waiting)
        if waiting < self._limit:
            return None
        said = f"{waiting:,} messages wait in the queue {queue}; {self._limit:,} may."
        return QueueFull(said, None, {"queue": queue, "waiting": waiting, "max_waiting": self._limit, "delivery": "none"})

    def count(self, queue: str) -> None:
        """Note that a message was sent."""
        seen_at, waiting = self._looks.get(queue, (float("-inf"), 0))
        self._looks[queue] = (seen_at, waiting + 1)

    def _check_space(self) -> None:
        if self._inbox is None or self._clock() - self._space_at < LOOK_S:
            return
        with durable.os_errors("cannot look at the inbox's disk"):
            try:
                status = os.statvfs(self._inbox)
            except FileNotFoundError:  # a mistyped inbox is told of by its own error
                return
        free = status.f_bavail * status.f_frsize
        if free < LEAST_FREE_BYTES:
            said = f"The disk of the inbox has {free:,} bytes free; a batch needs {LEAST_FREE_BYTES:,}."
            raise DiskFull(said, None, {"path": str(self._inbox), "free_bytes": free})
        self._space_at = self._clock()
