"""The commands about what is kept: cleanup, cleanup --apply, cleanup undo, cleanup simulate, cleanup sweep."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from strongroom.errors import ConfigurationError
from workers.cli.cleanup_view import print_days, print_plan, print_swept
from workers.cli.output import (
    FAILED,
    AsJson,
    Data,
    console,
    counted,
    engine_on,
    hand_down,
    print_json,
    progress_bar,
    reported,
    settings_of,
    size,
)
from workers.cli.who import actor

if TYPE_CHECKING:
    from pathlib import Path

    from storage.cleanup import Plan
    from storage.engine import Engine
    from storage.policies import Policies

Library = Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="Only this library.")]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="""Policies as JSON in place of STRONGROOM_RETENTION: '{"*": {"keep_last": 5}}'.""")
]


class PlanUnlessNamed(TyperGroup):
    """A group whose command ``plan`` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # the parser's own type is not public
        """Put ``plan`` in front where no command is named."""
        named = any(word in self.commands for word in args)
        asks_for_help = args[:1] in (["--help"], ["-h"])
        return super().parse_args(ctx, args if named or asks_for_help else ["plan", *args])


cleanup_app = typer.Typer(help="Remove versions that the retention policies do not keep.", cls=PlanUnlessNamed)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(cleanup_app, name="cleanup")


@cleanup_app.callback()
def cleanup(context: typer.Context, data: Data = None) -> None:
    """Remove versions that the retention policies do not keep; docs/how-to/cleanup.md. Without a command: `plan`."""
    hand_down(context, data)


@cleanup_app.command("plan")
def plan_cleanup(
    library: Library = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry the plan out. Asks first, on a terminal.")] = False,
    plan_id: Annotated[
        str | None, typer.Option("--plan", metavar="ID", help="With --apply: only if it is this plan still.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    policy: PolicyOption = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be removed and why, and how many bytes that frees; carry it out with --apply. `cleanup` alone means this.

    What is removed can come back by `cleanup undo` until the grace period (STRONGROOM_GRACE_HOURS) is over; its bytes are freed
    by the sweep after that. The latest version, pinned and labelled ones are never removed.

    JSON: an object with `plan_id`, `keep` and `remove` (arrays of objects with `library_id`, `version`, `reason`),
    `remove_revisions` (older revisions of what is kept; `revision` besides), `freed_bytes` and `applied`; when it was applied
    `removed_versions`, `removed_revisions` and `undo_until` besides.

    Exit codes: 0 shown or carried out, 1 no policy is set, the plan is not up to date, or the answer was no.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        plan = _make_plan(engine, _policies(policy, data), library, shown=not as_json)
        if plan_id is not None:
            from storage.removal import refuse_other  # noqa: PLC0415 - see output.engine_on

            refuse_other(plan, plan_id)
        if not apply:
            made_by = _words(library, policy, data)
            print_json(_fields(plan) | {"applied": False}) if as_json else print_plan(plan, applied=False, made_by=made_by)
            return
        if not (yes or as_json) and plan.going and is_asked():
            print_plan(plan, applied=False)
            if not typer.confirm(f"Remove {counted(plan.going, 'revision')}, {size(plan.freed_bytes)}?"):
                raise typer.Exit(FAILED)
        _apply(engine, plan, settings_of(data).grace_hours, as_json=as_json)


@cleanup_app.command("undo")
def undo_cleanup(
    plan_id: Annotated[str, typer.Argument(metavar="PLAN_ID", help="What `cleanup --apply` printed.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring back what a cleanup removed, as long as its grace period lasts, and where the quotas have room for all of it.

    JSON: an object with `plan_id`, `restored_versions` and `restored_revisions`.

    Exit codes: 0 done, 1 nothing can be brought back, or a quota has no room for it.
    """
    from storage.removal import Removal  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        done = Removal(engine.folder, engine.database, engine.allowance).undo(plan_id, actor("").by, datetime.now(UTC))
        engine.tree.catch_up()
    if as_json:
        print_json({"plan_id": plan_id, "restored_versions": done.versions, "restored_revisions": done.revisions})
    else:
        console().print(f"{counted(done.versions, 'version')} restored, {counted(done.revisions, 'revision')} in all")


@cleanup_app.command("simulate")
def simulate(
    library: Library = None,
    days: Annotated[int, typer.Option(help="How many days.", min=1, max=3650)] = 90,
    policy: PolicyOption = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be kept and removed on each of the next days, if uploads go on as in the last 30. Changes nothing.

    JSON: an array of objects with `day`, `stored`, `removed`, `kept` (versions), `kept_bytes` and `going` (the first of those
    removed that day).
    """
    from storage.cleanup import simulate_cleanup  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        policies = _policies(policy, data)
        with progress_bar("simulating", shown=not as_json) as tick:
            calendar = simulate_cleanup(engine.database, policies, datetime.now(UTC), days, library, tick)
    if as_json:
        names = ("day", "stored", "removed", "kept", "kept_bytes", "going")
        print_json([{name: getattr(day, name) for name in names} for day in calendar])
    else:
        print_days(calendar)


@cleanup_app.command("sweep")
def sweep(data: Data = None, as_json: AsJson = False) -> None:
    """Free the bytes of what was removed longer ago than the grace period, now and not at the next time of its schedule.

    JSON: an object with `purged` (revisions), `condemned`, `abandoned`, `compacted` and `deleted` (segments), `trashed_bytes`,
    `deleted_bytes`, `left` (segments that stay since their index cannot be read), `untold` (segments that stay
    since the catalogue knows nothing of what only they hold: `strongroom rebuild`) and `under_way` (another sweep is at it).
    """
    from dataclasses import asdict  # noqa: PLC0415 - the same

    from storage.sweep import Sweep  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        engine.tree.hide()
        grace = timedelta(hours=settings_of(data).grace_hours)
        with progress_bar("sweeping", shown=not as_json) as tick:
            swept = Sweep(engine.folder, engine.database, grace).run(datetime.now(UTC), tick)
    print_json(asdict(swept)) if as_json else print_swept(swept)


def is_asked() -> bool:
    """Whether there is a person who can answer."""
    return sys.stdin.isatty()


def _policies(told: str | None, data: Data) -> Policies:
    from storage.policies import parse_policies  # noqa: PLC0415 - see output.engine_on

    if told is None:
        return parse_policies(settings_of(data).retention)
    try:
        policies = json.loads(told)
    except ValueError:
        policies = None
    if not isinstance(policies, dict):
        raise ConfigurationError("--policy is no JSON object.", """Write '{"*": {"keep_last": 5}}', in single quotes.""")
    return parse_policies(policies, "--policy")


def _make_plan(engine: Engine, policies: Policies, library: str | None, *, shown: bool) -> Plan:
    from storage.cleanup import make_plan  # noqa: PLC0415 - see output.engine_on

    with progress_bar("planning", shown=shown) as tick:
        return make_plan(engine.database, policies, datetime.now(UTC), library and engine.real_name(library), tick)


def _apply(engine: Engine, plan: Plan, grace_hours: int, *, as_json: bool) -> None:
    from storage.removal import Removal  # noqa: PLC0415 - see output.engine_on

    now = datetime.now(UTC)
    done = Removal(engine.folder, engine.database).apply(plan, actor("").by, now)
    engine.tree.hide()
    until = now + timedelta(hours=grace_hours)
    if as_json:
        told = {"removed_versions": done.versions, "removed_revisions": done.revisions, "undo_until": until.isoformat()}
        print_json(_fields(plan) | {"applied": True} | told)
        return
    print_plan(plan, applied=True)
    if done.revisions:
        console().print(f"strongroom cleanup undo {plan.plan_id} brings them back until {until:%d %b %H:%M} UTC", soft_wrap=True)


def _words(library: str | None, policy: str | None, data: Path | None) -> list[str]:
    return [*([library] if library else []), *(["--policy", policy] if policy else []), *(["--data", str(data)] if data else [])]


def _fields(plan: Plan) -> dict[str, Any]:  # JSON, printed as it is
    keep: list[dict[str, Any]] = []
    remove: list[dict[str, Any]] = []
    revisions: list[dict[str, Any]] = []
    for one in plan.verdicts():
        told = {"library_id": one.library_id, "version": one.version, "reason": one.reason}
        (keep if one.keep else remove).append(told)
        if one.keep:
            revisions += [told | {"revision": old.number, "reason": "an older revision"} for old in one.revisions]
    return {
        "plan_id": plan.plan_id,
        "keep": keep,
        "remove": remove,
        "remove_revisions": revisions,
        "freed_bytes": plan.freed_bytes,
    }
