"""The commands that look into the ledger: jobs, jobs show. Those that change, explain or await jobs stand beside it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from strongroom.errors import InvalidRequest
from workers.cli import jobs_change, jobs_wait, jobs_why
from workers.cli.output import AsJson, Data, engine_on, hand_down, print_fields, print_json, print_json_array, reported

if TYPE_CHECKING:
    from models.ledger import JobRow, State
    from storage.engine import Engine

_SHOWN = 50
"""How many jobs a person is shown who does not say."""

_OPENED = 100
"""How many files of the inbox a list opens to say what is in them; of more it says their names."""

jobs_app = typer.Typer(help="Jobs: what was asked for, and what became of it.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(jobs_app, name="jobs")


@jobs_app.callback()
def jobs(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state; may be given more than once.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind, such as store.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many, newest first; else 50, and with --json all.", min=1, show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first. `strongroom jobs show ID` shows one, `strongroom jobs why ID` explains it.

    Accepted files of the inbox that no worker has taken up yet are queued jobs too. The whole list ends with how many jobs are in
    each state.
    """
    if context.invoked_subcommand is not None:
        hand_down(context, data)
        return
    with reported(as_json=as_json), engine_on(data) as engine:
        states = _states(state or [])
        if as_json:
            _print_all(engine, states, kind, limit)
        else:
            _print_table(engine, states, kind, limit or _SHOWN)


def _print_all(engine: Engine, states: list[State], kind: str | None, limit: int | None) -> None:
    """Print jobs as they are read: other programs count on all of them, and there may be a million."""
    from models.listing import each_job  # noqa: PLC0415 - see output.engine_on
    from workers.accepted_files import each_unentered, opened  # noqa: PLC0415 - the same
    from workers.cli.jobs_view import as_fields  # noqa: PLC0415 - the same

    now, number = datetime.now(UTC), count()
    files = each_unentered(engine.database, engine.folder.inbox) if _shows_files(states, kind) else iter(())
    told = (opened(engine.folder.inbox, row) if next(number) < _OPENED else row for row in files)
    rows = newest_first(told, each_job(engine.database, states, kind), now)
    print_json_array(as_fields(row) for row in islice(rows, limit))


def newest_first(files: Iterator[JobRow], entered: Iterator[JobRow], since: datetime) -> Iterator[JobRow]:
    """Merge accepted files that the ledger did not know at the time ``since`` with what it knows now. Yields each job once."""
    pairs = (((row, False) for row in files), ((row, True) for row in entered))
    entered_since: set[str] = set()
    last = ""
    for row, is_entered in heapq.merge(*pairs, key=lambda pair: (pair[0].created_at, pair[0].job_id), reverse=True):
        if is_entered and row.created_at >= since:
            entered_since.add(row.job_id)  # by its message, so that it is as young as that
        if row.job_id != last and (is_entered or row.job_id not in entered_since):
            yield row
        last = row.job_id


def _print_table(engine: Engine, states: list[State], kind: str | None, limit: int) -> None:
    from models.listing import count_states, newest_jobs  # noqa: PLC0415 - see output.engine_on
    from workers.accepted_files import LOOKED_AT, unentered  # noqa: PLC0415 - the same
    from workers.cli.jobs_view import print_counts, print_jobs  # noqa: PLC0415 - the same

    with engine.database.read() as connection:
        rows = newest_jobs(connection, states, kind, limit)
        counts = {} if states or kind else count_states(connection)
    new = unentered(engine.database, engine.folder.inbox)
    print_jobs(_merged(engine, rows, new, limit) if _shows_files(states, kind) else rows)
    if not (states or kind):
        print_counts(counts, len(new), more=len(new) == LOOKED_AT)


def _shows_files(states: list[State], kind: str | None) -> bool:
    """Whether accepted files that the ledger does not know, which are queued stores, are among what is asked for."""
    return kind in {None, "store"} and (not states or "queued" in states)


@jobs_app.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show everything about one job: its attempts, its lease, its outcome, and its error with what to do about it."""
    from workers import kept  # noqa: PLC0415 - see output.engine_on
    from workers.cli.jobs_view import STYLES, all_fields  # noqa: PLC0415 - the same
    from workers.intervene import known_jobs  # noqa: PLC0415 - the same
    from workers.objections import unknown_job  # noqa: PLC0415 - the same

    with reported(as_json=as_json), engine_on(data) as engine:
        row = known_jobs(engine, [job_id]).get(job_id)
        if row is None:
            raise unknown_job(job_id)
        place = kept.kept_at(engine.folder.inbox, job_id) if row.state != "done" else None  # its worker is about to let it go
        fields = all_fields(row, str(place) if place else None)
        if as_json:
            print_json(fields)
        else:
            print_fields(fields, {"state": STYLES.get(row.state, "")})


def _states(names: list[str]) -> list[State]:
    from models.ledger import State  # noqa: PLC0415 - see output.engine_on

    known: tuple[State, ...] = get_args(State)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidRequest(f"There is no state {unknown[0]}.", f"States are {', '.join(known)}.")
    return [one for one in known if one in names]


def _merged(engine: Engine, rows: list[JobRow], new: list[JobRow], limit: int) -> list[JobRow]:
    from workers.accepted_files import opened  # noqa: PLC0415 - see output.engine_on

    known = {row.job_id for row in rows}
    files = [row for row in new if row.job_id not in known]
    newest = sorted([*rows, *files], key=lambda row: (row.created_at, row.job_id), reverse=True)[:limit]
    to_open = {row.job_id for row in files[:_OPENED]}
    return [opened(engine.folder.inbox, row) if row.job_id in to_open else row for row in newest]


jobs_change.register(jobs_app)
jobs_why.register(jobs_app)
jobs_wait.register(jobs_app)
