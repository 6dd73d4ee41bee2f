"""Keeping: messages that carry their documents, kept in an outbox while the broker is down."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from strongroom.breaker import Breaker
from strongroom.courier import Courier
from strongroom.delivery import Delivery, Doorbells, Handed, Straight, unfinished
from strongroom.errors import BrokerUnavailable, QueueFull, StorageError, Transient
from strongroom.gate import Gate
from strongroom.message import Message
from strongroom.outbox import Outbox
from strongroom.publisher import Publisher
from strongroom.result import Problem


class Keeping:
    """To the broker, or durably into the outbox: then they go, in order, as soon as the broker answers, before any newer one."""

    def __init__(
        self,
        publisher: Publisher,
        outbox: Outbox,
        breaker: Breaker,
        gate: Gate,
        timeout_s: float,
    ) -> None:
        self._publisher, self._outbox, self._breaker = publisher, outbox, breaker
        self._gate, self._timeout_s = gate, timeout_s
        me = weakref.ref(self)  # the thread must not keep alive what nobody else holds
        self._courier = Courier(lambda: _round(me), outbox.is_empty)
        with suppress(StorageError):  # told when something is stored
            if not outbox.is_empty():
                self._courier.wake()

    def check(self) -> None:
        """Find out whether messages can be accepted: with an outbox that can be written, they can.

        Raises:
            DiskFull, PermissionRefused, TransientIO, StorageError: it cannot be written.
            ConfigurationError: no broker can ever be reached this way.
        """
        self._outbox.prepare()
        with suppress(BrokerUnavailable):
            self._breaker.call(self._publisher.check)

    def send(self, message: Message) -> Handed:
        """Hand the message to the broker; else keep it, durable on return, behind those that are kept already.

        Raises:
            OutboxFull, DiskFull, PermissionRefused, TransientIO, StorageError: it could not be kept either.
        """
        try:
            self._clear()
            self._breaker.call(lambda: self._publisher.send(message))
        except (BrokerUnavailable, QueueFull) as error:
            request_id = self._outbox.put(message, sent=error.context.get("delivery") == "unknown")
            self._courier.wake()
            return Handed(request_id, Problem.of(error))
        return Handed(message.request_id)

    def _clear(self) -> None:
        """Deliver what was kept before, so that the next message may go.

        Raises:
            BrokerUnavailable, QueueFull: that was not possible, or not in time.
        """
        if self._outbox.is_empty():
            return
        # The breaker counts the look into the folder as well: with 100,000 messages there it is what a failed try costs.
        if not self._breaker.call(lambda: self.deliver(until=time.monotonic() + self._timeout_s)):
            hint = "They are delivered in order; `strongroom outbox --folder` shows them."
            raise BrokerUnavailable("Messages that were accepted before go first.", hint, {"delivery": "none"})

    def deliver(
        self,
        *,
        turn_s: float = 0.0,
        until: float | None = None,
        anyway: bool = False,
        told: Callable[[int], object] = lambda _count: None,
    ) -> bool:
        """Deliver what is kept, ``anyway`` even if the broker was down a moment ago; return whether nothing is left.

        Raises:
            BrokerUnavailable: the broker is down.
            QueueFull: it has enough already.
            PermissionRefused, TransientIO, StorageError: the outbox cannot be read.
        """

        def hand_over(message: Message) -> None:
            self._breaker.call(lambda: self._hand_over(message), anyway=anyway)

        return self._outbox.deliver(hand_over, turn_s=turn_s, until=until, told=told)

    def _hand_over(self, message: Message) -> None:
        full = self._gate.full(message.queue, self._publisher.depth)
        if full is not None:
            raise full
        self._publisher.send(message)
        self._gate.count(message.queue)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; 0 when the broker is down."""
        try:
            return self._breaker.call(lambda: self._publisher.depth(queue))
        except BrokerUnavailable:
            return 0

    def flush(self, within_s: float | None = None) -> int:
        """Deliver now what is kept; return how many messages that were. After ``within_s`` (the client's timeout) none is begun.

        Raises:
            Transient: another process delivers it just now.
            BrokerUnavailable: the broker is down, or slow: some are left.
            QueueFull, StorageError: see ``deliver``.
        """
        counts = [0]
        within_s = self._timeout_s if within_s is None else within_s
        turn_s, until = min(within_s, self._timeout_s), time.monotonic() + within_s
        if not self.deliver(turn_s=turn_s, until=until, anyway=True, told=counts.append):
            if counts[-1]:
                raise unfinished(counts[-1], within_s)
            raise Transient("Another process delivers what this outbox holds.", "It goes on by itself; look again in a while.")
        return counts[-1]

    def close(self) -> None:
        """End the thread. What it did not deliver stays in the outbox, for the next client or `strongroom outbox flush`."""
        self._courier.stop(self._timeout_s + 1)


def delivery_by(publisher: Publisher, inbox: Path | None, outbox: Outbox | None, gate: Gate, timeout_s: float) -> Delivery:
    """Return how a client delivers that has this inbox, or this outbox, or neither."""
    if inbox is not None:
        return Doorbells(publisher, inbox, Breaker(), timeout_s)
    if outbox is not None:
        return Keeping(publisher, outbox, Breaker(), gate, timeout_s)
    return Straight(publisher)


def _round(keeping: weakref.ref[Keeping]) -> bool:
    living = keeping()
    return living is None or living.deliver(anyway=True)
