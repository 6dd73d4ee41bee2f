"""The commands that look into the ledger: jobs, jobs show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.table import Table
from rich.text import Text

from strongroom.errors import InvalidRequest, NotFound
from workers.cli.output import AsJson, Data, console, engine_on, hand_down, print_fields, print_json, reported, told

if TYPE_CHECKING:
    from models.ledger import JobRow, State

_STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "bold red",
    "quarantined": "bold red",
    "retrying": "yellow",
    "parked": "yellow",
}

jobs_app = typer.Typer(help="Jobs: what was asked for, and what became of it.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(jobs_app, name="jobs")


@jobs_app.callback()
def jobs(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state; may be given more than once.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first. `strongroom jobs show ID` shows one."""
    if context.invoked_subcommand is not None:
        hand_down(context, data)
        return
    from models.ledger import list_jobs  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        states = _states(state or [])
        with engine.database.read() as connection:
            rows = list(list_jobs(connection, states, limit))
        if as_json:
            print_json([_fields(row) for row in rows])
        else:
            _print_jobs(rows)


@jobs_app.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one job: its attempts, its outcome, and its error with what to do about it."""
    from models.ledger import find_jobs  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        with engine.database.read() as connection:
            row = find_jobs(connection, [job_id]).get(job_id)
        if row is None:
            raise NotFound(f"There is no job {job_id}.", "`strongroom jobs` lists them.")
        if as_json:
            print_json(_fields(row))
        else:
            print_fields(_fields(row), {"state": _STYLES.get(row.state, "")})


def _states(names: list[str]) -> list[State]:
    from models.ledger import State  # noqa: PLC0415 - see output.engine_on

    known: tuple[State, ...] = get_args(State)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidRequest(f"There is no state {unknown[0]}.", f"States are {', '.join(known)}.")
    return [one for one in known if one in names]


def _fields(row: JobRow) -> dict[str, Any]:  # JSON, printed as it is
    return {
        "id": row.job_id,
        "kind": row.kind,
        "subject": row.subject,
        "state": row.state,
        "attempts": row.attempts,
        "asked_by": row.asked_by,
        "created_at": _iso(row.created_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "due_at": _iso(row.due_at),
        "outcome": dict(row.outcome) if row.outcome is not None else None,
        "error": dict(row.error) if row.error is not None else None,
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _print_jobs(rows: list[JobRow]) -> None:
    if not rows:
        console().print("There are no jobs.")
        return
    table = Table(
        "job", "kind", "subject", "state", "attempts", "created", "took", box=None, header_style="dim", padding=(0, 2, 0, 0)
    )
    table.columns[0].min_width = max(len(row.job_id) for row in rows)  # to be copied, so never cut
    for row in rows:
        end = row.finished_at or datetime.now(UTC)
        took = f"{(end - row.started_at).total_seconds():.2f} s" if row.started_at else ""
        state = Text(row.state, _STYLES.get(row.state, ""))
        table.add_row(row.job_id, row.kind, told(row.subject), state, str(row.attempts), f"{row.created_at:%H:%M:%S}", took)
    console().print(table)
