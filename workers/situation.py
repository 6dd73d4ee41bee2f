"""A job and what is around it: what is to be known to say why it is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models.ledger import JobRow


@dataclass(frozen=True, slots=True)
class Situation:
    """A job and what is around it, as it was at ``now``."""

    now: datetime
    row: JobRow
    entered: bool = True
    """Whether the ledger knows it; else its file in the inbox does."""
    service: bool = True
    """Whether a worker seems to be there."""
    kept: str = ""
    """Where its payload lies, if it is a file."""
    ahead: int = 0
    """How many queued jobs of its queue go before it."""
    beside: Sequence[JobRow] = ()
    """Other jobs that run, in its queue or of its kind, longest running first."""
    slots: int = 1
    """How many jobs of its queue run at once."""
    limit: int | None = None
    """How many jobs of its kind run at once, if that is limited."""
    messages: int | None = None
    """How many messages wait in its queue; None when the broker does not say."""

    @property
    def busy(self) -> list[JobRow]:
        """The jobs that run in its queue."""
        return [row for row in self.beside if row.queue == self.row.queue]

    @property
    def alike(self) -> list[JobRow]:
        """The jobs of its kind that run."""
        return [row for row in self.beside if row.kind == self.row.kind]

    @property
    def waited(self) -> timedelta:
        """How long it has waited; since it was begun anew, if it was."""
        row = self.row
        since = row.created_at if row.error is None else row.sent_at or row.due_at or row.created_at
        return max(self.now - min(since, self.now), timedelta())


def facts(situation: Situation) -> dict[str, Any]:
    """Return what the words are made of, for programs (JSON); what is not known or has no meaning here is left out."""
    row = situation.row
    said: dict[str, Any] = {
        "kind": row.kind,
        "subject": row.subject,
        "queue": row.queue,
        "attempts": row.attempts,
        **(_of_waiting(situation) if row.state == "queued" else {}),
        "due_at": row.due_at.isoformat() if row.due_at else None,
        "owner": row.owner or None,
        "progress_percent": percent(row),
        "kept_at": situation.kept or None,
        "error": row.error["code"] if row.error else None,
        "service_runs": situation.service,
    }
    return {name: value for name, value in said.items() if value is not None}


def _of_waiting(situation: Situation) -> dict[str, Any]:
    return {
        "position": situation.ahead + 1,
        "waited_s": round(situation.waited.total_seconds(), 1),
        "busy_with": [one.job_id for one in situation.busy],
        "messages_in_queue": situation.messages,
        "running_of_kind": len(situation.alike) if situation.limit is not None else None,
        "limit_of_kind": situation.limit,
    }


def percent(row: JobRow) -> float | None:
    """Return how much of a running job is done, 0 to 100; None when it does not say."""
    done, total = (row.progress or {}).get("done"), (row.progress or {}).get("total")
    if row.state != "running" or done is None or not total:
        return None
    return round(min(100.0, 100.0 * float(done) / float(total)), 1)
