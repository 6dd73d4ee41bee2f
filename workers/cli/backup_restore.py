"""The commands ``backup verify`` and ``backup restore``: for the night on which the data folder is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import DiskFull, InvalidRequest, StorageError
from workers.backups import backup_place
from workers.cli.output import (
    FAILED,
    AsJson,
    Data,
    Quiet,
    console,
    counted,
    print_json,
    progress_bar,
    reported,
    settings_of,
    size,
    stderr,
    told,
)
from workers.cli.styled import in_bytes, in_percent, joined
from workers.cli.who import actor

if TYPE_CHECKING:
    from models.database import Database
    from storage.backup.manifest import Manifest
    from storage.backup.place import Place
    from storage.backup.repository import Repository
    from storage.backup.restore import Restored
    from storage.backup.unpack import Progress

Which = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A backup's id, the beginning of one, latest, or a moment: 2026-11-20T03:00 (UTC) is the newest until then.",
    ),
]
Target = Annotated[str | None, typer.Option("--target", help="Where the backups are; else STRONGROOM_BACKUP_TARGET.")]
Key = Annotated[Path | None, typer.Option("--key-file", help="The key file; else STRONGROOM_BACKUP_KEY_FILE.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``backup``."""
    app.command()(verify)
    app.command()(restore)


def verify(
    backup_id: Which = "latest",
    target: Target = None,
    key_file: Key = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Read all of a backup back and compare it with what its manifest promises. Done here; needs no data folder.

    JSON: an object with `id`, `verdict` (good or damaged), `problems` (an array of sentences), `packs` and `read_bytes`.

    Exit codes: 0 it is good, 1 it is not, or it cannot be read.
    """
    from tasks.backup import check_backup  # noqa: PLC0415 - see output.engine_on

    bar = progress_bar("reading back", in_bytes, shown=not (quiet or as_json))
    with reported(as_json=as_json), bar as tick, _catalogue(data) as database:
        found = check_backup(place_of(target, key_file, data), backup_id, tick, database)
    if as_json:
        print_json(found)
    else:
        for problem in found["problems"]:
            stderr().print(told(problem, "yellow"), soft_wrap=True)
        style = "bold green" if found["verdict"] == "good" else "bold red"
        said = f"  {found['id']}: {size(found['read_bytes'])} in {counted(found['packs'], 'pack')}"
        console().print(joined((found["verdict"], style), said), soft_wrap=True)
    if found["verdict"] != "good":
        raise typer.Exit(FAILED)


def restore(
    backup_id: Which,
    to: Annotated[Path, typer.Option("--to", help="The new data folder: empty, or not there yet.")],
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="An empty PostgreSQL for the catalogue; else SQLite in the folder.")
    ] = None,
    library: Annotated[str | None, typer.Option("--library", help="This library alone; else everything.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="This version of the library alone.")] = None,
    target: Target = None,
    key_file: Key = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a backup, on which a service can run: `strongroom --data FOLDER up`. Nothing is overwritten.

    Needs no data folder: name the target when it is lost. Killed half-way it leaves no data folder; run again, it goes on.
    With --library the new folder holds that library: its revisions and their times, pins, labels, other names, and its history:
    who removed what, too, and what of that can still be brought back.

    JSON: an object with `id`, `as_of`, `folder`, `documents`, `revisions`, `segments`, `bytes`, `seconds` and `differences`
    (what came back otherwise than the manifest promised: empty when all is well).

    Exit codes: 0 all of it is back, 1 it is not.
    """
    from storage.backup.choice import find_manifest  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json):
        run = _restoring(library, version, database_url)
        repository = place_of(target, key_file, data).open()
        manifest = find_manifest(repository, backup_id)
        with _room(), progress_bar("restoring", in_percent, shown=not (quiet or as_json)) as tick:
            done = run(repository, manifest, tick, to)
    if as_json:
        print_json(_restored(done))
    elif not quiet or done.differences:
        said = f"{counted(done.counts.documents, 'document')} as of {done.as_of:%Y-%m-%d %H:%M:%S} UTC, {done.seconds:.1f} s"
        console().print(joined((str(done.folder), "bold green"), f": {said}"), soft_wrap=True)
    for difference in done.differences if not as_json else ():
        stderr().print(told(difference, "yellow"), soft_wrap=True)
    if done.differences:
        raise typer.Exit(FAILED)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except DiskFull as error:  # what is said of a data folder's disk is of no use to whoever has none
        hint = (
            "Free some space there and give the same command again: it needs what `backup show` says the segments take, and some."
        )
        raise DiskFull(error.message, hint, error.context) from error


_Run = Callable[["Repository", "Manifest", "Progress", Path], "Restored"]


def _restoring(library: str | None, version: str | None, database_url: str | None) -> _Run:
    """Return what restores everything, or what these options name of it."""
    from storage.backup.part import RestorePart  # noqa: PLC0415 - see output.engine_on
    from storage.backup.restore import Restore  # noqa: PLC0415 - the same

    if library is None:
        if version is not None:
            raise InvalidRequest("--version needs a library.", "Such as --library /acme/widget --version 1.3.")
        return lambda repository, manifest, tick, to: Restore(repository, manifest, tick, database_url).run(to, datetime.now(UTC))
    if database_url is not None:
        raise InvalidRequest("A part of a backup has its catalogue in its folder.", "Leave out --database-url, or --library.")
    return lambda repository, manifest, tick, to: RestorePart(repository, manifest, library, version, tick).run(
        to, actor(f"restored from {manifest.backup_id}"), datetime.now(UTC)
    )


def _restored(done: Restored) -> dict[str, Any]:
    return {
        "id": done.backup_id,
        "as_of": done.as_of.isoformat(),
        "folder": str(done.folder),
        "documents": done.counts.documents,
        "revisions": done.counts.revisions,
        "segments": done.counts.segments,
        "bytes": done.restored_bytes,
        "seconds": done.seconds,
        "differences": list(done.differences),
    }


@contextmanager
def _catalogue(data: Path | None) -> Iterator[Database | None]:
    """Yield the catalogue that is told the verdict; none where the data folder is lost or of another release."""
    from workers.prepare import make_engine  # noqa: PLC0415 - see output.engine_on

    with make_engine(settings_of(data)) as engine:
        try:
            engine.open()
        except StorageError:
            yield None
        else:
            yield engine.database


def place_of(target: str | None, key_file: Path | None, data: Path | None) -> Place:
    """Return where the backups are, as options and settings say."""
    settings = settings_of(data)
    if target is not None:
        settings = settings.model_copy(update={"backup_target": target})
    place = backup_place(settings)
    return place if key_file is None else replace(place, key_file=key_file)
