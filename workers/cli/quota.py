"""``strongroom quota``: what each library takes of what it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.output import FAILED, AsJson, Data, console, engine_on, print_json, reported, size, told
from workers.cli.styled import joined, new_table, styled

if TYPE_CHECKING:
    from rich.text import Text

    from storage.usage import QuotaReport, Usage

_STYLES = {"unlimited": "dim", "fine": "green", "near": "yellow", "full": "bold red"}
_CELLS = 20
_SHOWN = 40
_NONE = 'No quota is set: STRONGROOM_QUOTAS=\'{"*": "10GB", "total": "1TB"}\' sets some.'


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(quota)


def quota(
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="Only this library, and the total.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what each library takes of its quota (STRONGROOM_QUOTAS), those nearest to it first; docs/how-to/quotas.md.

    JSON: an object with `total` and `libraries` (an array), each with `used_bytes`, `limit_bytes` (null: no limit), `share` (of
    the limit that is used, or null) and `state` (`unlimited`, `fine`, `near`: from 85 % on, or `full`); a library has its
    `library_id` too. Bytes are those stored, of every revision.

    Exit codes: 0 there is room, 1 a library is full, or all together.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        from storage.usage import report_quotas  # noqa: PLC0415 - see output.engine_on

        report = report_quotas(engine.database, engine.options.quotas, library and engine.find(library).library_id)
        limited = bool(engine.options.quotas)
    if as_json:
        print_json({"total": _fields(report.total), "libraries": [_named(one) for one in report.libraries]})
    else:
        _print(report, limited=limited)
    if any(one.state == "full" for one in report.tight):
        raise typer.Exit(FAILED)


def _fields(one: Usage) -> dict[str, Any]:  # JSON
    share = None if one.share is None else round(one.share, 4)
    return {"used_bytes": one.used_bytes, "limit_bytes": one.limit_bytes, "share": share, "state": one.state}


def _named(one: Usage) -> dict[str, Any]:
    return {"library_id": one.library_id, **_fields(one)}


def _print(report: QuotaReport, *, limited: bool) -> None:
    out = console()
    table = new_table("library", "used", "limit", "")
    for one in report.libraries[:_SHOWN]:
        table.add_row(told(one.library_id), *_cells(one))
    table.add_row(styled("all together", "bold"), *_cells(report.total))
    out.print(table)
    if len(report.libraries) > _SHOWN:
        out.print(styled(f"and {len(report.libraries) - _SHOWN} more: --json names them all", "dim"))
    if not limited:
        out.print(styled(_NONE, "dim"))
    if report.tight:
        out.print(
            styled("`strongroom cleanup` shows what the retention policies would remove; or raise STRONGROOM_QUOTAS.", "dim")
        )


def _cells(one: Usage) -> tuple[Text, Text, Text]:
    limit = styled("none", "dim") if one.limit_bytes is None else styled(size(one.limit_bytes))
    return styled(size(one.used_bytes)), limit, _bar(one)


def _bar(one: Usage) -> Text:
    if one.share is None:
        return styled()
    full = min(_CELLS, max(round(one.share * _CELLS), one.used_bytes > 0))
    return joined(("#" * full, _STYLES[one.state]), ("." * (_CELLS - full), "dim"), f" {one.share:.0%}")
