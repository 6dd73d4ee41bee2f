"""Delivery: what a client does with a message when the broker is there, and when it is not."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from strongroom.breaker import Breaker
from strongroom.errors import BrokerUnavailable, StorageError
from strongroom.message import Message
from strongroom.publisher import Publisher
from strongroom.result import Problem

MOST_UNRUNG = 10_000
"""Doorbells that are remembered; the workers find the files of older ones by themselves."""


@dataclass(frozen=True, slots=True)
class Handed:
    """An accepted message: the id of its job, and why the broker does not have it yet (None: it has)."""

    request_id: str
    undelivered: Problem | None = None


def unfinished(delivered: int, within_s: float) -> BrokerUnavailable:
    """Return what is said when a slow broker was not told of everything in time."""
    return BrokerUnavailable(
        f"Not everything could be delivered within {within_s:g} s: {delivered} delivered, more is left.",
        "Nothing is lost: the rest follows by and by. Calling again goes on.",
        {"delivery": "none", "delivered": delivered},
    )


class Delivery(Protocol):
    """Where messages go. Safe among threads and after a fork."""

    def check(self) -> None:
        """Find out whether anything can be accepted, before work is put into a message.

        Raises:
            StorageError: it cannot.
        """

    def send(self, message: Message) -> Handed:
        """Accept a message, and hand it to the broker if that is possible.

        Raises:
            StorageError: it was not accepted, or, with ``context["delivery"]`` "unknown", perhaps it was.
        """

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; 0 when the broker cannot be asked and need not be."""

    def flush(self, within_s: float | None = None) -> int:
        """Hand over now what the broker does not have yet; return how many messages that were.

        Begins with none after ``within_s``, by default the client's own timeout.

        Raises:
            StorageError: some are left.
        """

    def close(self) -> None:
        """Stop what goes on in the background."""


class Straight:
    """To the broker or nowhere: for messages that carry their documents, when there is no outbox."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def check(self) -> None:
        """Make sure of the broker."""
        self._publisher.check()

    def send(self, message: Message) -> Handed:
        """Hand the message to the broker."""
        self._publisher.send(message)
        return Handed(message.request_id)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return self._publisher.depth(queue)

    def flush(self, within_s: float | None = None) -> int:  # noqa: ARG002 - Delivery's
        """Return 0: nothing is ever kept."""
        return 0

    def close(self) -> None:
        """Do nothing: nothing goes on in the background."""


class Doorbells:
    """Rings for files of the inbox, which are accepted already: a bell that cannot be rung is no error.

    The workers look into the inbox by themselves and find what nobody rang for; a bell only saves them the look. So bells are
    remembered in memory alone, and rung in order before the next one when the broker is back. One that rings twice is harmless.
    """

    def __init__(self, publisher: Publisher, inbox: Path, breaker: Breaker, timeout_s: float) -> None:
        self._publisher, self._inbox, self._breaker, self._timeout_s = publisher, inbox, breaker, timeout_s
        self._unrung: deque[Message] = deque(maxlen=MOST_UNRUNG)

    def check(self) -> None:
        """Find out whether documents can be accepted: with the inbox there, they can.

        Raises:
            BrokerUnavailable: neither broker nor inbox is there.
            ConfigurationError, DataFolderError, PermissionRefused: no broker can ever be reached this way.
        """
        try:
            self._breaker.call(self._publisher.check)
        except BrokerUnavailable:
            if not os.path.isdir(self._inbox):  # noqa: PTH112 - Path.is_dir raises where permission is missing
                raise

    def send(self, message: Message) -> Handed:
        """Ring, after those that could not be rung before. Never fails: the file in the inbox is the acceptance."""
        try:
            self._ring_all(self._timeout_s)
            self._breaker.call(lambda: self._publisher.send(message))
        except StorageError as error:
            self._unrung.append(message)
            return Handed(message.request_id, Problem.of(error))
        return Handed(message.request_id)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; 0 when the broker is down."""
        try:
            return self._breaker.call(lambda: self._publisher.depth(queue))
        except BrokerUnavailable:
            return 0

    def flush(self, within_s: float | None = None) -> int:
        """Ring the bells that could not be rung, even if the broker was down a moment ago.

        Raises:
            BrokerUnavailable: it still is, or the time was over before all were rung.
            StorageError: it cannot be asked.
        """
        return self._ring_all(self._timeout_s if within_s is None else within_s, anyway=True)

    def _ring_all(self, within_s: float, *, anyway: bool = False) -> int:
        rung, until = 0, time.monotonic() + within_s
        while self._unrung:
            if time.monotonic() >= until:
                raise unfinished(rung, within_s)
            try:
                message = self._unrung.popleft()
            except IndexError:  # another thread rang the last one
                break
            try:
                self._breaker.call(lambda first=message: self._publisher.send(first), anyway=anyway)  # type: ignore[misc] # mypy cannot infer a lambda's default
            except BaseException:
                self._unrung.appendleft(message)
                raise
            rung += 1
        return rung

    def close(self) -> None:
        """Do nothing: what was not rung for is found by the workers."""
