"""Schedules at work: what is due is claimed and its job entered in one transaction; its message is sent afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from models.database import Database
from models.ledger import queue_jobs
from models.schedule import MISSED_AT_MOST, Plan, SlotRow, claim_due, is_due
from strongroom.errors import BrokerUnavailable
from strongroom.routes import PRIORITIES
from tasks.entering import planned_job, planned_message

if TYPE_CHECKING:
    from tasks.services import Broker

log = structlog.get_logger()


def run_due(database: Database, broker: Broker, plans: Sequence[Plan], now: datetime, claimed_by: str) -> list[SlotRow]:
    """Start what is due by ``now``; return the slots that were claimed, with what became of each.

    Any number of processes may call it, at any time, and die at any point: a slot starts one job at most. The job is due at once
    in the ledger, so that workers send its message if nobody can here.

    Raises:
        StorageError: the ledger cannot be reached; what was due still is.
    """
    with database.read() as connection:
        if not is_due(connection, plans, now):
            return []
    claimed: list[SlotRow] = []
    jobs: list[tuple[Plan, str]] = []
    with database.write("schedule") as connection:
        for plan in plans:
            slots = claim_due(connection, plan, now, claimed_by)
            claimed += slots
            jobs += [(plan, slot.job_id) for slot in slots if slot.job_id]
        queue_jobs(connection, [planned_job(plan, job_id, "schedule") for plan, job_id in jobs], now, now)
    _tell(claimed)
    for plan, job_id in jobs:
        _send(broker, plan, job_id)
    return claimed


def _send(broker: Broker, plan: Plan, job_id: str) -> None:
    try:
        broker.send(plan.task, planned_message(plan, job_id), queue=plan.queue, priority=PRIORITIES["normal"])
    except BrokerUnavailable as error:
        log.warning("a scheduled job waits until the broker is back", job=job_id, error=error.message)


def _tell(claimed: Sequence[SlotRow]) -> None:
    for slot in claimed:
        if slot.state != "missed":
            level = log.info if slot.state == "ran" else log.warning
            level("a schedule's time has come", schedule=slot.schedule, slot=slot.slot_at.isoformat(), state=slot.state)
    for name in sorted({slot.schedule for slot in claimed if slot.state == "missed"}):
        missed = sum(slot.schedule == name and slot.state == "missed" for slot in claimed)
        count = f"{missed} or more" if missed >= MISSED_AT_MOST else str(missed)
        log.warning("times of a schedule were missed", schedule=name, slots=count)
