"""The command line as a whole: errors that no command expects are told as those are that it does. Never a traceback of these."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer._click.exceptions import UsageError  # typer is pinned, and names its subclass BadParameter alone

from strongroom import durable
from strongroom.errors import InvalidRequest
from workers.cli.homes import COMMANDS, Group
from workers.cli.output import USAGE, print_error, reported, silence_stdout

if TYPE_CHECKING:
    from typer._click.core import Context

_AS_JSON = "strongroom.as_json"


class Commands(Group):
    """The command line as a whole."""

    homes = COMMANDS

    def make_context(self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any) -> Context:
        """Read the words before the command; ``extra`` is typer's own."""
        as_json = "--json" in args
        with _told(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: Context) -> object:
        """Run the command, which reads the words behind it."""
        as_json: bool = ctx.meta[_AS_JSON]
        with _told(as_json=as_json), reported(as_json=as_json), durable.os_errors("The operating system refused"):
            try:
                return super().invoke(ctx)
            finally:
                _flush()


@contextmanager
def _told(*, as_json: bool) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if not as_json:
            raise
        command = error.ctx.command_path if error.ctx else "strongroom"
        print_error(InvalidRequest(error.format_message(), f"`{command} --help` says what there is."), as_json=True)
        raise typer.Exit(USAGE) from None


def _flush() -> None:
    """Find out now whether standard output took it all: at the interpreter's end nobody could be told."""
    try:
        sys.stdout.flush()
    except OSError:
        silence_stdout()
        raise
