"""Usage errors under --json: what is wrong with a command line is told as every other error is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer._click.exceptions import UsageError  # typer is pinned, and names its subclass BadParameter alone
from typer.core import TyperGroup

from strongroom.errors import InvalidRequest
from workers.cli.output import USAGE, print_error

if TYPE_CHECKING:
    from typer._click.core import Context

_AS_JSON = "strongroom.as_json"


class Commands(TyperGroup):
    """The command line as a whole."""

    def make_context(self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any) -> Context:
        """Read the words before the command; ``extra`` is typer's own."""
        as_json = "--json" in args
        with _told(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: Context) -> object:
        """Run the command, which reads the words behind it."""
        with _told(as_json=ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


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
