"""The command ``backup drill``: backups are proven by restoring them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.backups import backup_place
from workers.cli.awaiting import queue_and_wait
from workers.cli.jobs_why import service_runs
from workers.cli.output import (
    FAILED,
    AsJson,
    Data,
    Quiet,
    console,
    counted,
    engine_on,
    print_json,
    progress_bar,
    reported,
    settings_of,
    size,
    stderr,
    told,
)
from workers.cli.styled import in_percent, joined, new_table, styled

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.engine import Engine

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``backup``."""
    app.command()(drill)


def drill(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done. Without a service it is done here.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show the last drills instead of making one.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most for a service.", min=0.0)] = 86_400.0,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Prove backups by restoring them: the newest, and an older one by lot, into scratch space that is removed afterwards.

    Every stored byte is hashed, documents are read through the public interface (all of up to 20,000, else 20,000 by lot) and
    compared with what was stored, the newest with the catalogue besides; then the restored catalogue is dropped, made anew from
    the disk alone, and compared. Needs about as much free space as is stored.

    JSON: an object with `job_id` (null when it was done here); with --wait also `drill_id`, `verdict` (fresh: all is well; stale:
    the newest backup is too old; failed; never: there is none), `id` (the newest backup), `at`, `rto_s` (seconds until the first
    document could be read), `rpo_s` (how old the newest backup was), `checked` (documents that were compared), `problems` (an
    array of sentences) and `backups` (an array of objects, what was done with each). With --history an array of objects with
    `drill_id`, `id`, `at`, `verdict`, `rto_s`, `rpo_s`, `checked` and `problems`, the newest first.

    Exit codes: 0 fresh, queued or shown, 1 it is not fresh, 5 the time was over.
    """
    with reported(as_json=as_json):
        if history:
            with engine_on(data) as engine:
                _show_history(engine, as_json=as_json)
            return
        settings, shown = settings_of(data), not (quiet or as_json)
        if wait and not service_runs(settings.data_dir):
            with engine_on(data) as engine:
                outcome = _drill_here(engine, settings, shown=shown)
        else:
            said = {"max_age_hours": settings.backup_max_age_hours}
            outcome = queue_and_wait(settings, "drill", said, timeout if wait else None, "restoring", shown=shown)
    if as_json:
        print_json(outcome)
    elif "verdict" not in outcome:
        console().print(f"queued as job {outcome['job_id']}; a running service takes it up within seconds", soft_wrap=True)
    else:
        _show(outcome, quiet=quiet)
    if outcome.get("verdict", "fresh") != "fresh":
        raise typer.Exit(FAILED)


def _drill_here(engine: Engine, settings: Settings, *, shown: bool) -> dict[str, Any]:  # JSON
    from storage.backup.drill import RunDrill  # noqa: PLC0415 - see output.engine_on
    from tasks.drill import summary  # noqa: PLC0415 - the same

    max_age = timedelta(hours=settings.backup_max_age_hours)
    with progress_bar("restoring", in_percent, shown=shown) as tick:
        return {"job_id": None, **summary(RunDrill(engine, backup_place(settings), max_age, tick).run())}


def _show(outcome: dict[str, Any], *, quiet: bool) -> None:
    for problem in outcome["problems"]:
        stderr().print(told(problem, "yellow"), soft_wrap=True)
    if outcome["verdict"] == "never":
        stderr().print("There is no backup yet: `strongroom backup create --wait` makes the first.", soft_wrap=True)
    if quiet:
        return
    style = "bold green" if outcome["verdict"] == "fresh" else "bold red"
    times = f"restored in {outcome['rto_s']:.1f} s, {outcome['rpo_s']:.0f} s old"
    said = f"  {counted(outcome['checked'], 'document')} compared; {times}"
    console().print(joined((outcome["verdict"], style), said), soft_wrap=True)
    for one in outcome["backups"]:
        console().print(
            f"  {one['backup_id']}: {one['checked']:,} of {counted(one['documents'], 'document')}, "
            f"{size(one['restored_bytes'])}, {one['seconds']:.1f} s",
            soft_wrap=True,
        )


def _show_history(engine: Engine, *, as_json: bool) -> None:
    from models.drills import last_drills  # noqa: PLC0415 - see output.engine_on

    with engine.database.read() as connection:
        rows = last_drills(connection, 1000 if as_json else _SHOWN)
    if as_json:
        names = ("drill_id", "verdict", "rto_s", "rpo_s", "checked")
        print_json(
            [
                {**{name: getattr(row, name) for name in names}, "id": row.backup_id or None, "at": row.at.isoformat()}
                | {"problems": row.details.get("problems", [])}
                for row in rows
            ]
        )
        return
    table = new_table("at", "verdict", "backup", "restored in", "was old", "compared")
    for row in rows:
        style = "green" if row.verdict == "fresh" else "red"
        times = (f"{row.rto_s:.1f} s", f"{row.rpo_s / 3600:.1f} h")
        table.add_row(f"{row.at:%Y-%m-%d %H:%M}", styled(row.verdict, style), row.backup_id, *times, f"{row.checked:,}")
    console().print(table)
