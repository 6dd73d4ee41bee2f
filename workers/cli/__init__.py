"""The command line: ``strongroom``. docs/reference/cli.md is made from it."""

from __future__ import annotations

import typer

from workers.cli import jobs, read, service, store

app = typer.Typer(
    name="strongroom",
    help="Documents go in through a queue and come back intact.",
    epilog="Start with `strongroom up`, then `strongroom store FILE.json --wait`. docs/tutorial.md takes ten minutes.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (service, store, read, jobs):
    module.register(app)


def main() -> None:
    """Run the command line."""
    app()
