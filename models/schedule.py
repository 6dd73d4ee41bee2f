"""Schedules as rows: each due slot is claimed once, by whoever looks first. The clock is an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, get_args

from sqlalchemy import Connection, func, insert, select, update

from models.ledger import find_jobs
from models.tables import Schedule, Slot, table_of

_SCHEDULE = table_of(Schedule)
_SLOT = table_of(Slot)

SlotState = Literal["ran", "late", "missed", "overlapped"]
"""Started in time; started later than LATE; not started, since a newer one was due too; or since the last job still goes on."""

LATE = timedelta(seconds=60)
LOOK = timedelta(seconds=20)
"""How often it is written down that somebody looked, though nothing was due."""

UNSEEN = timedelta(seconds=60)
"""After so long without a look nobody looks. A row so far ahead of the clock was written before the clock was set back."""

MISSED_AT_MOST = 100
"""How many missed slots one look writes down, the newest: a clock that jumps by years would fill the disk with them."""


class Times(Protocol):
    """The instants that a schedule names: see config.cron.Cron."""

    @property
    def expression(self) -> str:
        """The cron expression."""

    @property
    def time_zone(self) -> str:
        """The zone in which it is meant."""

    def following(self, instant: datetime) -> datetime | None:
        """Return the first slot later than this."""

    def newest(self, after: datetime, until: datetime, at_most: int) -> list[datetime]:
        """Return the last slots of a stretch of time, in their order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule and the job that each of its slots queues. Without ``times`` it is switched off: its row says so."""

    name: str
    kind: str
    task: str
    queue: str
    arguments: Mapping[str, Any]  # JSON: the message
    times: Times | None

    @property
    def said(self) -> tuple[str, str]:
        """The expression and the zone as they are kept in the row."""
        return (self.times.expression, self.times.time_zone) if self.times else ("", "")


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as its row has it: see models.tables.Schedule."""

    name: str
    seen_until: datetime
    expression: str
    time_zone: str
    last_job_id: str
    counts: Mapping[str, int]
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot: see models.tables.Slot. ``job_id`` is empty when it started nothing."""

    schedule: str
    slot_at: datetime
    state: SlotState
    job_id: str
    claimed_at: datetime
    claimed_by: str


_SCHEDULE_COLUMNS = [_SCHEDULE.c[name] for name in ScheduleRow.__slots__]
_SLOT_COLUMNS = [_SLOT.c[name] for name in SlotRow.__slots__]


def slot_job_id(schedule: str, slot_at: datetime) -> str:
    """Return the id of a slot's job: always the same, so that no slot ever has two."""
    return f"{schedule}-{slot_at:%Y%m%dT%H%M%SZ}"


def is_due(connection: Connection, plans: Sequence[Plan], now: datetime) -> bool:
    """Whether ``claim_due`` would write anything for one of the plans. A look that takes no lock."""
    rows = find_schedules(connection)
    return any(_is_due(rows.get(plan.name), plan, now) for plan in plans)


def claim_due(connection: Connection, plan: Plan, now: datetime, claimed_by: str) -> list[SlotRow]:
    """Claim what is due of a schedule by ``now``, in a write transaction; return the slots' rows, oldest first.

    Each slot is returned once, to one caller, whatever the clock does. Of several only the newest may start something; those rows
    have a ``job_id``, and the caller enters that job in the same transaction. What is seen for the first time begins at ``now``,
    and so does what was switched on or has another expression. If somebody looked just before, that begins UNSEEN earlier: beats
    that were given different settings take turns, and would else make each other pass over every slot.
    """
    row = find_schedules(connection).get(plan.name)
    if not _is_due(row, plan, now):
        return []
    if row is None:
        _begin(connection, plan, now)
        return []
    begin = _seen_by(row, plan, now)
    due = plan.times.newest(begin, now, MISSED_AT_MOST + 1) if plan.times and now > begin else []
    old = {one.slot_at: one for one in _slots_between(connection, plan.name, due)}
    slots = _decide(connection, row, due, old, now, claimed_by)
    if not _advance(connection, plan, row, slots, now):
        return []
    _write(connection, slots, old)
    return slots


def _is_due(row: ScheduleRow | None, plan: Plan, now: datetime) -> bool:
    if row is None or (*plan.said, plan.arguments) != (row.expression, row.time_zone, row.arguments):
        return True
    if abs(now - row.seen_until) >= (LOOK if now > row.seen_until else UNSEEN):
        return True
    following = plan.times.following(row.seen_until) if plan.times else None
    return following is not None and following <= now


def _seen_by(row: ScheduleRow, plan: Plan, now: datetime) -> datetime:
    if plan.said == (row.expression, row.time_zone):
        return row.seen_until
    return now - UNSEEN if now - row.seen_until < UNSEEN else now


def _begin(connection: Connection, plan: Plan, now: datetime) -> None:
    expression, time_zone = plan.said
    values = {"name": plan.name, "seen_until": now, "expression": expression, "time_zone": time_zone}
    connection.execute(insert(_SCHEDULE).values(last_job_id="", counts={}, arguments=dict(plan.arguments), **values))


def _decide(
    connection: Connection, row: ScheduleRow, due: Sequence[datetime], old: Mapping[datetime, SlotRow], now: datetime, by: str
) -> list[SlotRow]:
    """Return the rows to be written. A slot that has one keeps it, unless it was missed: then it had no effect yet.

    That happens where the clock was far ahead for a while: what it made be missed is due again, and may be the newest now.
    """
    slots = [SlotRow(row.name, at, "missed", "", now, by) for at in due[:-1] if at not in old]
    newest = [at for at in due[-1:] if at not in old or old[at].state == "missed"]
    return slots + [_newest(connection, row, at, now, by) for at in newest]


def _newest(connection: Connection, row: ScheduleRow, at: datetime, now: datetime, by: str) -> SlotRow:
    last = find_jobs(connection, [row.last_job_id]).get(row.last_job_id)
    if last is not None and not last.ended:
        return SlotRow(row.name, at, "overlapped", "", now, by)
    return SlotRow(row.name, at, "late" if now - at > LATE else "ran", slot_job_id(row.name, at), now, by)


def _advance(connection: Connection, plan: Plan, row: ScheduleRow, slots: Sequence[SlotRow], now: datetime) -> bool:
    """Compare and set: False when somebody else looked in between."""
    expression, time_zone = plan.said
    counts = Counter(row.counts)
    counts.update(slot.state for slot in slots)
    last = next((slot.job_id for slot in reversed(slots) if slot.job_id), row.last_job_id)
    unchanged = (_SCHEDULE.c.name == row.name) & (_SCHEDULE.c.seen_until == row.seen_until)
    values = {"seen_until": now, "last_job_id": last, "counts": dict(counts), "arguments": dict(plan.arguments)}
    said = {"expression": expression, "time_zone": time_zone}
    return connection.execute(update(_SCHEDULE).where(unchanged).values(values | said)).rowcount == 1


def _write(connection: Connection, slots: Sequence[SlotRow], old: Mapping[datetime, SlotRow]) -> None:
    new = [{name: getattr(slot, name) for name in SlotRow.__slots__} for slot in slots if slot.slot_at not in old]
    if new:
        connection.execute(insert(_SLOT), new)
    for slot in slots:
        if slot.slot_at in old:
            values = {"state": slot.state, "job_id": slot.job_id, "claimed_at": slot.claimed_at, "claimed_by": slot.claimed_by}
            same = (_SLOT.c.schedule == slot.schedule) & (_SLOT.c.slot_at == slot.slot_at)
            connection.execute(update(_SLOT).where(same).values(values))


def _slots_between(connection: Connection, name: str, due: Sequence[datetime]) -> list[SlotRow]:
    if not due:
        return []
    query = select(*_SLOT_COLUMNS).where(_SLOT.c.schedule == name, _SLOT.c.slot_at.between(due[0], due[-1]))
    return [SlotRow(*row) for row in connection.execute(query)]


def find_schedules(connection: Connection) -> dict[str, ScheduleRow]:
    """Return every schedule that was ever looked after, by name."""
    return {row[0]: ScheduleRow(*row) for row in connection.execute(select(*_SCHEDULE_COLUMNS))}


def last_slots(connection: Connection, name: str, limit: int) -> list[SlotRow]:
    """Return the last slots of a schedule, newest first."""
    query = select(*_SLOT_COLUMNS).where(_SLOT.c.schedule == name).order_by(_SLOT.c.slot_at.desc()).limit(limit)
    return [SlotRow(*row) for row in connection.execute(query)]


def count_slots(connection: Connection, since: datetime) -> dict[str, Counter[str]]:
    """Return how many slots since then there are in each state, by schedule."""
    found: dict[str, Counter[str]] = {}
    columns = (_SLOT.c.schedule, _SLOT.c.state, func.count())
    for name, state, count in connection.execute(select(*columns).where(_SLOT.c.slot_at >= since).group_by(*columns[:2])):
        found.setdefault(name, Counter())[state] = count
    return found


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a schedule shows to a monitor. ``counts`` only grow: they count every slot that ever was, kept or pruned."""

    schedule: str
    counts: Mapping[str, int]
    last_slot_at: datetime | None
    next_slot_at: datetime | None


def measure_schedules(
    connection: Connection, names: Iterable[str], times: Callable[[str, str], Times], now: datetime
) -> list[Gauge]:
    """Return the figures of those schedules that were looked after; ``times`` makes them from an expression and a zone."""
    rows = find_schedules(connection)
    return [_gauge(connection, rows[name], times, now) for name in names if name in rows]


def _gauge(connection: Connection, row: ScheduleRow, times: Callable[[str, str], Times], now: datetime) -> Gauge:
    last = next((slot.slot_at for slot in last_slots(connection, row.name, 1)), None)
    following = times(row.expression, row.time_zone).following(now) if row.expression else None
    return Gauge(row.name, dict.fromkeys(get_args(SlotState), 0) | dict(row.counts), last, following)
