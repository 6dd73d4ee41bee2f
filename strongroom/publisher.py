"""The publisher: lines to the broker that stay open between calls, one for each thread that sends at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom.errors import BrokerUnavailable
from strongroom.forks import not_forked
from strongroom.message import Message

if TYPE_CHECKING:
    from strongroom.line import Line

QUICK_S = 1.0
"""A line that fails within this time leaves enough of the caller's patience to try a new one."""


class Publisher:
    """Sends messages. Safe to use from many threads, and in a child after a fork (redis-py's pools see to that).

    ``address`` is asked whenever a line is opened, so that a service that moved is found again.
    """

    def __init__(self, address: Callable[[], str], timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._idle: list[Line] = []

    def check(self) -> None:
        """Make sure that the broker is there, before work is put into a message.

        Raises:
            BrokerUnavailable, ConfigurationError, DataFolderError, PermissionRefused: it is not.
        """
        with self._line():
            pass

    def send(self, message: Message) -> None:
        """Put one message into the queue, at most once.

        Raises:
            BrokerUnavailable: ``context["delivery"]`` tells "none" from "unknown".
        """
        with self._line() as line:
            line.publish(message)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue.

        Raises:
            BrokerUnavailable: the broker does not tell.
        """
        with self._line() as line:
            return line.depth(queue)

    def close(self) -> None:
        """Hang up. The next call opens a line again."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _line(self) -> Iterator[Line]:
        with not_forked(importing=True):
            from strongroom.line import Line  # noqa: PLC0415 - kombu costs 100 ms and 20 MB, which whoever never sends need not pay
        with not_forked():
            line = self._checked() or Line(self._address(), self._timeout_s)
            try:
                yield line
            except BaseException:
                line.close()  # in an unknown state: an answer may still come, to be taken for another message's
                raise
            self._idle.append(line)

    def _checked(self) -> Line | None:
        """Return an idle line that works; None when there is none, or when it failed so quickly that a new one may be tried."""
        try:
            line = self._idle.pop()
        except IndexError:
            return None
        started = time.monotonic()
        try:
            line.check()
        except BrokerUnavailable:
            line.close()
            if time.monotonic() - started > QUICK_S:
                raise
            return None
        return line
