"""A circuit breaker: a broker that is down is not asked by every call, each of which would wait for it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from strongroom.errors import BrokerUnavailable

T = TypeVar("T")

REST = 4
"""A failed try is followed by a rest this many times as long: a dead broker costs a producer a fifth of its time, whatever it
takes to find out (0.3 ms at a closed socket, the whole timeout at one that is mute)."""

LONGEST_REST_S = 15.0


class Breaker:
    """Remembers for a while that the broker is down. Holds no lock, so that it works among threads and after a fork.

    Two threads may find out at once that the rest is over and try both; nothing worse comes of that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failure: BrokerUnavailable | None = None
        self._until = 0.0

    def call(self, work: Callable[[], T], *, anyway: bool = False) -> T:
        """Do something with the broker, ``anyway`` even while it is remembered as down.

        Raises:
            BrokerUnavailable: as ``work`` says; or at once, with what it said the last time, while the broker rests.
        """
        started = self._clock()
        if not anyway and self._failure is not None and started < self._until:
            raise BrokerUnavailable(self._failure.message, self._failure.hint, {"delivery": "none"})
        try:
            result = work()
        except BrokerUnavailable as error:
            ended = self._clock()
            self._until = ended + min(LONGEST_REST_S, REST * (ended - started))
            self._failure = error
            raise
        self._failure = None
        return result
