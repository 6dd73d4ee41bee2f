"""Ctrl-C in the demo: noted at once, acted upon only where everything that was started is known."""

from __future__ import annotations

import time

from workers.signals import Signals


class Interrupted(Exception):
    """Somebody asked the demo to stop: Ctrl-C, SIGTERM, or a terminal that was closed."""


class Interruption:
    """The places where the demo lets itself be stopped.

    An exception raised by the handler itself could come between the start of a process and the note of it; so the demo
    asks instead, and nothing in it blocks for long without asking.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    @property
    def asked(self) -> int:
        """How often somebody asked."""
        return self._signals.stops

    def check(self) -> None:
        """Raise Interrupted when somebody asked to stop."""
        if self._signals.stops:
            raise Interrupted

    def pause(self, seconds: float) -> None:
        """Sleep, and raise Interrupted as soon as somebody asks to stop."""
        self.check()
        self._signals.wait(seconds)
        self.check()

    def doze(self, seconds: float) -> None:
        """Sleep, shorter when a signal comes; for the clean-up, which nothing interrupts."""
        self._signals.wait(seconds)


class Deadline:
    """A span of time that ends."""

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return time.monotonic() >= self._end_s
