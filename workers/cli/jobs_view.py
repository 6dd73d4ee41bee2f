"""How jobs are shown: fields for programs, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from models.ledger import JobRow, State
from models.listing import COUNTED
from strongroom.routes import PRIORITIES
from workers.cli.output import console, counted, fold, told
from workers.cli.styled import new_table, styled
from workers.durations import span
from workers.situation import percent

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

STYLES: Mapping[str, str] = {
    "done": "green",
    "running": "cyan",
    "failed": "bold red",
    "quarantined": "bold red",
    "retrying": "yellow",
    "parked": "yellow",
    "cancelled": "dim",
}
_BAR = 10
_NAMES = {number: name for name, number in PRIORITIES.items()}


def as_fields(row: JobRow) -> dict[str, Any]:
    """Return what a program is told about a job (JSON)."""
    return {
        "id": row.job_id,
        "kind": row.kind,
        "subject": row.subject,
        "state": row.state,
        "attempts": row.attempts,
        "asked_by": row.asked_by,
        "priority": priority_of(row),
        "queue": row.queue,
        "progress": dict(row.progress) if row.progress is not None else None,
        "created_at": _iso(row.created_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "due_at": _iso(row.due_at),
        "outcome": dict(row.outcome) if row.outcome is not None else None,
        "error": dict(row.error) if row.error is not None else None,
    }


def all_fields(row: JobRow, kept_at: str | None) -> dict[str, Any]:
    """Return everything about one job, its lease too; ``kept_at`` is where its payload lies (JSON)."""
    return as_fields(row) | {
        "owner": row.owner or None,
        "token": row.token,
        "renewals": row.renewals,
        "expires_at": _iso(row.expires_at),
        "sent_at": _iso(row.sent_at),
        "sends": row.sends,
        "payload": row.payload,
        "kept_at": kept_at,
    }


def priority_of(row: JobRow) -> str:
    """Return a priority's name, or its number when it has none."""
    return _NAMES.get(row.priority, str(row.priority))


def print_jobs(rows: Sequence[JobRow]) -> None:
    """Show jobs to people, a line each."""
    if not rows:
        console().print("There are no jobs.")
        return
    names = ["job", "kind", "subject", "state", "attempts", "asked by", "priority", "age", "took", "error"]
    progress = any(percent(row) is not None for row in rows)
    if progress:
        names.insert(4, "progress")
    table = new_table(*names)
    table.columns[0].min_width = max(len(row.job_id) for row in rows)  # to be copied, so never cut
    fold(table, names.index("subject"), len(names) - 1)
    now = datetime.now(UTC)
    for row in rows:
        cells: list[Text | Table | str] = list(_cells(row, now))
        if progress:
            cells.insert(4, _bar(row))
        table.add_row(*cells)
    console().print(table)


def print_counts(counts: Mapping[State, int], unentered: int, more: bool) -> None:
    """Say how many jobs there are in each state; ``unentered`` are those that the ledger does not know yet."""
    numbers: dict[str, int] = dict(counts.items())
    if unentered:
        numbers["queued"] = numbers.get("queued", 0) + unentered
    words = [_number(count, more=more and state == "queued") + f" {state}" for state, count in numbers.items()]
    if words:
        console().print(styled(", ".join(words), "dim"))
    if unentered:
        files = f"{'more than ' if more else ''}{counted(unentered, 'accepted file')}"
        console().print(styled(f"{files} of the inbox, taken up by no worker yet, counted as queued", "dim"))


def _number(count: int, *, more: bool) -> str:
    return f"more than {min(count, COUNTED):,}" if more or count > COUNTED else f"{count:,}"


def _cells(row: JobRow, now: datetime) -> tuple[Text | str, ...]:
    took = span((row.finished_at or now) - row.started_at) if row.started_at else ""
    code = "" if row.error is None or row.state == "done" else str(row.error.get("code", ""))
    return (
        row.job_id,
        row.kind,
        told(row.subject),
        styled(row.state, STYLES.get(row.state, "")),
        str(row.attempts),
        row.asked_by,
        priority_of(row),
        span(now - row.created_at),
        took,
        styled(code, STYLES.get(row.state, "")),
    )


def _bar(row: JobRow) -> Table | str:
    done = percent(row)
    if done is None:
        return ""
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see workers/cli/styled.py
    from rich.table import Table  # noqa: PLC0415 - the same

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(ProgressBar(total=100, completed=done, width=_BAR), f"{done:.0f} %")
    return grid


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
