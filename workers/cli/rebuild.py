"""``strongroom rebuild``: the catalogue is made anew from the disk alone. No service may run."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.errors import ConfigurationError
from workers.cli.output import AsJson, Data, Quiet, console, counted, print_json, progress_bar, reported, settings_of, told
from workers.cli.styled import joined, styled
from workers.service_lock import lock_service

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.rebuild import Rebuilt


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(rebuild)


def rebuild(
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a PostgreSQL database is emptied.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make the catalogue anew from segments, indexes and journal: when it is lost, damaged or out of step.

    No service may run on the folder. The old catalogue is kept as catalogue.db.before-TIME; the history of jobs is taken along
    when it can be read. Accepted documents become jobs again when the service starts.

    Exit codes: 0 the catalogue is new and lacks nothing; 1 it is new and may lack what is listed, or it is as it was: then an
    error says so.

    JSON: an object with `libraries`, `versions`, `revisions`, `segments` and `objects` (how many the new catalogue has),
    `seconds`, `before` (where the old one is kept; else null) and `findings`, an array of objects with `code`, `path` and
    `message`.
    """
    with reported(as_json=as_json):
        settings = settings_of(data)
        _ask(settings, sure=yes)
        lock = lock_service(settings.data_dir)
        try:
            started = time.monotonic()
            made = _rebuild(settings, shown=not (quiet or as_json))
            took_s = time.monotonic() - started
        finally:
            os.close(lock)
    if as_json:
        print_json(_fields(made, took_s))
    elif not quiet or made.findings:
        _print(made, took_s)
    if made.lacking:
        raise typer.Exit(1)


def _ask(settings: Settings, *, sure: bool) -> None:
    if settings.database_url is None or sure or settings.catalogue_url.startswith("sqlite"):
        return
    if not typer.confirm("The tables in the database are emptied and filled from the data folder. Go on?", err=True):
        raise ConfigurationError("Nothing was changed.", "`strongroom rebuild --yes` does not ask.")


def _rebuild(settings: Settings, *, shown: bool) -> Rebuilt:
    from storage.governor import Governor  # noqa: PLC0415 - SQLAlchemy costs 0.3 s, which other commands need not pay
    from storage.layout import DataFolder  # noqa: PLC0415
    from storage.peaks import rebuild_peak  # noqa: PLC0415
    from storage.rebuild import rebuild as rebuild_catalogue  # noqa: PLC0415

    folder = DataFolder(settings.data_dir)
    Governor(folder.root, 0).admit(rebuild_peak(folder, settings.catalogue_url))
    with progress_bar("reading indexes", shown=shown) as tick:
        return rebuild_catalogue(folder, settings.catalogue_url, datetime.now(UTC), tick)


def _fields(made: Rebuilt, took_s: float) -> dict[str, object]:
    return {
        "libraries": made.libraries,
        "versions": made.versions,
        "revisions": made.revisions,
        "segments": made.segments,
        "objects": made.objects,
        "seconds": round(took_s, 3),
        "before": None if made.before is None else str(made.before),
        "findings": [one.model_dump() for one in made.findings],
    }


def _print(made: Rebuilt, took_s: float) -> None:
    out = console()
    for finding in made.findings:
        out.print(joined((finding.code, "bold yellow"), told(f"  {finding.path}  {finding.message}")), soft_wrap=True)
    sums = f"{counted(made.versions, 'version')} of {_libraries(made.libraries)} in {counted(made.segments, 'segment')}"
    out.print(joined(("The catalogue is new: ", "bold green"), f"{sums}, after {took_s:.1f} s."))
    if made.before is not None:
        out.print(told(f"The old one is kept: {made.before}", "dim"), soft_wrap=True)
    if made.findings:
        out.print(styled("`strongroom doctor` says what to do about what is listed above.", "dim"))


def _libraries(count: int) -> str:
    return f"{count:,} {'library' if count == 1 else 'libraries'}"
