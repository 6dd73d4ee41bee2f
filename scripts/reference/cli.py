"""The page of commands, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from scripts.reference.markdown import MADE, code, sentence, table
from workers.cli import app
from workers.cli.output import FAILED, NOT_RUNNING, TIMED_OUT, USAGE
from workers.cli.service import NOT_READY

Command = Any
"""A command of typer's own parser, which has no public types."""

_INTRODUCTION = """\
# The command line

The command is `.venv/bin/strongroom`, made by `make setup`. `strongroom COMMAND --help` says the same as this page.
With `--json` a command prints one JSON value on standard output, an error as `{"error": {"code", "message", "hint"}}`; without
it, tables for people on standard output and errors on standard error. `get`, `list`, `show`, `verify` and `jobs` need the data
folder alone, no running service.

"""

_EXIT_CODES = {
    0: "done, and nothing is wrong",
    FAILED: "something failed, or something is damaged",
    USAGE: "the command line is wrong",
    NOT_RUNNING: "no service runs on the data folder",
    NOT_READY: "the service runs, and is not (or no longer) ready",
    TIMED_OUT: "the time to wait was over before everything had ended",
}


def page() -> str:
    """Return docs/reference/cli.md."""
    codes = table(("Exit code", "Meaning"), [(str(number), meaning) for number, meaning in _EXIT_CODES.items()])
    return MADE + _INTRODUCTION + codes + "".join(_section(path, command) for path, command in commands())


def commands() -> Iterator[tuple[str, Command]]:
    """Yield every command with the words that call it."""
    return _below("strongroom", typer.main.get_command(app))


def options_of(command: Command) -> set[str]:
    """Return the options that a command takes, with their dashes."""
    return {name for one in command.params for name in one.opts if name.startswith("-")} | {"--help", "-h"}


def _below(path: str, command: Command) -> Iterator[tuple[str, Command]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _below(f"{path} {name}", child)


def _section(path: str, command: Command) -> str:
    usage = [path, *(_shown(one) for one in command.params if not _is_option(one)), "[OPTIONS]"]
    usage += ["COMMAND [...]"] if getattr(command, "commands", None) else []
    arguments = [(code(_shown(one)), one.help or "") for one in command.params if not _is_option(one)]
    options = [(_names(one), _default(one), one.help or "") for one in command.params if _is_option(one)]
    text = f"\n## `{path}`\n\n    {' '.join(usage)}\n\n{_help(command)}\n"
    if arguments:
        text += "\n" + table(("Argument", "Meaning"), arguments)
    if options:
        text += "\n" + table(("Option", "Default", "Meaning"), options)
    return text


def _help(command: Command) -> str:
    return "\n\n".join(sentence(paragraph) for paragraph in (command.help or "").split("\n\n"))


def _is_option(one: Any) -> bool:
    return bool(one.opts[0].startswith("-"))


def _names(one: Any) -> str:
    return ", ".join(code(name) for name in one.opts)


def _shown(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _default(one: Any) -> str:
    default = getattr(one, "default", None)
    if default in {None, False}:
        return ""
    return code(f"{default:g}" if isinstance(default, float) else str(default))
