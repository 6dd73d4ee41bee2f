"""The command that compresses: what was encoded fast on arrival is encoded well, and old versions refer to newer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from workers.cli.styled import in_bytes, joined, new_table, styled

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.advice import Advice
    from storage.engine import Engine


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(compress)


def compress(
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="Only this library.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every library.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done. Without a service it is done here.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most for a service.", min=0.0)] = 86_400.0,
    advice: Annotated[bool, typer.Option("--advice", help="Only say what it would save, by samples.")] = False,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compress what is stored better than on arrival: a job for a running service, or done here with --wait.

    The versions under documentation/ and each library's latest stay plain gzip (STRONGROOM_COMPRESS_NEWEST); older ones become
    zstd that refers to a newer version. Every one is read back before the old bytes go to the trash; nothing becomes larger.

    JSON: an object with `job_id` (null when it was done here); with --wait also `before_bytes` and `after_bytes` (all files below
    the data folder but backups, trash and logs, hard links once), `rewritten`, `cpu_s` and `damaged` (libraries with damage).
    With --advice an object with `libraries` (an array) and the sums `stored_bytes`, `saves_bytes`, `cpu_s`.

    Exit codes: 0 done or queued, 1 it failed, 5 the time was over.
    """
    if (library is None) != everything and not advice:
        raise typer.BadParameter("Name a library, or all of them by --all.")
    with reported(as_json=as_json), engine_on(data) as engine:
        settings = settings_of(data)
        library = library and engine.real_name(library)
        if advice:
            _advise(engine, settings, library, as_json=as_json)
            return
        if wait and not service_runs(settings.data_dir):
            outcome = _here(engine, settings, library, shown=not (quiet or as_json))
        else:
            outcome = _queued(engine, settings, library, timeout if wait else None, shown=not (quiet or as_json))
        _tell(outcome, as_json=as_json, quiet=quiet)


def _here(engine: Engine, settings: Settings, library: str | None, *, shown: bool) -> dict[str, Any]:  # JSON
    from storage.peaks import compress_peak  # noqa: PLC0415 - see output.engine_on
    from tasks.compress import compress_folder  # noqa: PLC0415 - the same

    engine.governor.admit(compress_peak(engine.database, library))
    with progress_bar("compressing", in_bytes, shown=shown) as tick:
        return {"job_id": None, **compress_folder(engine, library, settings.compress_newest, tick)}


def _queued(engine: Engine, settings: Settings, library: str | None, timeout_s: float | None, *, shown: bool) -> dict[str, Any]:
    """Queue the job; with a timeout wait for its end.

    Raises:
        NotFound: no such library.
        WaitTimeout: it has not ended by then.
        StorageError: it failed.
    """
    if library is not None:
        engine.find(library)
    said = {"newest": settings.compress_newest, **({} if library is None else {"library_id": library})}
    return queue_and_wait(settings, "compress", said, timeout_s, "compressing", shown=shown)


def _tell(outcome: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(outcome)
    elif "after_bytes" not in outcome:
        console().print(f"queued as job {outcome['job_id']}; a running service takes it up within seconds", soft_wrap=True)
    elif not quiet:
        before, after = outcome["before_bytes"], outcome["after_bytes"]
        text = f"{counted(outcome['rewritten'], 'document')} encoded anew: {size(before)} before, {size(after)} now"
        console().print(joined(text, (f" ({size(before - after)} less)", "bold")), soft_wrap=True)
    for name in outcome.get("damaged", []):
        stderr().print(told(f"{name}: something of it is damaged; `strongroom verify` says what", "yellow"), soft_wrap=True)
    if outcome.get("damaged"):
        raise typer.Exit(FAILED)


def _advise(engine: Engine, settings: Settings, library: str | None, *, as_json: bool) -> None:
    from storage.advice import advise  # noqa: PLC0415 - see output.engine_on
    from storage.treemode import shown_mode  # noqa: PLC0415 - the same

    shown = shown_mode(engine.folder, settings.tree)
    found = advise(engine.folder, engine.database, shown, settings.compress_newest, library)
    if as_json:
        print_json(
            {
                "libraries": [one.as_json() for one in found],
                "stored_bytes": sum(one.stored_bytes for one in found),
                "saves_bytes": sum(one.saves_bytes for one in found),
                "cpu_s": round(sum(one.cpu_s for one in found), 1),
            }
        )
        return
    _print_advice(found)


def _print_advice(found: list[Advice]) -> None:
    table = new_table("library", "on disk", "saves", "CPU")
    for one in found:
        table.add_row(told(one.library_id), size(one.stored_bytes), size(one.saves_bytes), _duration(one.cpu_s))
    console().print(table)
    saves, cpu_s = sum(one.saves_bytes for one in found), sum(one.cpu_s for one in found)
    console().print(styled(f"recompressing saves {size(saves)}, {_duration(cpu_s)} of CPU", "bold"))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
