"""The commands that take a library out as one file and bring it in: export, import. No service needs to run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.output import (
    AsJson,
    Data,
    console,
    counted,
    engine_on,
    print_json,
    progress_bar,
    reported,
    size,
    told,
)
from workers.cli.read import Library
from workers.cli.styled import joined
from workers.cli.who import Why, actor


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("export")(export_library)
    app.command("import")(import_library)


def export_library(
    library: Library,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write a library into one file: its versions with their revisions, pins, labels and aliases. Every byte is verified before.

    The file is a plain tar that any tool reads; `strongroom import` stores it elsewhere.

    JSON: an object with `library_id`, `file`, `versions`, `revisions`, `documents`, `size_bytes` and `sha256` (of the file).

    Exit codes: 0 written, 1 not stored, damaged, or the file cannot be written (one that was there is left as it was).
    """
    from storage.export import export  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine, progress_bar("exporting", shown=not as_json) as tick:
        done = export(engine.archive, library, output, actor(why), tick)
    fields = asdict(done)
    fields["file"] = str(fields.pop("path"))
    if as_json:
        print_json(fields)
        return
    words = f"  {counted(done.versions, 'version')} in {done.path}, {size(done.size_bytes)}"
    console().print(joined(told(done.library_id, "bold"), told(words)), soft_wrap=True)


def import_library(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `strongroom export` wrote.")],
    name: Annotated[str | None, typer.Option("--as", metavar="LIBRARY", help="Store it under this id.")] = None,
    aliases: Annotated[bool, typer.Option("--aliases", help="Its other names come along, if they mean nothing here.")] = False,
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Store a library from an export file: all of it or nothing. The file is checked first, wherever it comes from.

    Versions that are there get what they lack as further revisions; run twice, the second changes nothing.

    JSON: an object with `library_id`, `versions`, `stored` and `unchanged` (revisions), `pins`, `labels` and
    `aliases` (those added).

    Exit codes: 0 it is stored, 1 nothing was imported.
    """
    from storage.bring_in import import_file  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine, progress_bar("checking", shown=not as_json) as tick:
        done = import_file(engine, file, actor(why), name, tick, aliases=aliases)
    if as_json:
        print_json(asdict(done))
        return
    words = f"  {counted(done.stored, 'revision')} stored, {done.unchanged:,} there already"
    console().print(joined(told(done.library_id, "bold"), told(words)), soft_wrap=True)
