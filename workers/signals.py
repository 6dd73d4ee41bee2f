"""The signals that stop the supervisor, and those that wake it."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered, counts the requests to stop instead of dying of them, and wakes ``wait`` when a child ends.

    From the first instruction after entering, no Ctrl-C can come between a process's start and the note of it.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._wake, self._woken = wake_pipe()
        for number in _STOP:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1) asks to stay
                self._before[number] = signal.signal(number, self._count)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._wake)
        os.close(self._woken)

    def wait(self, timeout_s: float) -> None:
        """Return after ``timeout_s``, or at once when a signal came."""
        if select.select([self._wake], [], [], timeout_s)[0]:
            os.read(self._wake, 4096)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1


def wake_pipe() -> tuple[int, int]:
    """Return a pipe's ends: the first can be read once a signal has come to this process, for whoever waits for descriptors.

    Raises:
        ValueError: this is not the main thread.
    """
    signal.set_wakeup_fd(-1)
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    return wake, woken


def default_signals() -> None:
    """Give the signals their usual effect again: for a forked child that is not the supervisor."""
    signal.set_wakeup_fd(-1)
    for number in (*_STOP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
