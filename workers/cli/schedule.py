"""The commands about what runs at set times: schedule, schedule show, schedule run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from strongroom.errors import NotFound
from workers.cli.output import AsJson, Data, console, counted, engine_on, hand_down, print_json, reported, settings_of, told
from workers.cli.styled import joined, new_table, styled
from workers.cli.who import asker

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from models.ledger import JobRow
    from models.schedule import Plan, SlotRow
    from workers.schedule_view import Orders, ScheduleView

_STYLES = {"ran": "green", "late": "yellow", "missed": "bold red", "overlapped": "yellow"}
_FAILED = frozenset({"failed", "quarantined"})
_COUNTED = ("missed", "late", "overlapped")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A schedule, such as integrity-sweep.")]

schedule_app = typer.Typer(help="What runs at set times, and whether it did.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(schedule_app, name="schedule")


@schedule_app.callback()
def schedule(context: typer.Context, data: Data = None, as_json: AsJson = False) -> None:
    """List the schedules: when each runs next, what became of its last time, and what went wrong in the last 30 days.

    JSON: an array of objects with `name`, `kind`, `expression` (null: switched off), `time_zone`, `next_slot_at`, `seen_until`
    (when a beat looked last), `last_slot` (null, or the fields of `schedule show`), `counts` (of the last 30 days: `ran`, `late`,
    `missed`, `overlapped`) and `troubles` (an array of sentences; empty: all is well). Times are UTC.
    """
    if context.invoked_subcommand is not None:
        hand_down(context, data)
        return
    from workers.schedule_view import view_schedules  # noqa: PLC0415 - see output.engine_on
    from workers.schedules import plans  # noqa: PLC0415 - the same

    with reported(as_json=as_json), engine_on(data) as engine:
        with engine.database.read() as connection:
            views = view_schedules(connection, plans(settings_of(data)), datetime.now(UTC))
        if as_json:
            print_json([_fields(view) for view in views])
        else:
            _print_views(views)


@schedule_app.command("show")
def show_schedule(
    name: Name,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the last times of a schedule, newest first.

    `ran`: started in time; `late`: started more than 60 s after its time; `missed`: not started, since nobody looked before a
    newer one was due; `overlapped`: not started, since the last job was not over.

    JSON: an array of objects with `schedule`, `slot_at`, `state`, `job_id` (null: it started nothing), `job_state`, `claimed_at`
    and `claimed_by`. Times are UTC.
    """
    from models.ledger import find_jobs  # noqa: PLC0415 - see output.engine_on
    from models.schedule import last_slots  # noqa: PLC0415 - the same

    with reported(as_json=as_json), engine_on(data) as engine:
        plan = _plan(name, data)
        with engine.database.read() as connection:
            slots = last_slots(connection, plan.name, limit)
            jobs = find_jobs(connection, [slot.job_id for slot in slots if slot.job_id])
        if as_json:
            print_json([_slot_fields(slot, jobs.get(slot.job_id)) for slot in slots])
        else:
            _print_slots(slots, jobs, ZoneInfo(settings_of(data).time_zone))


@schedule_app.command("run")
def run_schedule(name: Name, data: Data = None, as_json: AsJson = False) -> None:
    """Queue the job of a schedule now, whatever its times are. It does what the service's own would: its policies count.

    Where a service looks after the schedules, the settings that it was started with hold, and not those of this shell; where none
    does, this shell's. What the job is told is shown. The audit trail names who asked.

    JSON: an object with `job_id`, `arguments` (what the job is told, such as `policies`), `settings_of` (`service` or `command`:
    whose settings say so) and `passed_over` (what this command's settings say otherwise; empty: the same).

    Exit codes: 0 queued, 1 there is no such schedule.
    """
    from tasks.entering import queue_now  # noqa: PLC0415 - see output.engine_on
    from workers.schedule_view import orders_of  # noqa: PLC0415 - the same

    with reported(as_json=as_json), engine_on(data) as engine:
        now = datetime.now(UTC)
        with engine.database.read() as connection:
            orders = orders_of(connection, _plan(name, data), now)
        job_id = queue_now(engine.database, engine.folder.run, orders.plan, asker(), now)
        if as_json:
            print_json({"job_id": job_id, **_orders_fields(orders)})
        else:
            console().print(joined("queued as job ", (job_id, "bold"), "; a running service takes it up within seconds"))
            _print_orders(orders)


def _plan(name: str, data: Data) -> Plan:
    from workers.schedules import plans  # noqa: PLC0415 - see output.engine_on

    known = {plan.name: plan for plan in plans(settings_of(data))}
    if name not in known:
        raise NotFound(f"There is no schedule {name}.", f"Schedules are {', '.join(known)}.")
    return known[name]


def _fields(view: ScheduleView) -> dict[str, Any]:  # JSON, printed as it is
    cron, last = view.cron, view.last
    return {
        "name": view.plan.name,
        "kind": view.plan.kind,
        "expression": cron.expression if cron else None,
        "time_zone": cron.time_zone if cron else None,
        "next_slot_at": _iso(view.next_slot_at),
        "seen_until": _iso(view.seen_until),
        "last_slot": _slot_fields(last, view.job) if last else None,
        "counts": {state: view.counts.get(state, 0) for state in _STYLES},
        "troubles": view.troubles,
    }


def _slot_fields(slot: SlotRow, job: JobRow | None) -> dict[str, Any]:  # the same
    return {
        "schedule": slot.schedule,
        "slot_at": _iso(slot.slot_at),
        "state": slot.state,
        "job_id": slot.job_id or None,
        "job_state": job.state if job else None,
        "claimed_at": _iso(slot.claimed_at),
        "claimed_by": slot.claimed_by,
    }


def _orders_fields(orders: Orders) -> dict[str, Any]:  # the same
    whose = "service" if orders.of_service else "command"
    return {"arguments": dict(orders.plan.arguments), "settings_of": whose, "passed_over": dict(orders.passed_over)}


def _print_orders(orders: Orders) -> None:
    whose = "as the service was told" if orders.of_service else "as this shell says: no service looks after the schedules"
    other = "as this shell says: a service reads its settings when it starts"
    for word, fields, why in (("with", orders.plan.arguments, whose), ("not with", orders.passed_over, other)):
        if fields:
            said = json.dumps(dict(fields), ensure_ascii=False)
            console().print(told(f"{word} {said}, {why}", "yellow" if word == "not with" else ""), soft_wrap=True)


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _print_views(views: list[ScheduleView]) -> None:
    table = _table("schedule", "times", "next", "last", "in 30 days", whole=(0, 2, 3))
    for view in views:
        table.add_row(*_row(view))
    out = console()
    out.print(table)
    out.print(
        styled(f"times in the zone {'; '.join(sorted({view.cron.time_zone for view in views if view.cron})) or 'UTC'}", "dim")
    )
    troubles: dict[str, list[str]] = {}
    for name, trouble in ((view.plan.name, trouble) for view in views for trouble in view.troubles):
        troubles.setdefault(trouble, []).append(name)
    for trouble, names in troubles.items():
        out.print(joined((f"{', '.join(names)}: ", "bold red"), told(trouble, "red")), soft_wrap=True)


def _row(view: ScheduleView) -> tuple[Text, ...]:
    from workers.durations import span  # noqa: PLC0415 - see output.engine_on

    name = styled(view.plan.name, "bold red" if view.troubles else "bold")
    if view.cron is None:
        return (name, styled("off", "dim"))
    zone, following = ZoneInfo(view.cron.time_zone), view.next_slot_at
    relative = f"in {span(following - view.now)}" if following else "never"
    counts = ", ".join(f"{view.counts[state]:,} {state}" for state in _COUNTED if view.counts.get(state))
    return (
        name,
        styled(view.cron.expression),
        joined(_local(following, zone), "\n", (relative, "dim")),
        _last(view.last, view.job, zone),
        styled(counts or "all well", "yellow" if counts else "dim"),
    )


def _last(slot: SlotRow | None, job: JobRow | None, zone: ZoneInfo) -> Text:
    if slot is None:
        return styled("never", "dim")
    state = styled(slot.state, _STYLES[slot.state])
    if job is not None:
        state = joined(state, ", ", (job.state, "bold red" if job.state in _FAILED else ""))
    return joined(_local(slot.slot_at, zone), "\n", state)


def _print_slots(slots: list[SlotRow], jobs: dict[str, JobRow], zone: ZoneInfo) -> None:
    if not slots:
        console().print("None of its times has come yet.")
        return
    table = _table("time", "", "job", "ended as", "claimed", "by", whole=(0, 1, 2, 4))
    for slot in slots:
        job = jobs.get(slot.job_id)
        state = styled(slot.state, _STYLES[slot.state])
        ended = styled(job.state if job else "")
        table.add_row(
            _local(slot.slot_at, zone),
            state,
            told(slot.job_id),
            ended,
            _local(slot.claimed_at, zone),
            told(slot.claimed_by, "dim"),
        )
    console().print(table)
    console().print(styled(f"{counted(len(slots), 'time')}, in the zone {zone.key}", "dim"))


def _local(time: datetime | None, zone: ZoneInfo) -> Text:
    return styled(f"{time.astimezone(zone):%d %b %H:%M}" if time else "")


def _table(*columns: str, whole: tuple[int, ...]) -> Table:
    table = new_table(*columns)
    for number in whole:
        table.columns[number].no_wrap = True
    return table
