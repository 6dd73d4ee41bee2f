"""The commands by which people change jobs: retry, cancel, discard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import InvalidRequest
from workers.cli.output import FAILED, AsJson, Data, console, counted, engine_on, print_error, print_json, reported, told
from workers.cli.who import person

if TYPE_CHECKING:
    from storage.engine import Engine
    from workers.intervene import Answer

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The jobs' ids.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("retry")(retry_jobs)
    app.command("cancel")(cancel_jobs)
    app.command("discard")(discard_jobs)


def retry_jobs(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="The jobs' ids.")] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every job that failed or is in quarantine.")] = False,
    kind: Annotated[str | None, typer.Option(help="With --all-failed: only jobs of this kind.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Begin jobs anew that failed, were quarantined or cancelled: with the payload that was kept, as if nobody had tried them.

    No running service is needed: a worker begins them within seconds, or when there is one. Take away the cause first.

    Exit codes: 0 all of them are queued, 1 some are not.
    """
    from models.interventions import failed_ids  # noqa: PLC0415 - see output.engine_on
    from workers.intervene import retry  # noqa: PLC0415 - the same

    if bool(job_ids) == all_failed or (kind is not None and not all_failed):
        raise typer.BadParameter("Name jobs by their ids, or all that failed by --all-failed, which --kind may narrow down.")
    with reported(as_json=as_json), engine_on(data) as engine:
        names = job_ids or []
        if all_failed:
            with engine.database.read() as connection:
                names = failed_ids(connection, kind)
        answer = retry(engine, names)
    _tell(answer, "retried", "queued again", as_json=as_json)


def cancel_jobs(job_ids: Ids, data: Data = None, as_json: AsJson = False) -> None:
    """End jobs that have not ended, running ones too: whoever runs one can commit nothing any more. Payloads are kept.

    A producer that waits is told so. `strongroom jobs retry` begins a cancelled job anew.

    Exit codes: 0 all of them are cancelled, 1 some are not.
    """
    from workers.intervene import cancel  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        answer = cancel(engine, job_ids, person())
    _tell(answer, "cancelled", "cancelled", as_json=as_json)


def discard_jobs(
    job_ids: Ids,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is kept of jobs that failed, were quarantined or cancelled, for good. Asks first.

    Their rows stay, and say who did it and when. Documents that are stored are never touched.

    Exit codes: 0 nothing is kept of any of them, 1 something is, or the answer was no.
    """
    from workers.intervene import discard  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        if not yes:
            _ask(engine, job_ids, as_json=as_json)
        answer = discard(engine, job_ids, person())
    _tell(answer, "discarded", "discarded", as_json=as_json)


def _ask(engine: Engine, job_ids: list[str], *, as_json: bool) -> None:
    from workers.intervene import known_jobs  # noqa: PLC0415 - see output.engine_on

    if as_json or not sys.stdin.isatty():
        raise InvalidRequest("Discarding asks first, and there is nobody here to answer.", "Say --yes to discard for good.")
    for row in known_jobs(engine, job_ids).values():
        console().print(told(f"{row.job_id}  {row.kind}  {row.subject}  {row.state}"), soft_wrap=True)
    if not typer.confirm(f"Remove what is kept of {counted(len(job_ids), 'job')} for good?"):
        raise typer.Exit(FAILED)


def _tell(answer: Answer, name: str, words: str, *, as_json: bool) -> None:
    if as_json:
        fields: dict[str, Any] = {name: answer.changed}  # JSON
        fields["failed"] = [
            {"id": job_id, "code": error.code, "message": error.message, "hint": error.hint}
            for job_id, error in answer.refused.items()
        ]
        print_json(fields)
    else:
        if answer.changed or not answer.refused:
            console().print(f"{counted(len(answer.changed), 'job')} {words}")
        for error in answer.refused.values():
            print_error(error, as_json=False)
    if answer.refused:
        raise typer.Exit(FAILED)
