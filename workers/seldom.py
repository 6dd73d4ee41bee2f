"""Figures that cost something to take, taken no more often than they are worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Seldom(Generic[T]):
    """Remembers what ``take`` returned, and takes it again only when that needs at most ``share`` of the time.

    What takes 10 ms is two seconds old at most with a share of 1/200, what takes 400 ms a minute and a half.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._last: tuple[T] | None = None
        self._again_at_s = 0.0

    def get(self, take: Callable[[], T]) -> T:
        """Return what ``take`` returns now, or returned a while ago. When it raises, nothing is remembered."""
        started = self._clock()
        if self._last is None or started >= self._again_at_s:
            self._last = None
            self._last = (take(),)
            ended = self._clock()
            self._again_at_s = ended + (ended - started) / self._share
        return self._last[0]
