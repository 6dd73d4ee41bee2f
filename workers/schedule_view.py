"""What is known of a schedule, put together for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from config.cron import Cron
from models.ledger import JobRow, find_jobs
from models.schedule import UNSEEN, Plan, ScheduleRow, SlotRow, count_slots, find_schedules, last_slots
from workers.durations import span

COUNTED = timedelta(days=30)
_BAD = frozenset({"failed", "quarantined"})


@dataclass(frozen=True, slots=True)
class Orders:
    """What a job of a schedule is told: ``plan`` has it. ``passed_over`` is what the settings given here say otherwise."""

    plan: Plan
    of_service: bool = False
    passed_over: Mapping[str, Any] = field(default_factory=dict)  # JSON: fields of the message


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule at one moment. ``cron`` is what the service goes by; None: it is switched off."""

    plan: Plan
    now: datetime
    cron: Cron | None
    seen_until: datetime | None
    last: SlotRow | None
    job: JobRow | None
    counts: Mapping[str, int]

    @property
    def next_slot_at(self) -> datetime | None:
        """When it runs next."""
        return self.cron.following(self.now) if self.cron else None

    @property
    def troubles(self) -> list[str]:
        """What a person should look at."""
        if self.cron is None:
            return []
        found = [] if is_looked_after(self.seen_until, self.now) else [self._nobody_looks()]
        if self.last is not None and self.last.state == "missed":
            found.append("its last time was missed")
        if self.job is not None and self.job.state in _BAD:
            found.append(f"its last job {self.job.state}: strongroom jobs show {self.job.job_id}")
        return found

    def _nobody_looks(self) -> str:
        if self.seen_until is None:
            return "nobody has looked at it yet: it begins when beat runs"
        return f"nobody has looked at it for {span(abs(self.now - self.seen_until))}: beat does not run, or cannot"


def is_looked_after(seen_until: datetime | None, now: datetime) -> bool:
    """Tell whether a beat is at work, by when one looked last. A look from far in the future is from a clock that was wrong."""
    return seen_until is not None and abs(now - seen_until) <= UNSEEN


def view_schedules(connection: Connection, plans: Sequence[Plan], now: datetime) -> list[ScheduleView]:
    """Return every schedule with its last slot. While a beat looks its own settings count, else those given here."""
    rows, counts = find_schedules(connection), count_slots(connection, now - COUNTED)
    last = {plan.name: next(iter(last_slots(connection, plan.name, 1)), None) for plan in plans}
    jobs = find_jobs(connection, [slot.job_id for slot in last.values() if slot is not None and slot.job_id])
    return [
        ScheduleView(
            plan,
            now,
            _cron(plan, rows.get(plan.name), now),
            rows[plan.name].seen_until if plan.name in rows else None,
            slot,
            jobs.get(slot.job_id) if slot is not None else None,
            counts.get(plan.name, {}),
        )
        for plan, slot in ((plan, last[plan.name]) for plan in plans)
    ]


def orders_of(connection: Connection, plan: Plan, now: datetime) -> Orders:
    """Return what a job of a schedule is told now. While a beat looks its own settings count, else those given here."""
    row = find_schedules(connection).get(plan.name)
    if row is None or row.arguments is None or not is_looked_after(row.seen_until, now):
        return Orders(plan)
    passed_over = {name: value for name, value in plan.arguments.items() if row.arguments.get(name) != value}
    return Orders(replace(plan, arguments=row.arguments), of_service=True, passed_over=passed_over)


def _cron(plan: Plan, row: ScheduleRow | None, now: datetime) -> Cron | None:
    said = (row.expression, row.time_zone) if row and is_looked_after(row.seen_until, now) else plan.said
    return Cron(*said) if said[0] else None
