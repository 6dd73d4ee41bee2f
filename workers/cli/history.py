"""The command that tells what became of a library: its versions and revisions, and who changed what and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.output import AsJson, Data, console, engine_on, print_json, reported, size, told
from workers.cli.read import Library, Version
from workers.cli.styled import joined, new_table, styled

if TYPE_CHECKING:
    from rich.table import Table

    from models.chronicle import RevisionTold
    from storage.history import History, VersionHistory

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="So many of the last changes.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("history")(show_history)


def show_history(
    library: Library, version: Version = None, limit: Limit = 50, data: Data = None, as_json: AsJson = False
) -> None:
    """Show what became of a library or of one version: revisions, pins, labels, what was removed, by whom and why.

    Exit codes: 0 shown, 1 nothing is known of it.
    """
    from storage.history import read_history  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        found = read_history(engine.database, library, version, limit)
    if as_json:
        print_json(_fields(found))
    else:
        _print(found)


def _fields(found: History) -> dict[str, Any]:  # JSON, printed as it is
    held = found.latest
    latest = None if held is None else {"version": held.version, "by_hand": held.by_hand, "since": _time(held.at)}
    return {
        "library_id": found.library_id,
        "latest": latest,
        "versions": [_version_fields(one) for one in found.versions],
        "trail": [{**asdict(one), "at": _time(one.at)} for one in found.trail],
    }


def _version_fields(one: VersionHistory) -> dict[str, Any]:
    return {
        "version": one.version,
        "latest": one.latest,
        "pinned": None if one.pin is None else {"at": _time(one.pin.at), "by": one.pin.by, "why": one.pin.why},
        "labels": [label.label for label in one.labels],
        "revisions": [_revision_fields(revision) for revision in one.revisions],
    }


def _revision_fields(one: RevisionTold) -> dict[str, Any]:
    told_of = asdict(one)
    times = {name: _time(told_of[name]) for name in ("stored_at", "last_accessed", "removed_at", "purged_at")}
    return {name: value for name, value in (told_of | times).items() if name not in {"version", "file_path"}}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _print(found: History) -> None:
    out = console()
    if found.latest is None:
        out.print(joined(told(found.library_id, "bold"), "  is not stored"), soft_wrap=True)
    else:
        held = f" by hand since {found.latest.at:%Y-%m-%d %H:%M}" if found.latest.by_hand else ""
        said = joined(told(found.library_id, "bold"), "  latest is ", told(found.latest.version, "green"), held)
        out.print(said, soft_wrap=True)
    if found.versions:
        out.print(_revisions(found.versions))
    if found.trail:
        out.print(_trail(found))


def _table(*columns: str) -> Table:
    return new_table(*columns)


def _revisions(versions: Sequence[VersionHistory]) -> Table:
    table = _table("version", "rev", "", "size", "stored", "what is said of it")
    for version in versions:
        said = [*(["latest"] if version.latest else []), *([_pinned(version)] if version.pin else [])]
        said += [f"label {label.label}" for label in version.labels]
        for number, one in enumerate(version.revisions):
            words = [*(said if number == 0 else []), *([_removed(one)] if one.removed_at else [])]
            table.add_row(
                told(version.version if number == 0 else "", "green" if version.latest else ""),
                str(one.revision),
                styled("current", "green") if one.current else "",
                size(one.size_bytes),
                styled(f"{one.stored_at:%Y-%m-%d %H:%M}", "dim"),
                told("; ".join(words), "yellow" if one.removed_at else ""),
            )
    return table


def _pinned(version: VersionHistory) -> str:
    pin = version.pin
    assert pin is not None
    return f"pinned by {pin.by}" + (f": {pin.why}" if pin.why else "")


def _removed(one: RevisionTold) -> str:
    assert one.removed_at is not None
    gone = "gone for good" if one.purged_at else f"removed {one.removed_at:%Y-%m-%d %H:%M}"
    return f"{gone} by {one.removed_by}" + (f": {one.removed_why}" if one.removed_why else "")


def _trail(found: History) -> Table:
    numbers = {(one.version, _time(told_of.stored_at)): told_of.revision for one in found.versions for told_of in one.revisions}
    table = _table("when", "what", "version", "by", "why")
    for one in found.trail:
        details = dict(one.details)
        if "to_stored_at" in details:
            details["to revision"] = numbers.get((one.version, details["to_stored_at"]))
        words = ", ".join(f"{name} {details[name]}" for name in _TOLD if details.get(name))
        action = "label removed" if one.action == "labelled" and not one.version else one.action.replace("_", " ")
        what = action + (f" ({words})" if words else "")
        when = styled(f"{one.at:%Y-%m-%d %H:%M:%S}", "dim")
        table.add_row(when, told(what), told(one.version), told(one.by), told(one.why))
    return table


_TOLD = ("label", "revision", "to revision")
"""Details that say something to people; all of them are in the JSON."""
