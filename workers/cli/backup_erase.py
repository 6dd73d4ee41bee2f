"""The command ``backup erase``: backups that hold something of what was erased go, behind a new one that holds none of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import InvalidRequest
from workers.cli.backup_restore import Key, Target, place_of
from workers.cli.cleanup import is_asked
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
    size,
    told,
)
from workers.cli.styled import in_bytes, joined, new_table, styled
from workers.cli.who import Why, actor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.erase.from_backups import BackupPlan, GoneFromBackups
    from storage.erase.holders import Holding


def register(app: typer.Typer) -> None:
    """Add the command to ``backup``."""
    app.command()(erase)


def erase(
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without, the plan is shown and nothing is changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    why: Why = "",
    target: Target = None,
    key_file: Key = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Remove from the backups what `strongroom erase` has erased here: whole backups, for none is ever changed. No undo.

    First a full backup is taken that holds none of it, unless the newest holds none; then each backup that holds something of it
    goes, and the packs with it, at once. What never held any of it stays. Killed, it is finished by giving it again.

    JSON: an object with `applied`, `target` (its URL), `erased` (what was erased here and may be there: an array of objects with
    `library_id` and `version`, null for all of a library), `packs` and `packs_bytes` (that go) and `left` (what holds something
    of it still, or may: an array of objects with `where`, `what` and `remedy`). Of a plan also `plan_id`, `full_first`, `remove`
    and `keep` (arrays of objects with `id` and `reason`); when applied `made` (the new backup's id, or null), `removed` and
    `searched` (arrays of ids: what went; what is there now, and holds none of it).

    Exit codes: 0 shown, or gone; 1 nothing was removed, the answer was no, or something is left.
    """
    from storage.erase.from_backups import FromBackups  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        place = place_of(target, key_file, data)
        plan = FromBackups(engine, place).plan()
        if not apply:
            print_json(_plan_fields(plan)) if as_json else _print_plan(plan)
            return
        if plan.targets and not yes:
            _ask(plan, as_json=as_json)
        with progress_bar("backing up", in_bytes, shown=not (quiet or as_json)) as tick:
            done = FromBackups(engine, place, progress=tick).apply(plan, actor(why))
    if as_json:
        print_json(gone_fields(done))
    elif not quiet:
        print_gone(done)
    if done.left:
        raise typer.Exit(FAILED)


def _ask(plan: BackupPlan, *, as_json: bool) -> None:
    if as_json or not is_asked():
        raise InvalidRequest("Nothing was removed: nobody can be asked.", "Say --yes when you are sure.")
    _print_plan(plan)
    going = sum(not one.keep for one in plan.fates)
    if not typer.confirm(f"Remove {counted(going, 'backup')} for good? Nothing brings them back."):
        raise typer.Exit(FAILED)


def _plan_fields(plan: BackupPlan) -> dict[str, Any]:  # JSON, printed as it is
    fates = [({"id": one.backup_id, "reason": one.reason}, one.keep) for one in plan.fates]
    return {
        "applied": False,
        **_fields(plan),
        "plan_id": plan.plan_id,
        "full_first": plan.anew,
        "remove": [one for one, keep in fates if not keep],
        "keep": [one for one, keep in fates if keep],
    }


def gone_fields(done: GoneFromBackups) -> dict[str, Any]:  # JSON, printed as it is
    """Return what programs are told of what was done."""
    return {"applied": True, **_fields(done), "made": done.made, "removed": done.removed, "searched": done.searched}


def _fields(told_of: BackupPlan | GoneFromBackups) -> dict[str, Any]:
    return {
        "target": told_of.url,
        "erased": [{"library_id": library_id, "version": version} for library_id, version in told_of.targets],
        "packs": told_of.packs,
        "packs_bytes": told_of.packs_bytes,
        "left": [asdict(one) for one in told_of.left],
    }


def _print_plan(plan: BackupPlan) -> None:
    out = console()
    if not plan.targets:
        out.print(told(f"Nothing was erased that the backups in {plan.url} could hold.", "dim"), soft_wrap=True)
        return
    for library_id, version in plan.targets:
        out.print(joined(("erased here ", "red"), told(f"{library_id} {version or ''}".strip())), soft_wrap=True)
    table = new_table("backup", "", "why")
    for one in plan.fates:
        table.add_row(one.backup_id, styled("stays", "green") if one.keep else styled("goes", "red"), told(one.reason))
    out.print(table)
    print_left(plan.left)
    first = "A full backup is taken first. " if plan.anew else ""
    sums = f"{first}{counted(plan.packs, 'pack')}, {size(plan.packs_bytes)}, would go. --apply does it."
    out.print(styled(sums, "dim"), soft_wrap=True)


def print_gone(done: GoneFromBackups) -> None:
    """Show what was done."""
    out = console()
    if not done.targets:
        out.print(told(f"Nothing was erased that the backups in {done.url} could hold.", "dim"), soft_wrap=True)
        return
    if done.made is not None:
        out.print(joined(("backup ", "green"), f"{done.made}, a full one, was taken"), soft_wrap=True)
    for backup_id in done.removed:
        out.print(joined(("removed ", "red"), f"backup {backup_id}"), soft_wrap=True)
    print_left(done.left)
    sums = f"{counted(done.packs, 'pack')} removed, {size(done.packs_bytes)}; {counted(len(done.searched), 'backup')} searched"
    out.print(told(f"{sums} in {done.url}", "dim"), soft_wrap=True)


def print_left(left: Iterable[Holding]) -> None:
    """Show what holds something of it still, or may."""
    for one in left:
        said = told(f"{one.where}: {one.what.removesuffix('.')}. {one.remedy}")
        console().print(joined(("still held by ", "yellow"), said), soft_wrap=True)
