"""What the person sees: numbered steps, a bar while something takes its time, one table at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


class Screen:
    """Writes to standard output: lines alone when that is no terminal."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that knows no tick still shows the demo
        self._console = Console(highlight=False)
        self._step = 0

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._print(Text())
        self._print(Text.assemble((f"{self._step} ", "bold cyan"), (text, "bold")))

    def done(self, text: str) -> None:
        """Show what the step has shown to hold."""
        self._print(Text.assemble(("  ✓ ", "bold green"), text))

    def note(self, name: str, text: str | Text) -> None:
        """Show a fact by name."""
        self._print(Text.assemble((f"    {name:<11}", "dim"), text))

    def typed(self, command: str) -> None:
        """Show a command that is being run."""
        self._print(Text.assemble(("    $ ", "dim"), command))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is awaited, while entered: by a thread, so fork nothing meanwhile."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(text, "dim")):
            yield

    @contextmanager
    def bar(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar while entered; yields a function that takes how much is done."""
        columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(text, total=total)
            yield lambda done: progress.update(task, completed=done)

    def table(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Show the figures: what, how much, and a remark."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(style="bold", justify="right", no_wrap=True)
        table.add_column()
        for row in rows:
            table.add_row(*map(Text, row))
        self._print(Text())
        self._print(Panel(table, title="strongroom", title_align="left", border_style="cyan", expand=False), wrap=True)

    def say(self, text: str) -> None:
        """Show a line."""
        self._print(Text())
        self._print(Text(text))

    def failed(self, text: str, hint: str, log: Sequence[str] = ()) -> None:
        """Show what went wrong and what to do."""
        self._print(Text())
        for line in log:
            self._print(Text(f"  {line}", "dim"))
        self._print(Text.assemble(("✗ ", "bold red"), text))
        self._print(Text(f"  {hint}", "dim"))

    def _print(self, what: RenderableType, *, wrap: bool = False) -> None:
        """Lines are not folded: a path or address that is cut in two cannot be copied."""
        with suppress(OSError):  # a terminal that has gone away is no reason to leave things undone
            self._console.print(what, soft_wrap=not wrap)


def shown(path: Path) -> str:
    """Return the path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
