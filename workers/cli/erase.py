"""The command that erases on purpose: a version, a library, or all that matches; for good, and proven."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import InvalidRequest, StorageError
from workers.cli.backup_erase import gone_fields, print_gone, print_left
from workers.cli.cleanup import is_asked
from workers.cli.output import (
    FAILED,
    AsJson,
    Data,
    console,
    counted,
    engine_on,
    error_fields,
    print_error,
    print_json,
    progress_bar,
    reported,
    settings_of,
    size,
    stderr,
    told,
)
from workers.cli.styled import in_bytes, joined, styled
from workers.cli.who import Why, actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.engine import Engine
    from storage.erase.from_backups import GoneFromBackups
    from storage.erase.plan import Plan
    from storage.erase.run import Done, Erasure

    FromThem = Callable[[Done], GoneFromBackups]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(erase)


def erase(
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="The library's id.")] = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Only this version of it.")] = None,
    matching: Annotated[
        str | None, typer.Option("--matching", metavar="PATTERN", help="Every library whose id matches, such as '/acme/*'.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Erase it. Without this, only show what would go.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish erasures that were cut short.")] = False,
    backups: Annotated[
        bool, typer.Option("--backups", help="Then remove each backup that holds something of it, as `backup erase` does.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Erase a version, a library or several for good: no grace period, no undo. Shows the plan; --apply carries it out.

    It is gone from segments, indexes, journal, catalogue, trash, quarantine, the tree and payloads, and that is proven by
    searching the data folder. What other versions need, too, stays and is named, and so are backups that hold it; with --backups
    a full backup without it is taken then, and they go.

    JSON: of a plan an object with `plan_id`, `erase` (an array of `library_id`, `version`, `revision`), `contents`,
    `stored_bytes`, `shared`, `referring`, `waiting`, `backups`, `applied`. When applied: an array of objects with `erased`
    (digests of contents), `targets`, `still_held_by`, `backups`, `checked_files`, `checked_segments`, `not_searched` and `left`;
    with --backups also `from_backups`: what `backup erase --apply` prints, or an object with `error`.

    Exit codes: 0 shown, or gone; 1 nothing was erased, the answer was no, or `left` names what still holds something of it.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        work = _erasure(engine, data)
        if resume:
            done = work.resume()
            if backups and not done:
                _refuse_what_is_due(engine, data)
            _tell(done, _from_backups(engine, data, why) if backups else None, as_json=as_json)
            return
        if (library is None) == (matching is None) or (version and matching):
            raise InvalidRequest("Name a LIBRARY, and a VERSION of it, or say --matching PATTERN.")
        from storage.erase.plan import find_targets  # noqa: PLC0415 - see output.engine_on

        plan = work.plan(find_targets(engine.database, library, version, matching))
        if not apply:
            print_json(_plan_fields(plan) | {"applied": False}) if as_json else _print_plan(plan)
            return
        if not yes:
            if as_json or not is_asked():
                raise InvalidRequest("Nothing was erased: nobody can be asked.", "Say --yes when you are sure.")
            _print_plan(plan)
            also = f" and {counted(len(plan.backups), 'backup')}" if backups and plan.backups else ""
            if not typer.confirm(f"Erase {counted(len(plan.revisions), 'revision')}{also} for good? Nothing brings them back."):
                raise typer.Exit(FAILED)
        _tell([work.apply(plan, actor(why))], _from_backups(engine, data, why) if backups else None, as_json=as_json)


def _from_backups(engine: Engine, data: Data, why: str) -> FromThem:
    """Return what erases from the backups what is erased here by now."""
    from storage.erase.from_backups import FromBackups  # noqa: PLC0415 - see output.engine_on
    from workers.backups import backup_place  # noqa: PLC0415 - the same

    def run(done: Done) -> GoneFromBackups:
        with progress_bar("backing up", in_bytes, shown=stderr().is_terminal) as tick:
            work = FromBackups(engine, backup_place(settings_of(data)), done.targets, tick)
            return work.apply(work.plan(), actor(why or f"erasure {done.erasure_id}"))

    return run


def _refuse_what_is_due(engine: Engine, data: Data) -> None:
    """Refuse to say that nothing was cut short where only the backups are left to do, or were never asked for."""
    from storage.erase.from_backups import FromBackups  # noqa: PLC0415 - see output.engine_on
    from workers.backups import backup_place  # noqa: PLC0415 - the same

    plan = FromBackups(engine, backup_place(settings_of(data))).plan()
    if plan.targets:
        said = f"Nothing was cut short here, but the backups in {plan.url} may hold what was erased before."
        raise InvalidRequest(said, "`strongroom backup erase` shows what goes; --apply removes it.")


def _erasure(engine: Engine, data: Data) -> Erasure:
    from storage.erase.backups import BackupHolders  # noqa: PLC0415 - see output.engine_on
    from storage.erase.run import Erasure  # noqa: PLC0415 - the same
    from storage.treemode import shown_mode  # noqa: PLC0415 - the same
    from workers.backups import backup_place  # noqa: PLC0415 - the same

    settings = settings_of(data)
    shown = shown_mode(engine.folder, settings.tree)
    others = [BackupHolders(backup_place(settings), engine.folder, engine.database)]
    return Erasure(engine.archive, engine.tree, shown, engine.options.limits, others)


def _plan_fields(plan: Plan) -> dict[str, Any]:  # JSON, printed as it is
    erased = [{"library_id": one.library_id, "version": one.version, "revision": one.revision} for one in plan.revisions]
    names = ("plan_id", "contents", "stored_bytes", "referring", "waiting")
    held = {"shared": [asdict(one) for one in plan.shared], "backups": [asdict(one) for one in plan.backups]}
    return {"erase": erased, **{name: getattr(plan, name) for name in names}, **held}


def _print_plan(plan: Plan) -> None:
    out = console()
    for one in plan.revisions:
        out.print(joined(("erase  ", "red"), told(f"{one.library_id} {one.version}, revision {one.revision}")), soft_wrap=True)
    for held in plan.shared:
        words = f"{held.content_sha256[:16]}… is {held.library_id} {held.version}, revision {held.revision}, too: its bytes stay"
        out.print(joined(("shared ", "yellow"), told(words)), soft_wrap=True)
    for backup in plan.backups:
        out.print(joined(("held by ", "yellow"), told(f"{backup.where}: {backup.what}")), soft_wrap=True)
    for job in plan.waiting:
        out.print(joined(("waits  ", "yellow"), told(f"{job} would bring it back: let it end, or cancel it")), soft_wrap=True)
    sums = f"{counted(len(plan.contents), 'document')}, {size(plan.stored_bytes)}; {plan.referring} are encoded anew first"
    out.print(styled(sums, "dim"))


def _tell(done: list[Done], from_them: FromThem | None, *, as_json: bool) -> None:
    """Say what was erased, then erase it from the backups: whatever these answer, here it is gone."""
    fine = not any(one.proof.left for one in done)
    answer: list[dict[str, Any]] = []
    for one in done:
        if not as_json:
            _print(one, backups=from_them is None)
        also = {} if from_them is None else _gone(from_them, one, as_json=as_json)
        fine = fine and not also.get("left") and "error" not in also
        answer.append(_fields(one) | ({"from_backups": also} if from_them is not None else {}))
    if as_json:
        print_json(answer)
    elif not done:
        console().print("Nothing was cut short.")
    if not fine:
        raise typer.Exit(FAILED)


def _gone(from_them: FromThem, done: Done, *, as_json: bool) -> dict[str, Any]:  # JSON, printed as it is
    try:
        gone = from_them(done)
    except StorageError as error:
        if not as_json:
            print_error(error, as_json=False)
        return error_fields(error)
    if not as_json:
        print_gone(gone)
    return gone_fields(gone)


def _fields(done: Done) -> dict[str, Any]:  # JSON, printed as it is
    return {
        "erased": list(done.contents),
        "targets": [{"library_id": library_id, "version": version} for library_id, version in done.targets],
        "still_held_by": [asdict(one) for one in done.still_held_by],
        "backups": [asdict(one) for one in done.backups],
        **asdict(done.proof),
    }


def _print(done: Done, *, backups: bool) -> None:
    out, proof = console(), done.proof
    for library_id, version in done.targets:
        out.print(joined(("erased ", "red"), told(f"{library_id} {version or ''}".strip())), soft_wrap=True)
    for held in done.still_held_by:
        words = f"{held.library_id} {held.version}, revision {held.revision}, has {held.content_sha256[:16]}…"
        out.print(joined(("still held by ", "yellow"), told(words)), soft_wrap=True)
    print_left(done.backups if backups else ())
    for path in proof.left:
        out.print(joined(("still in ", "bold red"), told(path)), soft_wrap=True)
    searched = f"{counted(proof.checked_files, 'file')} and the indexes of {counted(proof.checked_segments, 'segment')} searched"
    found = f"{counted(len(done.contents), 'document')} gone: " if not proof.left else ""
    out.print(styled(f"{found}{searched}; not {', '.join(proof.not_searched)}", "dim"), soft_wrap=True)
