"""Delivery: what a client does with a message when the broker is there, and when it is not."""

from __future__ import annotations

import os
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

    def flush(self) -> int:
        """Hand over now what the broker does not have yet; return how many messages that were.

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

    def flush(self) -> int:
        """Return 0: nothing is ever kept."""
        return 0

    def close(self) -> None:
        """Do nothing: nothing goes on in the background."""


class Doorbells:
    """Rings for files of the inbox, which are accepted already: a bell that cannot be rung is no error.

    The workers look into the inbox by themselves and find what nobody rang for; a bell only saves them the look. So bells are
    remembered in memory alone, and rung in order before the next one when the broker is back. One that rings twice is harmless.
    """

    def __init__(self, publisher: Publisher, inbox: Path, breaker: Breaker) -> None:
        self._publisher, self._inbox, self._breaker = publisher, inbox, breaker
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
            self._ring_all()
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

    def flush(self) -> int:
        """Ring the bells that could not be rung, even if the broker was down a moment ago.

        Raises:
            StorageError: it still is.
        """
        return self._ring_all(anyway=True)

    def _ring_all(self, *, anyway: bool = False) -> int:
        rung = 0
        while self._unrung:
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
