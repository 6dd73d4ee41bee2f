"""The command that waits: jobs wait. It asks the ledger, in pauses that grow; for all jobs inbox and broker too, at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import BrokerUnavailable, ConfigurationError, NotFound, WaitTimeout
from workers.cli.jobs_why import service_runs
from workers.cli.output import (
    FAILED,
    TIMED_OUT,
    AsJson,
    Data,
    Quiet,
    console,
    counted,
    engine_on,
    print_error,
    print_json,
    progress_bar,
    reported,
    settings_of,
    stderr,
    told,
)

if TYPE_CHECKING:
    from config.settings import Settings
    from models.ledger import State
    from storage.engine import Engine

SHORTEST_S, LONGEST_S, GROWTH = 0.05, 1.0, 1.5
"""The pauses between two looks."""

BROKER_S = 2.0
"""How long the broker may take for one answer."""

_NAMED = 100
"""How many failed jobs are named when all were waited for."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("wait")(wait_for_jobs)


def wait_for_jobs(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="The jobs' ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Until nothing is left that this release can do.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0.0)] = 3600.0,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Wait until jobs have ended.

    With --all that is what the ledger knows, what lies in the inbox, and what waits in the broker as long as that answers.

    Exit codes: 0 every named job is done (with --all: nothing is left to be done, whatever failed), 1 a named job failed or was
    cancelled, 5 the time was over.
    """
    if bool(job_ids) == everything:
        raise typer.BadParameter("Name jobs by their ids, or all of them by --all.")
    with reported(as_json=as_json), engine_on(data) as engine:
        folder = settings_of(data).data_dir
        if not (quiet or as_json or service_runs(folder)):
            stderr().print(told(f"No service runs on {folder}: `strongroom up` starts one.", "dim"), soft_wrap=True)
        look = _everything(engine, settings_of(data)) if everything else _named(engine, job_ids or [])
        seen = _poll(look, timeout, shown=not (quiet or as_json))
        runs = service_runs(folder)
    if seen.waiting:
        hint = None if runs else f"No service runs on {folder}: `strongroom up` starts one, and the jobs go on."
        late = WaitTimeout(f"{counted(seen.waiting, 'job')} had not ended after {timeout:g} s.", hint)
    else:
        late = None
    _tell(seen, late, everything=everything, as_json=as_json, quiet=quiet)
    if late is not None:
        raise typer.Exit(TIMED_OUT)
    if seen.failed and not everything:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw: how many jobs have not ended, how many are done, and which failed or were cancelled."""

    waiting: int
    done: int = 0
    failed: dict[str, State] = field(default_factory=dict)
    failed_count: int = 0


def _poll(look: Callable[[], Seen], timeout_s: float, *, shown: bool) -> Seen:
    """Look until nothing waits or the time is over; return what was seen last."""
    deadline = time.monotonic() + timeout_s
    pause = SHORTEST_S
    with progress_bar("waiting", shown=shown) as tick:
        seen = look()
        most = seen.waiting
        while seen.waiting and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * GROWTH, LONGEST_S)
            seen = look()
            most = max(most, seen.waiting)
            tick(most - seen.waiting, most)
    return seen


def _named(engine: Engine, job_ids: Sequence[str]) -> Callable[[], Seen]:
    """Return a look at these jobs.

    Raises:
        NotFound: one of them is unknown.
    """
    from models.ledger import ENDED  # noqa: PLC0415 - see output.engine_on
    from models.listing import states_of  # noqa: PLC0415 - the same
    from workers.intervene import known_jobs  # noqa: PLC0415 - the same
    from workers.objections import unknown_job  # noqa: PLC0415 - the same

    names = list(dict.fromkeys(job_ids))
    rows = known_jobs(engine, names)
    unknown: NotFound | None = next((unknown_job(name) for name in names if name not in rows), None)
    if unknown is not None:
        raise unknown
    states: dict[str, State] = {name: row.state for name, row in rows.items()}

    def look() -> Seen:
        with engine.database.read() as connection:
            states.update(states_of(connection, [name for name in names if states[name] not in ENDED]))
        failed = {name: states[name] for name in names if states[name] in ENDED and states[name] != "done"}
        waiting = sum(states[name] not in ENDED for name in names)
        return Seen(waiting, len(names) - waiting - len(failed), failed, len(failed))

    return look


def _everything(engine: Engine, settings: Settings) -> Callable[[], Seen]:
    from models.listing import count_active, count_states, newest_jobs  # noqa: PLC0415 - see output.engine_on
    from workers.accepted_files import count_waiting  # noqa: PLC0415 - the same

    def look() -> Seen:
        with engine.database.read() as connection:
            active = count_active(connection)
        # The inbox after the ledger: a file that was entered meanwhile is found to be active.
        waiting = active or count_waiting(engine.database, engine.folder.inbox) or int(_is_asked_for_more(engine, settings))
        if waiting:
            return Seen(waiting)
        with engine.database.read() as connection:
            counts = count_states(connection)
            rows = newest_jobs(connection, ["failed", "quarantined"], None, _NAMED)
        failed = counts.get("failed", 0) + counts.get("quarantined", 0)
        return Seen(0, counts.get("done", 0), {row.job_id: row.state for row in rows}, failed)

    return look


def _is_asked_for_more(engine: Engine, settings: Settings) -> bool:
    """Whether the broker has messages of which no job has been made yet. One that does not answer has none to be done now."""
    from workers.broker import broker_url_of  # noqa: PLC0415 - see output.engine_on
    from workers.unheard import any_unheard  # noqa: PLC0415 - the same

    with suppress(BrokerUnavailable, ConfigurationError):
        return any_unheard(engine.database, broker_url_of(settings), BROKER_S)
    return False


def _tell(seen: Seen, late: WaitTimeout | None, *, everything: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        failed = [{"id": job_id, "state": state} for job_id, state in seen.failed.items()]
        fields: dict[str, Any] = {"waiting": seen.waiting, "done": seen.done, "failed": failed}  # JSON
        fields |= {"failed_count": seen.failed_count, "timed_out": late is not None}
        if late is not None:
            fields["error"] = {"code": late.code, "message": late.message, "hint": late.hint}
        print_json(fields)
        return
    if late is not None:
        print_error(late, as_json=False)
    if not everything:
        for job_id, state in seen.failed.items():
            stderr().print(f"{job_id} is {state}: `strongroom jobs why {job_id}` says why", soft_wrap=True)
    if not quiet and late is None:
        console().print(_summary(seen, everything=everything), soft_wrap=True)


def _summary(seen: Seen, *, everything: bool) -> str:
    if not everything:
        return f"{seen.done:,} done, {seen.failed_count:,} not"
    if not seen.failed:
        return "nothing is left to be done"
    lists = "`strongroom jobs --state failed --state quarantined` lists them"
    return f"nothing is left to be done; {counted(seen.failed_count, 'job')} of the past failed: {lists}"
