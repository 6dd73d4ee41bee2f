"""The task ``strongroom.prune``: old rows of the ledger and of the schedules go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from models.prune import Ended, end_of_history, ended_before, remove_jobs, remove_slots
from strongroom.numbering import FIRST_CONTRACT
from tasks.accepted import SUFFIX
from tasks.kinds import Kind, Running
from tasks.services import Services
from tasks.unreadable import MESSAGE, UNREAD

_PAUSE_S = 0.01
"""Between two portions: whoever waits to write gets his turn."""


class PruneMessage(BaseModel):
    """The arguments of ``strongroom.prune``: how much history is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    days: int = Field(90, ge=1)
    jobs: int = Field(1_000_000, ge=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and how many jobs stay though they are old, since their payload is still there."""

    jobs: int = 0
    slots: int = 0
    kept: int = 0


def prune(services: Services, now: datetime, days: int, jobs: int) -> Pruned:
    """Remove what the policy says, in short transactions; a crash in between leaves the rest to the next time.

    A job stays as long as its payload is in the inbox or among the failed: somebody may send it again, and its row says why it
    is there.
    """
    with services.database.read() as connection:
        before = end_of_history(connection, now, days, jobs)
    removed, kept, past = 0, 0, None
    while portion := _portion(services, before, past):
        going = [one.job_id for one in portion if not _has_payload(services, one)]
        removed += _remove(services, going, before)
        kept += len(portion) - len(going)
        past = portion[-1]
        time.sleep(_PAUSE_S)
    return Pruned(removed, _prune_slots(services, now - timedelta(days=days)), kept)


def _portion(services: Services, before: datetime, past: Ended | None) -> list[Ended]:
    with services.database.read() as connection:
        return ended_before(connection, before, past)


def _remove(services: Services, job_ids: list[str], before: datetime) -> int:
    with services.database.write("prune") as connection:
        return remove_jobs(connection, job_ids, before)


def _prune_slots(services: Services, before: datetime) -> int:
    total = 0
    while True:
        with services.database.write("prune") as connection:
            removed = remove_slots(connection, before)
        if not removed:
            return total
        total += removed
        time.sleep(_PAUSE_S)


def _has_payload(services: Services, job: Ended) -> bool:
    if (services.inbox / f"{job.job_id}{SUFFIX}").exists():
        return True
    return job.state != "done" and any((services.failed / f"{job.job_id}{end}").exists() for end in (SUFFIX, MESSAGE, UNREAD))


def _prune(running: Running, message: PruneMessage) -> None:
    pruned = prune(running.services, datetime.now(UTC), message.days, message.jobs)
    running.finish({"jobs_removed": pruned.jobs, "slots_removed": pruned.slots, "jobs_kept": pruned.kept})


PRUNE = Kind("prune", PruneMessage, lambda _message: "history", _prune)
