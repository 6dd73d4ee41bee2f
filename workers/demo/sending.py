"""Documents on their way through the queue: sent in small jobs, so that the bar has something to tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from strongroom.client import Client
from strongroom.contracts import DocumentReceipt
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Result
from strongroom.ticket import Ticket
from workers.demo.document import Made
from workers.demo.interruption import Interruption
from workers.demo.proofs import PromiseBroken

DOCUMENTS_A_JOB = 8
STORED_WITHIN_S = 60.0
T = TypeVar("T")


def send_and_wait(
    client: Client, documents: Sequence[Made], interruption: Interruption, tick: Callable[[int], None]
) -> tuple[list[DocumentReceipt], float]:
    """Send the documents and return a receipt for each, with the seconds from the first byte sent to the last receipt."""
    started_s = time.monotonic()
    tickets: list[Ticket] = []
    for at in range(0, len(documents), DOCUMENTS_A_JOB):
        interruption.check()
        accepted: list[Ticket] = _value(client.store_many(map(_outgoing, documents[at : at + DOCUMENTS_A_JOB])))
        tickets.extend(accepted)
    waiting = _value(client.waiting(tickets, STORED_WITHIN_S))
    receipts: list[DocumentReceipt] = []
    while not waiting.done:
        receipts += waiting.poll()
        tick(len(receipts))
        if not waiting.done:
            interruption.pause(waiting.pause_s())
    return receipts, time.monotonic() - started_s


def _outgoing(one: Made) -> Outgoing:
    return Outgoing(one.path, version=one.version if one.renamed else None)


def _value(result: Result[T]) -> T:
    if isinstance(result, Err):
        raise PromiseBroken(result.problem.message, result.problem.hint)
    return result.value
