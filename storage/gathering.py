"""Gathering: stores that several threads ask for at the same time share one durability barrier and one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from storage.intake import Incoming
from strongroom.contracts import DocumentReceipt

StoreAll = Callable[[Sequence[Incoming]], list[DocumentReceipt]]


@dataclass(slots=True, eq=False)
class _Waiting:
    document: Incoming
    receipt: DocumentReceipt | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.receipt is not None or self.error is not None


class Gathering:
    """Whoever has the turn stores for all who came while another had it. Nobody waits for company: one alone goes at once."""

    def __init__(self, store_all: StoreAll) -> None:
        self._store_all = store_all
        self._turn = Lock()
        self._arrivals = Lock()
        self._waiting: list[_Waiting] = []

    def store(self, document: Incoming) -> DocumentReceipt:
        """Store a document, which must be in memory: a source that fails would fail the others of its batch.

        Raises:
            Transient: nothing of the batch is stored, and calling again is safe.
        """
        mine = _Waiting(document)
        with self._arrivals:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._store_waiting(mine)
        if mine.receipt is None:
            assert mine.error is not None
            raise mine.error
        return mine.receipt

    def _store_waiting(self, mine: _Waiting) -> None:
        with self._arrivals:
            batch, self._waiting = self._waiting, []
        try:
            receipts = self._store_all([one.document for one in batch])
        except Exception as error:
            for one in batch:
                one.error = error
            raise
        except BaseException:  # this thread is asked to stop, the others are not: the next of them has the turn
            with self._arrivals:
                self._waiting = [one for one in batch if one is not mine] + self._waiting
            raise
        for one, receipt in zip(batch, receipts, strict=True):
            one.receipt = receipt
