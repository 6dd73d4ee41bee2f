"""A ticket: what a producer holds between sending documents and their receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.errors import StorageError
from strongroom.result import Problem


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ticket:
    """One accepted job. Tickets are equal when they name the same job.

    ``failed`` holds the documents that were never sent, because they could not be read or their options were wrong; the others
    are accepted all the same. ``Ticket(request_id)`` alone is enough to wait for a job that another process sent.
    """

    request_id: str
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """What was sent, by name, in order."""
    failed: tuple[DocumentReceipt, ...] = field(default=(), compare=False)
    positions: tuple[int, ...] = field(default=(), compare=False, repr=False)
    """Where each of ``failed`` stood among the documents given."""
    receipt: bool = field(default=True, compare=False)
    """Whether a receipt was asked for; without one there is nothing to wait for."""
    undelivered: Problem | None = field(default=None, compare=False)
    """Why the broker had not been told of the job when this was given; it is accepted all the same. None: it had been."""

    @property
    def delivered(self) -> bool:
        """Whether the broker had been told of the job when this was given."""
        return self.undelivered is None

    @property
    def documents(self) -> int:
        """How many documents were given: sent and failed."""
        return len(self.names) + len(self.failed)

    @property
    def sent(self) -> bool:
        """Whether there is a job at all: False when each document failed before it was sent."""
        return bool(self.names) or not self.failed

    def arrange(self, receipt: StoreReceipt | None) -> list[DocumentReceipt]:
        """Return one receipt a document, in the order in which the documents were given.

        ``receipt`` is the job's; None when nothing was sent. A job that failed as a whole fails each of its documents.
        """
        entries = _entries(receipt, self.names) if receipt is not None else []
        for position, failure in zip(self.positions, self.failed, strict=True):
            entries.insert(position, failure)
        return entries


def _entries(receipt: StoreReceipt, names: Sequence[str]) -> list[DocumentReceipt]:
    entries = list(receipt.documents)
    for place, (entry, name) in enumerate(zip(entries, names, strict=False)):
        if name and not entry.name:
            entries[place] = entry.model_copy(update={"name": name})
    missing = names[len(entries) :]
    if not missing:
        return entries
    error = receipt.error or ErrorInfo.of(Problem.of(StorageError(f"The job {receipt.request_id} ended as {receipt.state}.")))
    return entries + [DocumentReceipt(name=name, status="failed", error=error) for name in missing]
