"""The commands ``backup restore-in-place`` and ``backup undo-restore``: something of a backup goes into a store that goes on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.backup_restore import Key, Target, Which, place_of
from workers.cli.output import AsJson, Data, Quiet, console, engine_on, print_json, progress_bar, reported, told
from workers.cli.styled import in_percent, new_table, styled
from workers.cli.who import Why, actor

if TYPE_CHECKING:
    from storage.backup.in_place import InPlace

_WORDS = {"gone": "is gone: comes back", "other": "has another content: gets this one", "same": "is the same: stays"}


def register(app: typer.Typer) -> None:
    """Add the commands to ``backup``."""
    app.command("restore-in-place")(restore_in_place)
    app.command("undo-restore")(undo)


def restore_in_place(
    backup_id: Which,
    library: Annotated[str, typer.Option("--library", help="The library.")],
    version: Annotated[str | None, typer.Option("--version", help="This version alone; else all that the backup has.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without, the plan is shown and nothing is changed.")] = False,
    why: Why = "",
    target: Target = None,
    key_file: Key = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make versions of a library what they were in a backup: the plan, or with --apply all of it by one commit. It can be undone.

    A version that is gone is stored again, one with another content gets that of the backup as a further revision, what has come
    since stays. Works beside a running service, which goes on. `backup restore --library` looks at it in a folder of its own.

    JSON: an object with `restore_id` (for `backup undo-restore`; null where nothing was changed), `backup_id`, `library_id` and
    `changes` (an array of objects with `version`, `now`: gone, other or same, `content_sha256` and `before`: the revision that
    was current, or null).

    Exit codes: 0 shown or done, 1 it cannot be done; nothing was changed.
    """
    from storage.backup.choice import find_manifest  # noqa: PLC0415 - the same
    from storage.backup.in_place import RestoreInPlace  # noqa: PLC0415 - see output.engine_on
    from storage.backup.part import RestorePart  # noqa: PLC0415 - the same

    bar = progress_bar("reading", in_percent, shown=not (quiet or as_json))
    with reported(as_json=as_json), engine_on(data) as engine, bar as tick:
        repository = place_of(target, key_file, data).open()
        part = RestorePart(repository, find_manifest(repository, backup_id), library, version, tick)
        done = RestoreInPlace(engine, part).run(actor(why or "restored from a backup"), datetime.now(UTC), apply=apply)
    if as_json:
        print_json(asdict(done))
    elif not quiet:
        _show(done, apply=apply)


def _show(done: InPlace, *, apply: bool) -> None:
    table = new_table("version", "")
    for one in done.changes:
        table.add_row(told(one.version), styled(_WORDS[one.now], "dim" if one.now == "same" else "yellow"))
    console().print(table)
    if done.restore_id is not None:
        console().print(f"done. `strongroom backup undo-restore {done.restore_id}` undoes it", soft_wrap=True)
    elif apply or all(one.now == "same" for one in done.changes):
        console().print("nothing to do: all of it is as it was in the backup", soft_wrap=True)
    else:
        console().print("nothing was changed: --apply does it", soft_wrap=True)


def undo(
    restore_id: Annotated[str, typer.Argument(metavar="ID", help="What `backup restore-in-place --apply` printed.")],
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Undo a restore in place: what it brought back is removed, what it replaced is current again.

    A version that was changed since is left as it is, and named. What is removed can be brought back for as long as the grace
    period lasts, as after a cleanup.

    JSON: an object with `restore_id` and `versions` (an object: removed, rolled back or changed since, by version).

    Exit codes: 0 undone, 1 there was no such restore, or it cannot be undone now.
    """
    from storage.backup.in_place import undo_restore  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        undone = undo_restore(engine, restore_id, actor(why or f"undo of {restore_id}"), datetime.now(UTC))
    answer: dict[str, Any] = {"restore_id": restore_id, "versions": undone}
    if as_json:
        print_json(answer)
        return
    table = new_table("version", "")
    for name, what in undone.items():
        table.add_row(told(name), what)
    console().print(table)
