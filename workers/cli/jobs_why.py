"""The command that explains a job: jobs why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.routes import HEARD
from config.settings import Settings
from strongroom.errors import StorageError
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE
from workers.broker import broker_url_of, messages_in
from workers.cli.output import AsJson, Data, console, engine_on, print_fields, print_json, reported, settings_of, told
from workers.cli.styled import styled
from workers.liveness import is_alive
from workers.service_lock import supervisor_of
from workers.service_state import load_state

if TYPE_CHECKING:
    from models.ledger import JobRow
    from storage.engine import Engine
    from workers.situation import Situation

_BROKER_S = 0.5
"""How long the broker may take to say what waits: the answer is better with it, and good without."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("why")(explain)


def explain(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say in a sentence what a job does or waits for, or what became of it and what can be done; then the facts behind that."""
    from workers.situation import facts  # noqa: PLC0415 - see output.engine_on
    from workers.why import why  # noqa: PLC0415 - the same

    with reported(as_json=as_json), engine_on(data) as engine:
        situation = _look(engine, settings_of(data), job_id)
        said, known = why(situation), facts(situation)
    if as_json:
        print_json({"id": job_id, "state": situation.row.state, "why": said, **known})
    else:
        console().print(told(said), soft_wrap=True)
        console().print(styled())
        print_fields({"job": job_id, "state": situation.row.state, **known}, {})


def service_runs(data: Path) -> bool:
    """Tell whether a service, or a worker that was started by itself, seems to be at work on a data folder."""
    if supervisor_of(data) is not None:
        return True
    state = load_state(data)
    if state is not None and state.supervised:
        return False  # it was killed, and its parts died with it: what they left behind is no sign of life
    return any(is_alive(data, f"worker-{name}") for name in HEARD)


def _look(engine: Engine, settings: Settings, job_id: str) -> Situation:
    from models.ledger import find_jobs  # noqa: PLC0415 - see output.engine_on
    from models.listing import count_ahead, running_beside  # noqa: PLC0415 - the same
    from workers import kept  # noqa: PLC0415 - the same
    from workers.intervene import known_jobs  # noqa: PLC0415 - the same
    from workers.objections import unknown_job  # noqa: PLC0415 - the same
    from workers.situation import Situation  # noqa: PLC0415 - the same

    row = known_jobs(engine, [job_id]).get(job_id)
    if row is None:
        raise unknown_job(job_id)
    with engine.database.read() as connection:
        row = (known := find_jobs(connection, [job_id])).get(job_id, row)
        ahead = count_ahead(connection, row) if row.state == "queued" else 0
        beside = running_beside(connection, row) if row.state == "queued" else []
    place = kept.kept_at(engine.folder.inbox, job_id) if row.state != "done" else None
    service = service_runs(settings.data_dir)
    slots = {SHORT_QUEUE: settings.short_concurrency, LONG_QUEUE: settings.long_concurrency}
    return Situation(
        now=datetime.now(UTC),
        row=row,
        entered=job_id in known,
        service=service,
        kept=str(place) if place else "",
        ahead=ahead,
        beside=beside,
        slots=slots.get(row.queue, settings.short_concurrency),
        limit=settings.kind_limits.get(row.kind),
        messages=_messages(settings, row) if service and row.state == "queued" else None,
    )


def _messages(settings: Settings, row: JobRow) -> int | None:
    """Return how many messages wait in a job's queue; None when the broker does not say."""
    queue = row.queue or SHORT_QUEUE
    try:
        return messages_in(broker_url_of(settings), [queue], _BROKER_S)[queue]
    except StorageError:
        return None
