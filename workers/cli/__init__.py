"""The command line: ``strongroom``. docs/reference/cli.md is made from it."""

from __future__ import annotations

import typer

from workers.cli.output import Data, hand_down
from workers.cli.usage import Commands

app = typer.Typer(
    name="strongroom",
    cls=Commands,
    help="Documents go in through a queue and come back intact.",
    epilog="Start with `strongroom up`, then `strongroom store FILE.json --wait`. docs/tutorial.md takes ten minutes.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def anywhere(context: typer.Context, data: Data = None) -> None:
    """Take --data before the command as well as behind it."""
    hand_down(context, data)


def main() -> None:
    """Run the command line."""
    app()
