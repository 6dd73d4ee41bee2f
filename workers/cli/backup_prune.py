"""The command ``backup prune``: backups that are not kept any more go."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.errors import ConfigurationError
from workers.backups import backup_place
from workers.cli.output import AsJson, Data, console, counted, engine_on, print_json, reported, settings_of, size, stderr
from workers.cli.styled import new_table, styled

if TYPE_CHECKING:
    from config.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to ``backup``."""
    app.command()(prune)


def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without, the plan is shown and nothing is changed.")] = False,
    keep: Annotated[
        str | None, typer.Option("--keep", help='What is kept, as JSON: {"daily": 7}; else STRONGROOM_BACKUP_RETENTION.')
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show which backups would go, or remove them. Done here, beside a running service and running backups.

    The last good backup stays, and the last that was verified as good. What only removed backups needed is removed by a later
    prune, a day afterwards at least. Without any policy every backup stays.

    JSON: an object with `applied`, `keep` and `remove` (arrays of objects with `id` and `reason`), `doomed` and `doomed_bytes`
    (packs that nothing needs any more from now on), `removed` and `removed_bytes` (packs that had been doomed for a day), and
    `damaged` (manifests that cannot be read; while there are any, no pack is doomed or removed).

    Exit codes: 0 shown or done, 1 it cannot be done.
    """
    from tasks.backup_prune import prune_backups  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        settings = settings_of(data)
        done = prune_backups(backup_place(settings), engine.database, _policy(keep, settings), datetime.now(UTC), apply=apply)
    if as_json:
        print_json(done)
    else:
        _show(done)


def _policy(keep: str | None, settings: Settings) -> dict[str, Any] | None:
    if keep is None:
        return settings.backup_retention or None
    try:
        told = json.loads(keep)
    except ValueError as error:
        raise ConfigurationError(f"--keep is no JSON: {error}.", 'Such as --keep \'{"daily": 7, "monthly": 12}\'.') from None
    if not isinstance(told, dict):
        raise ConfigurationError("--keep is no JSON object.", 'Such as --keep \'{"daily": 7, "monthly": 12}\'.')
    return told


def _show(done: dict[str, Any]) -> None:
    table = new_table("backup", "", "why")
    goes = "removed" if done["applied"] else "would go"
    rows = [(one, "stays", "green") for one in done["keep"]] + [(one, goes, "yellow") for one in done["remove"]]
    for one, word, style in sorted(rows, key=lambda row: str(row[0]["id"]), reverse=True):
        table.add_row(one["id"], styled(word, style), one["reason"])
    console().print(table)
    for name in done["damaged"]:
        stderr().print(f"{name} cannot be read: no pack is removed while it is there.", soft_wrap=True)
    said = f"{counted(done['doomed'], 'pack')} ({size(done['doomed_bytes'])}) not needed any more, gone after a day; "
    said += f"{counted(done['removed'], 'pack')} ({size(done['removed_bytes'])}) doomed for a day"
    console().print(f"{said}{' removed' if done['applied'] else ' would go. --apply does it'}.", soft_wrap=True)
