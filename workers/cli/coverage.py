"""The command about the coverage promise: whether everything was read again in time, and when what is due will be."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from workers.cli.output import FAILED, AsJson, Data, console, counted, engine_on, print_json, reported, settings_of, size
from workers.cli.styled import joined, styled

if TYPE_CHECKING:
    from storage.coverage import CoverageReport

_STYLES = {"kept": "bold green", "in danger": "bold red", "broken": "bold red"}
_MOST_AT_ONCE = "`strongroom schedule run integrity-sweep` queues a sweep now; STRONGROOM_SWEEP_MB_S may be too low."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(coverage)


def coverage(data: Data = None, as_json: AsJson = False) -> None:
    """Show whether every segment has been read again within STRONGROOM_COVERAGE_DAYS, and when what is due will be.

    JSON: an object with `state` (`kept`, `in danger`: before the promise breaks, or `broken`), `days`, `segments`, `size_bytes`,
    `never_checked`, `suspects`, `oldest_unchecked_age_s`, `debt_segments` and `debt_bytes` (what should have been read by now),
    `rate_bytes_per_day` (of the last week) and `done_at` (when everything will have been read once more at that rate, or null).

    Exit codes: 0 the promise is kept, 1 it is broken.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        from storage.coverage import report_coverage  # noqa: PLC0415 - see output.engine_on

        report = report_coverage(engine.database, settings_of(data).coverage_days, datetime.now(UTC))
    if as_json:
        print_json(_fields(report))
    else:
        _print(report)
    if not report.is_kept:
        raise typer.Exit(FAILED)


def _fields(report: CoverageReport) -> dict[str, Any]:  # JSON, printed as it is
    return asdict(report) | {"done_at": report.done_at.isoformat() if report.done_at else None}


def _print(report: CoverageReport) -> None:
    out = console()
    days = report.oldest_unchecked_age_s / 86400
    out.print(joined(f"everything is read within {counted(report.days, 'day')}: ", (report.state, _STYLES[report.state])))
    stored = f"{counted(report.segments, 'segment')}, {size(report.size_bytes)}; the oldest was read {days:.1f} days ago"
    out.print(f"{stored}, {report.never_checked:,} never, {counted(report.suspects, 'suspect')}")
    if report.debt_segments:
        out.print(styled(f"due: {counted(report.debt_segments, 'segment')}, {size(report.debt_bytes)}", "bold red"))
    if report.done_at is not None:
        out.print(
            styled(
                f"at {size(report.rate_bytes_per_day)} a day all is read once more by {report.done_at:%Y-%m-%d %H:%M} UTC", "dim"
            )
        )
    if report.state != "kept":
        out.print(styled(_MOST_AT_ONCE, "dim"))
