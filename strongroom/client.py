"""The producers' client: documents go in by message, receipts come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from strongroom.batches import Batch, Cutter
from strongroom.contracts import DocumentReceipt, IfExists
from strongroom.errors import Category, ConfigurationError, StorageError
from strongroom.outgoing import Document, Outgoing, check_priority
from strongroom.publisher import Publisher
from strongroom.result import Err, Ok, Problem, Result
from strongroom.routes import Priority
from strongroom.service import INBOX, service_broker_url
from strongroom.ticket import Ticket
from strongroom.waiting import Receipts, Wait

DEFAULT_WAIT_S = 60.0


class Client:
    """Sends documents to strongroom. Every operation answers ``Ok`` or ``Err``; a wrong type raises TypeError.

    ``inbox`` is the folder that the workers share. Without it documents travel inside messages, up to 256 KiB each, and no
    receipt comes back. An unreachable broker is an ``Err`` within ``timeout_s`` and one second (looking up its host name not
    counted). Safe to share among threads; a child after a fork opens connections of its own.
    """

    def __init__(self, *, inbox: Path | str | None = None, broker_url: str | None = None, timeout_s: float = 5.0) -> None:
        self._start(Path(inbox).absolute() if inbox is not None else None, lambda: _given(broker_url), timeout_s)

    @classmethod
    def of_service(cls, data_dir: Path | str, *, timeout_s: float = 5.0) -> Self:
        """Return a client of the service that runs on this data folder.

        The service is looked for when something is sent: with none there the answer is an ``Err``, and one that starts
        later, or starts again elsewhere, is found.
        """
        folder = Path(data_dir).absolute()
        client = cls.__new__(cls)
        client._start(folder / INBOX, lambda: service_broker_url(folder), timeout_s)
        return client

    def _start(self, inbox: Path | None, address: Callable[[], str], timeout_s: float) -> None:
        self._inbox = inbox
        self._publisher = Publisher(address, timeout_s)
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
        """Send one document. On ``Ok`` its bytes are durable in the inbox and a job for them will run.

        Safe to call twice: the same content of the same version is stored once. After an ``Err`` what was staged is taken back,
        unless ``context["delivery"]`` is "unknown" (the broker fell silent half-way): then it may be stored all the same, as it
        may when a worker came across the file before it was taken back.
        """
        outgoing = Outgoing(document, library_id, version, sort_as, if_exists, source, metadata or {}, name)
        for result in self.store_iter((outgoing,), receipt=receipt, priority=priority):
            if isinstance(result, Ok) and result.value.failed:
                return Err(_problem(result.value.failed[0]))
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
            self._publisher.check()  # before any byte is staged for a broker that is not there
            cutter = Cutter(self._inbox, receipt=receipt, priority=priority, clock=self._clock)
            with closing(cutter.cut(documents)) as batches:
                for batch in batches:
                    yield Ok(self._send(batch))
        except StorageError as error:
            yield Err.of(error)

    def _send(self, batch: Batch) -> Ticket:
        ticket = batch.ticket()
        if ticket.sent:
            try:
                self._publisher.send(batch.payload.commit())
            except StorageError as error:
                if error.context.get("delivery") != "unknown":
                    batch.payload.discard()
                raise
        return ticket

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

    def close(self) -> None:
        """Close the connections to the broker. A later call opens them again."""
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


def _given(broker_url: str | None) -> str:
    if broker_url is None:
        hint = "Client(broker_url=..., inbox=...), or Client.of_service(data_dir)."
        raise ConfigurationError("The client was given no broker_url.", hint)
    return broker_url


def _problem(receipt: DocumentReceipt) -> Problem:
    error = receipt.error
    assert error is not None
    return Problem(error.code, error.message, error.hint, cast("Category", error.category), error.retryable, error.context)
