"""How the cleanup commands show plans, days to come and sweeps to people."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.cli.output import console, counted, size, told
from workers.cli.styled import joined, new_table, styled

if TYPE_CHECKING:
    from storage.cleanup import Plan
    from storage.simulation import Day
    from storage.sweep import Swept

_SHOWN = 200
"""Lines of a plan that people are shown; --json has all."""


def print_plan(plan: Plan, *, applied: bool, made_by: Sequence[str] = ()) -> None:
    """Show what goes and why, then how much stays. What stays is listed where it fits beside.

    ``made_by`` are the words that it was asked for with: without them it would be another plan that is carried out.
    """
    verdicts = list(plan.verdicts())
    going = [one for one in verdicts if not one.keep]
    older = [one for one in verdicts if one.keep and one.revisions]
    staying = len(verdicts) - len(going)
    fits = len(verdicts) <= _SHOWN
    shown = verdicts if fits else [*going, *older][:_SHOWN]
    table = new_table("", "library", "version", "why")
    for one in shown:
        word = styled("keep", "green") if one.keep else styled("removed" if applied else "remove", "bold red")
        reason = one.reason
        if one.keep and one.revisions:
            reason += f"; without {counted(len(one.revisions), 'older revision')}"
        table.add_row(word, told(one.library_id), told(one.version), told(reason, "dim"))
    out = console()
    if shown:
        out.print(table)
    if not fits:
        out.print(styled(f"{counted(len(verdicts), 'version')} in all; --json lists every one", "dim"))
    verb = "removed" if applied else "to be removed"
    sums = f"{counted(len(going), 'version')} {verb} ({counted(plan.going, 'revision')}), {staying:,} kept"
    out.print(joined(sums, "; frees ", (size(plan.freed_bytes), "bold"), " when the grace period is over"))
    if plan.going and not applied:
        command = shlex.join(["strongroom", "cleanup", *made_by, "--apply", "--plan", plan.plan_id])
        out.print(joined(("carry it out: ", "dim"), told(command, "dim")), soft_wrap=True)


def print_days(calendar: Sequence[Day]) -> None:
    """Show the days on which anything changes, and the last."""
    table = new_table("day", "stored", "removed", "kept", "bytes", "goes")
    for column in table.columns[1:5]:
        column.justify = "right"
    for day in calendar:
        if day.stored or day.removed or day is calendar[-1]:
            going = ", ".join(day.going[:3]) + (", ..." if day.removed > 3 else "")
            gone = styled(f"{day.removed:,}", "red" if day.removed else "dim")
            table.add_row(f"{day.day:%d %b}", f"{day.stored:,}", gone, f"{day.kept:,}", size(day.kept_bytes), told(going, "dim"))
    out = console()
    out.print(table)
    stored, removed = sum(day.stored for day in calendar), sum(day.removed for day in calendar)
    out.print(
        f"in {counted(len(calendar), 'day')}: {stored:,} stored, {removed:,} removed, if uploads go on as in the last 30 days"
    )


def print_swept(swept: Swept) -> None:
    """Show what a sweep did."""
    out = console()
    if swept.under_way:
        out.print("Another sweep is at it.")
        return
    thrown_away = counted(swept.condemned + swept.abandoned, "segment")
    given_up = counted(swept.purged, "removed revision")
    out.print(
        f"{given_up} given up; {thrown_away} to the trash, {swept.compacted:,} rewritten, {size(swept.trashed_bytes)} in all"
    )
    out.print(f"{counted(swept.deleted, 'segment')} deleted from the trash: {size(swept.deleted_bytes)} freed")
    if swept.left:
        out.print(f"{counted(swept.left, 'segment')} left, since its index cannot be read: strongroom verify tells more")
    if swept.untold:
        which = f"{counted(swept.untold, 'segment')} left, since nothing else holds what it was accepted with"
        out.print(
            f"{which}: the catalogue is an older copy, or its job was given up; strongroom rebuild brings it back",
            style="bold red",
        )
