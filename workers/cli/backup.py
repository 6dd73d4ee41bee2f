"""The commands of ``strongroom backup``: taking, showing, proving and restoring backups."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.backups import backup_place, ping_url_of, taken_elsewhere
from workers.cli.awaiting import queue_and_wait
from workers.cli.backup_restore import Key, Target, Which, place_of
from workers.cli.homes import BackupGroup
from workers.cli.jobs_why import service_runs
from workers.cli.output import (
    AsJson,
    Data,
    Quiet,
    console,
    counted,
    engine_by,
    hand_down,
    print_fields,
    print_json,
    progress_bar,
    reported,
    settings_of,
    size,
    stderr,
    told,
)
from workers.cli.styled import in_bytes, joined, new_table
from workers.cli.who import asker
from workers.garbage import held

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.backup.manifest import Manifest
    from storage.engine import Engine

backup_app = typer.Typer(cls=BackupGroup, no_args_is_help=True)
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most for a service.", min=0.0)]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(backup_app, name="backup")


@backup_app.callback()
def backup(context: typer.Context, data: Data = None) -> None:
    """Take backups, prove them, and restore them. docs/how-to/backup.md."""
    hand_down(context, data)


@backup_app.command()
def create(
    full: Annotated[bool, typer.Option("--full", help="Copy everything again: needs no older backup's packs.")] = False,
    begin_anew: Annotated[
        bool, typer.Option("--begin-anew", help="The target is empty on purpose, though backups were taken there.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done. Without a service it is done here.")] = False,
    timeout: Timeout = 86_400.0,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Take a backup: what the newest one lacks, or everything. A job for a running service, or done here with --wait.

    Nobody who stores or reads waits for it. What it adds is read back before it counts. Run again after it failed or was
    killed, it goes on where it was. A target that held backups and is empty now is refused: its disk may not be mounted.

    JSON: an object with `job_id` (null when it was done here); with --wait also `id`, `kind` (full or incremental), `documents`,
    `new_bytes` (that it added at the target), `stored_bytes` (that it needs there, with what it shares), `new_segments`,
    `removed_segments`, `as_of`, `seconds`, `target` (its URL), `sealed` and `passed_over` (newer backups that it could not build
    on, since nobody can use their manifests: an array of objects with `id` and `problem`).

    Exit codes: 0 done or queued, 1 there is no new backup, 5 the time was over.
    """
    with reported(as_json=as_json):
        settings, shown = settings_of(data), not (quiet or as_json)
        if wait and not service_runs(settings.data_dir):
            with engine_by(settings) as engine:
                outcome = _create_here(engine, settings, full=full, begin_anew=begin_anew, shown=shown)
        else:
            wanted = {"full": full, **({"begin_anew": True} if begin_anew else {})}
            outcome = queue_and_wait(settings, "backup", wanted, timeout if wait else None, "backing up", shown=shown)
    if as_json:
        print_json(outcome)
    elif "id" not in outcome:
        console().print(f"queued as job {outcome['job_id']}; a running service takes it up within seconds", soft_wrap=True)
    elif not quiet:
        said = f"{counted(outcome['documents'], 'document')}, {size(outcome['new_bytes'])} new, {outcome['seconds']:.1f} s"
        console().print(joined((outcome["id"], "bold green"), f"  {outcome['kind']}: {said}"), soft_wrap=True)
        if outcome["job_id"] is not None and (other := taken_elsewhere(settings, outcome)):
            stderr().print(
                told(f"{other}: the service goes by what was set when it started. Start it again.", "yellow"), soft_wrap=True
            )
    for one in outcome.get("passed_over", ()) if not as_json else ():
        stderr().print(told(f"passed over {one['id']}: {one['problem']}", "yellow"), soft_wrap=True)


def _create_here(engine: Engine, settings: Settings, *, full: bool, begin_anew: bool, shown: bool) -> dict[str, Any]:  # JSON
    with held():
        from tasks.backup import take_backup  # noqa: PLC0415 - see output.engine_on

    with progress_bar("backing up", in_bytes, shown=shown) as tick:
        place, ping_url = backup_place(settings), ping_url_of(settings)
        done = take_backup(engine, place, tick, full=full, begin_anew=begin_anew, ping_url=ping_url, by=asker())
    return {"job_id": None, **done}


@backup_app.command("list")
def list_backups(target: Target = None, key_file: Key = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the backups at the target, the newest first. Needs no data folder: name the target when it is lost.

    JSON: an array of objects with `id`, `kind`, `parent`, `as_of`, `documents`, `revisions`, `new_bytes`, `stored_bytes`,
    `seconds` and `problem` (null: its manifest is whole; then the others are null).
    """
    from storage.backup.manifest import Manifest, manifests  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json):
        found: list[dict[str, Any]] = [
            _fields(one) if isinstance(one, Manifest) else {**dict.fromkeys(_FIELDS), "id": backup_id, "problem": one.message}
            for backup_id, one in manifests(place_of(target, key_file, data).open())
        ]
    if as_json:
        print_json(found)
        return
    table = new_table("id", "kind", "documents", "new", "in all", "")
    for one in found:
        if one["problem"]:
            table.add_row(one["id"], "", "", "", "", told(one["problem"], "red"))
        else:
            sizes = (size(one["new_bytes"]), size(one["stored_bytes"]))
            table.add_row(one["id"], one["kind"], f"{one['documents']:,}", *sizes, "")
    console().print(table)


@backup_app.command()
def show(backup_id: Which, target: Target = None, key_file: Key = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show a backup: what it holds, what it builds on, what was left out and why.

    JSON: the fields of `backup list`, and `finished_at`, `schema`, `counts`, `packs` (how many), `removed_segments`, `excluded`
    and `passed_over` (an object: newer backups that it could not build on, and why).
    """
    from storage.backup.choice import find_manifest  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json):
        found = find_manifest(place_of(target, key_file, data).open(), backup_id)
    fields = {**_fields(found), **_more(found)}
    if as_json:
        print_json(fields)
    else:
        counts, excluded = fields.pop("counts"), fields.pop("excluded")
        left_out = "; ".join(f"{name} ({why})" for name, why in excluded.items())
        fields["passed_over"] = "; ".join(f"{name} ({why})" for name, why in fields["passed_over"].items())
        print_fields({**fields, **counts, "left out": left_out}, {"id": "bold"})


_FIELDS = ("id", "kind", "parent", "as_of", "documents", "revisions", "new_bytes", "stored_bytes", "seconds", "problem")


def _fields(one: Manifest) -> dict[str, Any]:
    counts = (one.counts.documents, one.counts.revisions)
    values = (one.backup_id, one.kind, one.parent, one.as_of.isoformat(), *counts, one.new_bytes, one.stored_bytes, one.seconds)
    return dict(zip(_FIELDS, (*values, None), strict=True))


def _more(one: Manifest) -> dict[str, Any]:
    from storage.backup.unusable import passed_over  # noqa: PLC0415 - see output.engine_on

    return {
        "finished_at": one.finished_at.isoformat(),
        "schema": one.schema,
        "counts": asdict(one.counts),
        "packs": len(one.packs),
        "removed_segments": one.removed,
        "excluded": one.excluded,
        "passed_over": passed_over(one),
    }
