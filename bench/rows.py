"""One measurement, and the table of all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, its peer or limit measured in the same run, and the goal. ``met`` None: printed for comparison only."""

    what: str
    ours: str
    peer: str
    goal: str
    met: bool | None


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table("what", "measured", "peer or limit, same run", "goal", "", header_style="bold", show_lines=True)
    marks = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text("")}
    for row in rows:
        table.add_row(row.what, row.ours, row.peer, row.goal, marks[row.met])
    Console(width=150).print(table)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds since the block was entered, or that it took."""
    start = time.perf_counter()
    end: list[float] = []
    yield lambda: (end[0] if end else time.perf_counter()) - start
    end.append(time.perf_counter())


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    with timed() as took:
        call()
    return took()


def in_turn(runs: int, *calls: Callable[[], float]) -> list[float]:
    """Call each in turn, ``runs`` times (A B A B ...), so that the machine's moods meet all alike; return the medians."""
    results = [[call() for call in calls] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*results, strict=True)]


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
