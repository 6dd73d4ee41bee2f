"""``strongroom doctor``: one page on everything that strongroom needs and everything that is wrong, with what mends it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.errors import StorageError
from workers.cli.output import FAILED, AsJson, Data, console, print_json, progress_bar, reported, settings_of, told
from workers.cli.styled import joined, styled

if TYPE_CHECKING:
    from config.settings import Settings
    from models.database import Database
    from models.findings import OpenFinding
    from workers.checkup import Check

_STYLES = {"fine": ("ok", "green"), "note": ("--", "yellow"), "trouble": ("!!", "bold red")}
_SEVERE = {"loss": "bold red", "harm": "yellow", "note": "dim"}
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(doctor)


def doctor(
    data: Data = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not compare files and catalogue: show what is known.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at every dependency and every finding, and say which command mends each. No service needs to run.

    It compares the catalogue, the files and the tree by their names and indexes; `strongroom verify` reads every byte.

    Exit codes: 0 all is well, 1 something needs a person.
    """
    with reported(as_json=as_json):
        settings = settings_of(data)
        checks, findings = _look(settings, quick=quick, shown=not as_json)
    needs = sum(one.state == "trouble" for one in checks) + sum(_needs_person(one) for one in findings)
    if as_json:
        told_of = [{**asdict(one), "mend": _mend(one)} for one in findings]
        print_json({"healthy": needs == 0, "needs_person": needs, "checks": [asdict(one) for one in checks], "findings": told_of})
    else:
        _print(checks, findings, needs)
    if needs:
        raise typer.Exit(FAILED)


def _look(settings: Settings, *, quick: bool, shown: bool) -> tuple[list[Check], list[OpenFinding]]:
    from models.database import Database  # noqa: PLC0415 - SQLAlchemy costs 0.3 s, which other commands need not pay
    from workers.checkup import Check  # noqa: PLC0415
    from workers.doctor import examine  # noqa: PLC0415

    database = Database(settings.catalogue_url)
    try:
        checks = list(examine(settings, database, datetime.now(UTC)))
        if any(one.name in {"data folder", "catalogue"} and one.state == "trouble" for one in checks):
            return checks, []
        if not quick:
            try:
                _compare(settings, database, shown=shown)
            except StorageError as error:
                checks.append(Check("comparison", "trouble", error.message, error.hint))
        return checks, _findings(database)
    finally:
        database.close()


def _compare(settings: Settings, database: Database, *, shown: bool) -> None:
    from storage.findings import keep_findings  # noqa: PLC0415
    from storage.layout import DataFolder  # noqa: PLC0415
    from storage.reconcile import SEEN_BY, Scene, reconcile  # noqa: PLC0415
    from storage.second_look import look_again  # noqa: PLC0415
    from storage.treemode import shown_mode  # noqa: PLC0415

    folder, now = DataFolder(settings.data_dir), datetime.now(UTC)
    mode = shown_mode(folder, settings.tree)
    with progress_bar("comparing files and catalogue", shown=shown) as tick:
        observed = reconcile(Scene(folder, database, mode, now), tick)
    keep_findings(folder, database, SEEN_BY, observed, now)
    look_again(folder, database, mode, now)


def _findings(database: Database) -> list[OpenFinding]:
    from models.findings import open_findings  # noqa: PLC0415

    with suppress(StorageError), database.read() as connection:
        return open_findings(connection)
    return []


def _mend(one: OpenFinding) -> str:
    from storage.kinds import kind_of  # noqa: PLC0415

    return kind_of(one.code).mend


def _needs_person(one: OpenFinding) -> bool:
    from storage.kinds import kind_of  # noqa: PLC0415

    return kind_of(one.code).needs_person


def _print(checks: list[Check], findings: list[OpenFinding], needs: int) -> None:
    out = console()
    for one in checks:
        mark, style = _STYLES[one.state]
        out.print(joined((mark, style), f" {one.name:<13}", told(one.told)), soft_wrap=True)
        _print_mend(one.mend)
    for finding in findings[:_SHOWN]:
        style = _SEVERE.get(finding.severity, "yellow")
        where = f" {finding.subject}" if finding.subject else ""
        line = joined((finding.code, style), told(f"{where}  {finding.path}  {finding.message}"))
        out.print(line, soft_wrap=True)
        _print_mend(_mend(finding))
    if len(findings) > _SHOWN:
        out.print(styled(f"and {len(findings) - _SHOWN} more: strongroom doctor --json lists all", "dim"))
    well = styled("All is well.", "bold green")
    out.print(well if not needs else styled(f"{needs} {'thing needs' if needs == 1 else 'things need'} a person.", "bold red"))


def _print_mend(mend: str) -> None:
    if mend:
        console().print(joined("   -> ", (mend, "bold")), soft_wrap=True)
