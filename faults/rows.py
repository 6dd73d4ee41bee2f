"""One figure with its goal, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of one scenario. ``met`` is the verdict."""

    what: str
    goal: str
    measured: str
    met: bool


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table("what", "goal", "measured", "verdict", header_style="bold", show_lines=True)
    for row in rows:
        table.add_row(row.what, row.goal, row.measured, Text("met", "green") if row.met else Text("MISSED", "bold red"))
    Console(width=150).print(table)
