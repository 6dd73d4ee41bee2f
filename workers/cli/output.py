"""How commands speak: JSON for programs on standard output, tables for people, errors with a hint on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.settings import Settings, read_settings
from strongroom.errors import BrokerUnavailable, StorageError, Transient, WaitTimeout
from workers.cli.styled import in_numbers, joined, styled
from workers.garbage import held

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn
    from rich.table import Table
    from rich.text import Text

    from storage.engine import Engine

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

FAILED, USAGE, NOT_RUNNING = 1, 2, 3
"""Exit codes: something failed or is damaged; the command line is wrong; no service runs."""

_ENDLESS = 1_000_000
"""Columns: of what is no terminal."""

TIMED_OUT = 5
"""Exit code: the time was over before what was waited for had happened."""

_NOT_BY_ITSELF = "Give the same command again. If that says the same, the disk or the database wants a look."
_CODES = {BrokerUnavailable.code: NOT_RUNNING, WaitTimeout.code: TIMED_OUT}

Data = Annotated[Path | None, typer.Option("--data", "-d", help="The data folder; else STRONGROOM_DATA_DIR, else ./data.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless something fails.")]


def hand_down(context: typer.Context, data: Path | None) -> None:
    """Make a data folder that was named before a command the default of the command's own --data."""
    if data is not None:
        commands = getattr(context.command, "commands", {})
        context.default_map = {name: {"data": str(data)} for name in commands}


def print_json(value: object) -> None:
    """Print one JSON value on standard output, in ASCII: whatever the terminal's encoding is, it gets through."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")
    sys.stdout.flush()


def print_json_array(values: Iterable[object]) -> None:
    """Print an array as ``print_json`` would, one value at a time: it may be longer than memory."""
    before = "["
    for value in values:
        sys.stdout.write(before + json.dumps(value, default=str))
        before = ", "
    sys.stdout.write("]\n" if before == ", " else "[]\n")
    sys.stdout.flush()


def console() -> Console:
    """Return the console for people, on standard output. A library may be called ``[/red]``: markup is for Text alone.

    What is piped is wanted whole: nothing is folded or cut there.
    """
    from rich.console import Console  # noqa: PLC0415 - for people alone: 20 ms that a program need not pay

    width = None if sys.stdout.isatty() else _ENDLESS
    return Console(highlight=False, markup=False, emoji=False, width=width)


def fold(table: Table, *columns: int) -> Table:
    """Have columns of names go over several lines on a narrow terminal: a name that is cut is no name. Return the table."""
    for number in columns:
        table.columns[number].overflow = "fold"
    return table


def stderr() -> Console:
    """Return the console for errors and progress."""
    from rich.console import Console  # noqa: PLC0415 - see console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def told(value: object, style: str = "") -> Text:
    """Return what a producer or a file system named, with the control characters that a terminal would obey spelled out."""
    return styled(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value)), style)


def print_fields(fields: Mapping[str, object], styles: Mapping[str, str]) -> None:
    """Show what is known of one thing, a line a field. Never folded or cut: a path must be fit to be copied."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        console().print(joined((name.ljust(width), "dim"), told(value, styles.get(name, ""))), soft_wrap=True)


def settings_of(data: Path | None) -> Settings:
    """Return the settings, on the data folder that the command names.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    return read_settings(data)


@contextmanager
def reported(*, as_json: bool = False) -> Iterator[None]:
    """Turn a StorageError into a message, its hint and an exit code."""
    try:
        yield
    except StorageError as error:
        if error.hint == Transient.default_hint:  # a job is; what a command does itself, nobody tries again
            error.hint = _NOT_BY_ITSELF
        print_error(error, as_json=as_json)
        raise typer.Exit(_CODES.get(error.code, FAILED)) from None
    except BrokenPipeError:
        silence_stdout()
        raise typer.Exit(FAILED) from None


def silence_stdout() -> None:
    """Let what is still to be written to standard output go nowhere: its reader has gone, or its disk is full; exit flushes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def error_fields(error: StorageError) -> dict[str, dict[str, str]]:
    """Return what programs are told of an error."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def print_error(error: StorageError, *, as_json: bool) -> None:
    """Show an error: what happened and what to do. As text where standard output takes no JSON."""
    if as_json:
        try:
            print_json(error_fields(error))
        except OSError:
            silence_stdout()
        else:
            return
    stderr().print(joined(("error: ", "bold red"), told(error.message)), soft_wrap=True)
    stderr().print(told(error.hint, "dim"), soft_wrap=True)


@contextmanager
def engine_on(data: Path | None) -> Iterator[Engine]:
    """Open the engine on a data folder; no service needs to run there.

    Raises:
        DataFolderError: it is none, or a newer release made it.
    """
    with engine_by(settings_of(data)) as engine:
        yield engine


@contextmanager
def engine_by(settings: Settings) -> Iterator[Engine]:
    """Open the engine that settings tell, as ``engine_on`` does."""
    with held():
        from workers.prepare import make_engine  # noqa: PLC0415 - SQLAlchemy costs 0.1 s, which `up` and `store` need not pay

    with make_engine(settings) as engine:
        yield engine.open()


@contextmanager
def progress_bar(
    what: str, columns: Callable[[], Sequence[ProgressColumn]] = in_numbers, *, shown: bool
) -> Iterator[Callable[[float, float | None], None]]:
    """Show a bar on standard error while entered; yields a function that takes how much of how much is done."""
    if not shown:
        yield lambda _done, _total: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - see console

    beside = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *columns(), TimeRemainingColumn())
    with Progress(*beside, console=stderr(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def size(count: float) -> str:
    """Return bytes as people read them: 1 kB is 1,000 bytes."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 version, 2 versions."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
