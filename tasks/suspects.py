"""A job of many documents that was tried before: one by one, so that a document that kills its worker takes no other along."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from models.leases import note_suspects
from models.ledger import JobRow
from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import Poisonous
from strongroom.result import Problem
from tasks.accepted import Accepted
from tasks.ending import end_stored
from tasks.retry import in_process
from tasks.services import Services

DEATHS = 2
"""Once may be chance: a machine that went down. Whose worker died twice with nothing else at hand is not tried again."""


@dataclass(slots=True)
class Suspects:
    """Which documents, by position, were at hand when a worker died, how often; and which one is at hand now."""

    deaths: Counter[int] = field(default_factory=Counter)

    @classmethod
    def after(cls, row: JobRow) -> Suspects:
        """Return what is known from earlier attempts: the last one died of what it had noted as being at hand."""
        said = row.suspects or {}
        deaths = Counter({int(position): count for position, count in said.get("deaths", {}).items()})
        if said.get("at") is not None:
            deaths[said["at"]] += 1
        return cls(deaths)

    def order(self, count: int) -> list[int]:
        """Return the positions of a job's documents, those that nobody died of first, each group in its own order."""
        return sorted(range(count), key=lambda position: (self.deaths[position], position))

    def note(self, services: Services, row: JobRow, at: int | None) -> None:
        """Write down what is at hand from now on; nothing, when the process got through."""
        with services.database.write("ledger") as connection:
            deaths = {str(position): count for position, count in self.deaths.items()}
            note_suspects(connection, row.lease, {"at": at, "deaths": deaths})


def store_one_by_one(services: Services, row: JobRow, accepted: Accepted) -> list[DocumentReceipt]:
    """Store each document with a commit of its own, then end the job. Those that were stored before answer ``unchanged``.

    Raises:
        LeaseLost: somebody else does the job by now.
        StorageError: as the engine's store does.
    """
    suspects = Suspects.after(row)
    receipts: dict[int, DocumentReceipt] = {}
    try:
        for position in suspects.order(len(accepted.documents)):
            document = accepted.documents[position]
            if suspects.deaths[position] >= DEATHS:
                receipts[position] = _poisonous(document.name, suspects.deaths[position])
                continue
            suspects.note(services, row, position)
            receipts[position] = in_process(lambda document=document: services.engine.store([document]))[0]  # type: ignore[misc]
    except Exception:
        suspects.note(services, row, None)  # an error is no death
        raise
    told = [receipts[position] for position in range(len(receipts))]
    with services.database.write("ledger") as connection:
        end_stored(connection, row.lease, told)
    return told


def _poisonous(name: str, deaths: int) -> DocumentReceipt:
    error = Poisonous(f"{deaths} workers died while they stored {name or 'this document'}.")
    return DocumentReceipt(name=name, status="failed", error=ErrorInfo.of(Problem.of(error)))
