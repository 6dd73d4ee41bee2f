"""``strongroom backup key``: the key that backups are sealed with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.output import AsJson, console, print_json, reported, told
from workers.cli.styled import joined

Out = Annotated[Path, typer.Option("--out", help="The new file. An existing one is never replaced.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``backup``."""
    app.command("key")(make)


def make(out: Out, as_json: AsJson = False) -> None:
    """Make a key to seal backups with, in a new file that its owner alone may read. Without that file nobody opens them.

    The file is an age key (age-encryption.org): `age -d -i FILE` opens what is sealed. The secret is never printed.

    JSON: an object with `file` and `public_key`.

    Exit codes: 0 it is written, 1 it is not: the file exists, or cannot be written.
    """
    from storage.backup.seal import make_key  # noqa: PLC0415 - the library is loaded by who seals

    with reported(as_json=as_json):
        public = make_key(out, datetime.now(UTC))
    if as_json:
        print_json({"file": str(out.absolute()), "public_key": public})
        return
    console().print(joined("made ", told(out, "bold green"), f", the key of {public}"), soft_wrap=True)
    console().print("Keep a copy of the file where no fire and no thief reaches both. Then let the service know:")
    console().print(joined(("  export STRONGROOM_BACKUP_KEY_FILE=", "bold"), told(out.absolute(), "bold")), soft_wrap=True)
