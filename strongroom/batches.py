"""Batches: documents gathered for one message, read as they come, one batch in hand at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import InvalidDocument, StorageError
from strongroom.inbox import new_request_id
from strongroom.outgoing import Outgoing, Source, take
from strongroom.payload import InlinePayload, Payload, Prepared, StagedPayload
from strongroom.result import Problem
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, Priority
from strongroom.ticket import Ticket

BATCH_DOCUMENTS = 500
"""Past some hundred documents the cost of a message, a barrier and a commit is spread thin; more delays the first receipt."""

BATCH_AGE_S = 2.0
"""A slow producer's batch leaves with the next document after this long, so that workers start and a crash loses little."""


class Batch:
    """Documents that travel in one message, and those among them that failed before."""

    def __init__(self, payload: Payload, request_id: str, *, receipt: bool, born: float) -> None:
        self.payload, self.request_id, self.born = payload, request_id, born
        self._receipt = receipt
        self._names: list[str] = []
        self._failed: list[DocumentReceipt] = []
        self._positions: list[int] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._names) + len(self._failed)

    def has_room_for(self, size: int) -> bool:
        """Whether a document of this size may join: a large one travels alone."""
        return not self._names or self._bytes + size <= self.payload.most_bytes

    def is_full(self, now: float) -> bool:
        """Whether the batch should leave."""
        return len(self) >= BATCH_DOCUMENTS or self._bytes >= self.payload.most_bytes or now - self.born >= BATCH_AGE_S

    def add(self, document: Prepared) -> None:
        """Take one document in; one that cannot be read to its end is noted as failed.

        Raises:
            StorageError: the inbox failed; the batch is of no use any more.
        """
        try:
            self.payload.add(document)
        except StorageError as error:
            if not _is_own_fault(document, error):
                raise
            if isinstance(document.content, Source):
                self.payload.discard()  # it stood alone in the inbox file, whose end is now undefined
            self.fail(document.label, error)
        else:
            self._names.append(document.label)
            self._bytes += document.size

    def fail(self, label: str, error: StorageError) -> None:
        """Note a document that cannot be sent."""
        self._positions.append(len(self))
        self._failed.append(DocumentReceipt(name=label, status="failed", error=ErrorInfo.of(Problem.of(error))))

    def ticket(self) -> Ticket:
        """Return what the producer keeps of the batch."""
        return Ticket(self.request_id, tuple(self._names), tuple(self._failed), tuple(self._positions), self._receipt)


class Cutter:
    """Gathers documents into batches. Whoever takes a batch out commits or discards it.

    ``admit`` is called with the queues that a batch may go to, before anything of it is staged; what it raises ends it all.
    """

    def __init__(
        self,
        inbox: Path | None,
        *,
        receipt: bool,
        priority: Priority,
        admit: Callable[[Sequence[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admit = admit
        self._inbox, self._receipt, self._clock = inbox, receipt and inbox is not None, clock
        self._priority: Priority = priority
        self._batch: Batch | None = None

    def cut(self, documents: Iterable[Outgoing]) -> Generator[Batch, None, None]:
        """Yield batches as soon as they are full, the last one when the documents end.

        Raises:
            StorageError: the inbox failed, or nothing more is admitted. The batch at hand is discarded; earlier ones were
                handed out.
        """
        try:
            for outgoing in documents:
                yield from self._put(outgoing)
            if self._batch is not None:
                yield self._take_out()
        finally:
            if self._batch is not None:
                self._take_out().payload.discard()

    def _put(self, outgoing: Outgoing) -> Iterator[Batch]:
        document = _prepare(outgoing)
        try:
            if self._batch is not None and isinstance(document, Prepared) and not self._batch.has_room_for(document.size):
                yield self._take_out()
            if self._batch is None:
                self._admit(_queues(document))
                self._batch = self._new()
            if isinstance(document, Prepared):
                self._batch.add(document)
            else:
                self._batch.fail(outgoing.label, document)
        finally:
            if isinstance(document, Prepared):
                document.close()
        if self._batch.is_full(self._clock()):
            yield self._take_out()

    def _take_out(self) -> Batch:
        batch, self._batch = self._batch, None
        assert batch is not None
        return batch

    def _new(self) -> Batch:
        request_id = new_request_id()
        payload: Payload = InlinePayload(request_id, priority=self._priority)
        if self._inbox is not None:
            payload = StagedPayload(self._inbox, request_id, receipt=self._receipt, priority=self._priority)
        return Batch(payload, request_id, receipt=self._receipt, born=self._clock())


def _prepare(outgoing: Outgoing) -> Prepared | StorageError:
    label = outgoing.label
    try:
        options = outgoing.options()
        return Prepared(label, take(outgoing.document, label), options)
    except StorageError as error:
        return error


def _queues(document: Prepared | StorageError) -> Sequence[str]:
    if isinstance(document, StorageError):
        return ()
    return (SHORT_QUEUE,) if isinstance(document.content, bytes) else (SHORT_QUEUE, LONG_QUEUE)  # its size tells, at its end


def _is_own_fault(document: Prepared, error: StorageError) -> bool:
    # What a payload says about the document itself is an InvalidDocument; everything else is the inbox's failure.
    return isinstance(error, InvalidDocument) or (isinstance(document.content, Source) and document.content.error is not None)
