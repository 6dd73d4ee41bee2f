"""A job of many documents that was tried before: one by one, so that a document that kills its worker takes no other along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from models.leases import note_suspects
from models.ledger import JobRow
from storage.intake import Incoming
from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import Poisonous
from strongroom.result import Problem
from tasks.accepted import Accepted
from tasks.admission import refuse_over_quota
from tasks.ending import end_stored
from tasks.finish import recall
from tasks.retry import in_process
from tasks.services import Services
from tasks.turns import leave_room

DEATHS = 2
"""Once may be chance: a machine that went down. Whose worker died twice with nothing else at hand is not tried again."""


@dataclass(slots=True)
class Suspects:
    """What earlier attempts tell of a job's documents, by position.

    How often each was at hand when a worker died; which one is at hand now; which ones are stored.
    """

    deaths: Counter[int] = field(default_factory=Counter)
    done: frozenset[int] = frozenset()

    @classmethod
    def after(cls, row: JobRow) -> Suspects:
        """Return what is known from earlier attempts: the last one died of what it had noted as being at hand."""
        said = row.suspects or {}
        deaths = Counter({int(position): count for position, count in said.get("deaths", {}).items()})
        if said.get("at") is not None:
            deaths[said["at"]] += 1
        return cls(deaths, frozenset(said.get("done", ())))

    def order(self, count: int) -> list[int]:
        """Return the positions of a job's documents, those that nobody died of first, each group in its own order."""
        return sorted(range(count), key=lambda position: (self.deaths[position], position))

    def as_json(self, at: int | None) -> dict[str, Any]:
        """Return what the ledger keeps, with what is at hand from now on; None when the process got through."""
        said: dict[str, Any] = {"at": at, "deaths": {str(position): count for position, count in self.deaths.items()}}
        return said | ({"done": sorted(self.done)} if self.done else {})


def store_one_by_one(services: Services, row: JobRow, accepted: Accepted) -> list[DocumentReceipt]:
    """Store each document with a commit of its own, then end the job. What an earlier attempt stored is not stored again.

    Raises:
        LeaseLost: somebody else does the job by now.
        StorageError: as the engine's store does.
    """
    suspects = Suspects.after(row)
    receipts: dict[int, DocumentReceipt] = {}
    try:
        for position in suspects.order(len(accepted.documents)):
            document = accepted.documents[position]
            if position in suspects.done:
                receipts[position] = recall(services, row, document)
            elif suspects.deaths[position] >= DEATHS:
                receipts[position] = _poisonous(document.name, suspects.deaths[position])
            else:
                receipts[position] = _store_one(services, row, document, position, suspects)
    except Exception:
        _note(services, row, suspects, None)  # an error is no death
        raise
    told = [receipts[position] for position in range(len(receipts))]
    with services.database.write("ledger") as connection:
        end_stored(connection, row.lease, told)
    return told


def _store_one(services: Services, row: JobRow, document: Incoming, position: int, suspects: Suspects) -> DocumentReceipt:
    """Store a document under the job's lease; its commit says that it is stored, so that no later attempt does it again."""
    stored = replace(suspects, done=suspects.done | {position})

    def record(connection: Connection, receipts: Sequence[DocumentReceipt]) -> None:
        refuse_over_quota(receipts)
        leave_room(services, connection, {row.job_id: receipts}, services.clock())
        now = suspects if receipts[0].status == "failed" else stored
        note_suspects(connection, row.lease, now.as_json(None))

    _note(services, row, suspects, position)
    receipt = in_process(lambda: services.engine.store([document], record))[0]
    if receipt.status != "failed":
        suspects.done = stored.done
    return receipt


def _note(services: Services, row: JobRow, suspects: Suspects, at: int | None) -> None:
    with services.database.write("ledger") as connection:
        note_suspects(connection, row.lease, suspects.as_json(at))


def _poisonous(name: str, deaths: int) -> DocumentReceipt:
    error = Poisonous(f"{deaths} workers died while they stored {name or 'this document'}.")
    return DocumentReceipt(name=name, status="failed", error=ErrorInfo.of(Problem.of(error)))
