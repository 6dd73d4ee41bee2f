"""The commands that read a data folder: get, list, show. No service needs to run."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom import durable
from strongroom.errors import InvalidRequest, NotFound
from workers.cli.output import (
    AsJson,
    Data,
    console,
    counted,
    engine_on,
    fold,
    print_fields,
    print_json,
    reported,
    size,
    told,
)
from workers.cli.styled import joined, new_table, styled

if TYPE_CHECKING:
    from models.rows import StoredVersion
    from storage.engine import Engine

Library = Annotated[str, typer.Argument(metavar="LIBRARY", help="The library's id, such as /owner/name.")]
Version = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="A version; default: the latest.")]
Wanted = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="A version, a label, or VERSION@REVISION; default: the latest.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(get)
    app.command("list")(list_versions)
    app.command()(show)


def get(
    library: Library,
    version: Wanted = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file; without it, or with -, to standard output.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write a document's plain bytes, exactly as they came in. Every byte is verified before it is written.

    `2.0@1` is revision 1 of version 2.0, as `strongroom history` lists them: it can be had without going back to it.

    JSON, which needs -o FILE: an object with `library_id`, `version`, `content_sha256`, `size_bytes` and `file`.

    Exit codes: 0 written, 1 not stored or damaged (a file named with -o is then left as it was), 2 --json without -o FILE.
    """
    target = None if output is None or str(output) == "-" else output
    if as_json and target is None:
        raise typer.BadParameter("--json needs -o FILE: standard output cannot hold the document and what is told of it.")
    with reported(as_json=as_json), engine_on(data) as engine:
        found = _find(engine, library, version)
        older = None if found.current else engine.reader.stream(found, partial(_find, engine, library, version))
        written = _Counted(older or engine.stream(found.library_id, found.version))
        if target is None:
            for piece in written:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        with durable.os_errors(f"cannot write {target}"):
            _write_file(target, written)
        if as_json:
            names = {"library_id": found.library_id, "version": found.version}
            print_json({**names, "content_sha256": written.sha256, "size_bytes": written.size_bytes, "file": str(target)})


def _find(engine: Engine, library: str, version: str | None) -> StoredVersion:
    """Return a version, or a revision of one as in ``2.0@1``."""
    if version is None or "@" not in version:
        return engine.find(library, version)
    from storage.comparing import find_revision  # noqa: PLC0415 - others need not pay for it

    return find_revision(engine, library, version)


class _Counted:
    """The pieces of a document, counted and hashed as they are taken: what is told is of the very bytes that were written."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            self.size_bytes += len(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """Of what was taken so far."""
        return self._digest.hexdigest()


def _write_file(output: Path, pieces: Iterable[bytes]) -> None:
    """Put a whole file in the place of the one there, if any, in one step. A pipe or device is written to as it is."""
    target = Path(os.path.realpath(output))  # a link stays one
    if target.is_dir() or not output.parent.is_dir():
        raise InvalidRequest(f"{output} is a folder, or its folder is not there.", "Name a file in a folder that is there.")
    if output.exists() and not output.is_file():
        with output.open("wb") as file:
            file.writelines(pieces)
        return
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.writelines(pieces)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def list_versions(
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="Only this library.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List what is stored: libraries by name, their versions by number, the newest first; `latest` is marked.

    On a terminal long names are folded; what is piped is a line a version, and nothing of it is cut.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        versions = engine.versions(library)
        if library is not None and not versions:
            raise NotFound(f"{library} is not stored.")
        if as_json:
            print_json([_fields(engine, one) for one in versions])
        else:
            _print_versions(versions)


def show(library: Library, version: Wanted = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show everything known of one version, or of one of its revisions: `2.0@1` is revision 1 of version 2.0, as for `get`.

    JSON: an object with the fields of `list`, and `current`, `source` and `metadata`. Of an older revision `current` and `latest`
    are false, and `file` is null: it does not stand under documentation/.

    Exit codes: 0 shown, 1 it is not stored.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        found = _find(engine, library, version)
        told_of_one = {"current": found.current, "source": found.source, "metadata": dict(found.details)}
        fields = _fields(engine, found) | told_of_one
        if as_json:
            print_json(fields)
        else:
            print_fields(fields, {})


def _fields(engine: Engine, one: StoredVersion) -> dict[str, Any]:  # JSON, printed as it is
    place = one.place
    return {
        "library_id": one.library_id,
        "version": one.version,
        "revision": one.revision,
        "latest": one.latest,
        "content_sha256": place.content_sha256,
        "size_bytes": place.size_bytes,
        "stored_bytes": place.length,
        "codec": place.codec,
        "segment": engine.folder.relative(engine.folder.segment(place.segment_sha256)),
        "offset": place.offset,
        "length": place.length,
        "stored_sha256": place.stored_sha256,
        "stored_at": one.created_at.isoformat(),
        "file": one.file_path if one.in_tree and one.current else None,  # the place is the current one's
    }


def _print_versions(versions: list[StoredVersion]) -> None:
    table = new_table("library", "version", "", "size", "on disk", "saved", "stored")
    fold(table, 0, 1)
    for column in table.columns[3:6]:
        column.justify = "right"
    previous = ""
    for one in versions:
        place = one.place
        saved = 1 - place.length / place.size_bytes
        table.add_row(
            told(one.library_id if one.library_id != previous else "", "bold"),
            told(one.version, "green" if one.latest else ""),
            styled("latest", "green") if one.latest else "",
            size(place.size_bytes),
            size(place.length),
            f"{saved:.0%}",
            styled(f"{one.created_at:%Y-%m-%d %H:%M}", "dim"),
        )
        previous = one.library_id
    out = console()
    if not versions:
        out.print(joined("Nothing is stored yet. Store a document: ", ("strongroom store FILE.json --wait", "bold")))
        return
    out.print(table)
    plain, stored = sum(one.place.size_bytes for one in versions), sum(one.place.length for one in versions)
    sums = f"{counted(len(versions), 'version')}, {size(plain)}, on disk {size(stored)}: saved {1 - stored / plain:.1%}"
    out.print(styled(sums, "dim"))
