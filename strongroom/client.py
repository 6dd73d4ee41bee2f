"""The producers' client: documents go in by message, receipts come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from strongroom.batches import Batch, Cutter
from strongroom.contracts import DocumentReceipt, IfExists
from strongroom.errors import StorageError
from strongroom.gate import MAX_WAITING, Gate, OnFull, Patience
from strongroom.keeping import delivery_by
from strongroom.numbering import check_priority
from strongroom.outbox import LIMIT_BYTES, Outbox
from strongroom.outgoing import Document, Outgoing
from strongroom.publisher import Publisher
from strongroom.result import Err, Ok, Result
from strongroom.routes import Priority
from strongroom.service import INBOX, given, service_broker_url, service_max_waiting
from strongroom.ticket import Ticket
from strongroom.waiting import Receipts, Wait

DEFAULT_WAIT_S = 60.0


class Client:
    """Sends documents to strongroom. Every operation answers ``Ok`` or ``Err``; a wrong type raises TypeError.

    ``inbox`` is the folder that the workers share: what lies there is accepted, whether the broker is up or not. Without it
    documents travel inside messages, up to 256 KiB each, and no receipt comes back; then ``outbox`` is a folder of the producer's
    own (made when it is not there, bounded by ``outbox_limit_bytes``) that keeps them while the broker is down. With neither, an
    unreachable broker is an ``Err`` within ``timeout_s`` and one second (looking up its host name not counted).

    More than ``max_waiting`` messages in the queue hold a call up for ``patience_s`` in all (default: ``timeout_s``), then it
    answers ``Err(queue_full)``; ``on_full`` is called at each pause. Safe to share among threads; a child after a fork opens
    connections of its own.
    """

    def __init__(
        self,
        *,
        inbox: Path | str | None = None,
        broker_url: str | None = None,
        timeout_s: float = 5.0,
        outbox: Path | str | None = None,
        outbox_limit_bytes: int = LIMIT_BYTES,
        max_waiting: int = MAX_WAITING,
        patience_s: float | None = None,
        on_full: OnFull | None = None,
    ) -> None:
        if inbox is not None and outbox is not None:
            raise TypeError("a client has an inbox or an outbox: what lies in the inbox needs no other place")
        kept = Outbox(Path(outbox).absolute(), outbox_limit_bytes) if outbox is not None else None
        folder = Path(inbox).absolute() if inbox is not None else None
        self._start(folder, lambda: given(broker_url), timeout_s, Gate(folder, lambda: max_waiting, on_full), patience_s, kept)

    @classmethod
    def of_service(
        cls,
        data_dir: Path | str,
        *,
        timeout_s: float = 5.0,
        patience_s: float | None = None,
        on_full: OnFull | None = None,
    ) -> Self:
        """Return a client of the service that runs on this data folder.

        The service is looked for when something is sent: one that starts later, or starts again elsewhere, is found, and stores
        what was accepted meanwhile. A folder on which none ever ran is an ``Err``. ``max_waiting`` is the service's own.
        """
        folder = Path(data_dir).absolute()
        inbox = folder / INBOX
        client = cls.__new__(cls)
        gate = Gate(inbox, lambda: service_max_waiting(folder), on_full)
        client._start(inbox, lambda: service_broker_url(folder), timeout_s, gate, patience_s, None)
        return client

    def _start(
        self,
        inbox: Path | None,
        address: Callable[[], str],
        timeout_s: float,
        gate: Gate,
        patience_s: float | None,
        outbox: Outbox | None,
    ) -> None:
        self._inbox, self._gate = inbox, gate
        self._patience_s = timeout_s if patience_s is None else patience_s
        self._publisher = Publisher(address, timeout_s)
        self._delivery = delivery_by(self._publisher, inbox, outbox, gate, timeout_s)
        self._receipts = Receipts(inbox)
        self._clock = time.monotonic

    def store(
        self,
        document: Document,
        *,
        library_id: str | None = None,
        version: str | None = None,
        sort_as: str | None = None,
        if_exists: IfExists = "revise",
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str = "",
        receipt: bool = True,
        priority: Priority = "normal",
    ) -> Result[Ticket]:
        """Send one document. On ``Ok`` its bytes are durable in the inbox, outbox or broker, and a job for them will run.

        What the broker alone has is as safe as that is. ``ticket.undelivered`` says why the broker has not been told yet, if so:
        that heals by itself. Safe to call twice: equal content is stored once. After an ``Err`` nothing was accepted:
        without inbox and outbox one whose ``context["delivery"]`` is "unknown" (the broker fell silent half-way) may be stored.
        """
        outgoing = Outgoing(document, library_id, version, sort_as, if_exists, source, metadata or {}, name)
        for result in self.store_iter((outgoing,), receipt=receipt, priority=priority):
            if isinstance(result, Ok) and result.value.failed:
                error = result.value.failed[0].error
                assert error is not None
                return Err(error.as_problem())
            return result
        raise AssertionError("one document makes one batch")

    def store_many(
        self,
        documents: Iterable[Outgoing],
        *,
        receipt: bool = True,
        priority: Priority = "normal",
        on_staged: Callable[[Ticket], object] | None = None,
    ) -> Result[list[Ticket]]:
        """Send documents, up to 500 or 16 MiB of them a message, while they are still being read.

        A document that cannot be read, or whose options are wrong, is listed in its ticket's ``failed``; the others go on. An
        ``Err`` ends it: ``context["accepted"]`` names the jobs sent before. Calling again with everything is safe. ``on_staged``
        is called with each ticket as soon as its job is accepted.
        """
        tickets: list[Ticket] = []
        for result in self.store_iter(documents, receipt=receipt, priority=priority):
            if isinstance(result, Err):
                accepted = [ticket.request_id for ticket in tickets]
                return Err(replace(result.problem, context={**result.problem.context, "accepted": accepted}))
            tickets.append(result.value)
            if on_staged is not None:
                on_staged(result.value)
        return Ok(tickets)

    def store_iter(
        self, documents: Iterable[Outgoing], *, receipt: bool = True, priority: Priority = "normal"
    ) -> Iterator[Result[Ticket]]:
        """Send documents as ``store_many`` does and yield each job's ticket; the first ``Err`` is the last answer.

        Reads on only when asked for the next: whoever stops asking bounds what is outstanding.
        """
        try:
            check_priority(priority)
            self._delivery.check()  # before any byte is staged in vain
            admit = partial(self._gate.pass_through, depth=self._delivery.depth, patience=Patience(self._patience_s))
            cutter = Cutter(self._inbox, receipt=receipt, priority=priority, admit=admit, clock=self._clock)
            with closing(cutter.cut(documents)) as batches:
                for batch in batches:
                    yield Ok(self._send(batch))
        except StorageError as error:
            yield Err.of(error)

    def _send(self, batch: Batch) -> Ticket:
        ticket = batch.ticket()
        if not ticket.sent:
            return ticket
        try:
            message = batch.payload.commit()
        except StorageError:
            batch.payload.discard()
            raise
        handed = self._delivery.send(message)
        self._gate.count(message.queue)
        return replace(ticket, request_id=handed.request_id, undelivered=handed.undelivered)

    def wait(self, tickets: Ticket | Iterable[Ticket], timeout_s: float = DEFAULT_WAIT_S) -> Result[list[DocumentReceipt]]:
        """Wait for the jobs to end and return one receipt a document, in the order in which they were sent.

        When the time is over: ``Err(wait_timeout)``; the jobs go on, and waiting again for the same tickets works.
        """
        waiting = self.waiting(tickets, timeout_s)
        if isinstance(waiting, Err):
            return waiting
        for result in _arrivals(waiting.value):
            if isinstance(result, Err):
                return result
        return Ok(waiting.value.answer())

    def wait_each(
        self, tickets: Ticket | Iterable[Ticket], timeout_s: float = DEFAULT_WAIT_S
    ) -> Iterator[Result[DocumentReceipt]]:
        """Yield each document's receipt as soon as its job has ended, whichever ends first; an ``Err`` is the last answer."""
        waiting = self.waiting(tickets, timeout_s)
        if isinstance(waiting, Err):
            yield waiting
            return
        for result in _arrivals(waiting.value):
            if isinstance(result, Err):
                yield result
            else:
                yield from map(Ok, result.value)

    def waiting(self, tickets: Ticket | Iterable[Ticket], timeout_s: float) -> Result[Wait]:
        """Return a wait that the caller drives; ``wait`` and ``wait_each``, here and in ``strongroom.aio``, do."""
        try:
            return Ok(self._receipts.expect((tickets,) if isinstance(tickets, Ticket) else tickets, timeout_s))
        except StorageError as error:
            return Err.of(error)

    def flush(self) -> Result[int]:
        """Tell the broker now of what was accepted while it was down; answer how many messages that were.

        With an inbox nothing depends on it: the workers find what lies there. With an outbox, a client that lives does it by
        itself in the background. When the broker is still down, or cannot be told of everything within ``timeout_s``:
        ``Err(broker_unavailable)``, and what is left stays.
        """
        try:
            return Ok(self._delivery.flush())
        except StorageError as error:
            return Err.of(error)

    def close(self) -> None:
        """End what goes on in the background, and close the connections to the broker. A later call opens them again."""
        self._delivery.close()
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _arrivals(waiting: Wait) -> Iterator[Result[list[DocumentReceipt]]]:
    try:
        while True:
            yield Ok(waiting.poll())
            if waiting.done:
                return
            time.sleep(waiting.pause_s())
    except StorageError as error:
        yield Err.of(error)
