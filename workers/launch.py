"""One of Celery's commands without all the others: ``python -m workers.launch celery -A APP worker ...``.

``celery`` itself imports every command that there is before it runs one, Flower and a shell for a terminal among them: a quarter
of the processor time that a part of the service took to start. The command that is run is Celery's own, options and all.
"""

from __future__ import annotations

from workers import garbage

garbage.hold()

import sys  # noqa: E402 - nothing is imported before
from collections.abc import Sequence  # noqa: E402
from importlib import import_module  # noqa: E402

import click  # noqa: E402
from celery.app.utils import find_app  # noqa: E402
from celery.bin.base import CLIContext  # noqa: E402

HOMES = {"worker": "celery.bin.worker", "beat": "celery.bin.beat", "flower": "flower.command"}
"""The commands, and the modules that they are in."""


def run(words: Sequence[str]) -> None:
    """Run ``celery -A APP COMMAND ...``, which ends the process."""
    program, _, app_name, name, *options = words
    app = find_app(app_name)
    command: click.Command = getattr(import_module(HOMES[name]), name)
    garbage.resume()
    above = click.Context(click.Command(program), obj=CLIContext(app, no_color=False, workdir=None))
    command.main(options, prog_name=f"{program} {name}", parent=above)


if __name__ == "__main__":
    run(sys.argv[1:])
