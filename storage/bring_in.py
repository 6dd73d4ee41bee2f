"""Import: what an export file holds is stored, all of it or nothing. The file is not trusted: it may come from anywhere."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from storage.brought_along import Along, Refused
from storage.codecs import decode
from storage.engine import Engine
from storage.intake import Incoming
from storage.paths import check_identifier
from storage.portable import (
    AGAIN,
    DIGEST,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Document,
    Manifest,
    Pieces,
    moment,
    opened,
    parse_manifest,
)
from storage.segments import BLOCK_BYTES
from storage.trail import Actor
from strongroom import durable
from strongroom.contracts import DocumentOptions
from strongroom.errors import DocumentTooLarge, IntegrityError, InvalidRequest

Progress = Callable[[int, int], None]
"""Told after each document how many of how many are checked."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What an import came to."""

    library_id: str
    versions: int
    stored: int
    unchanged: int
    pins: int
    labels: int
    aliases: int = 0


def import_file(
    engine: Engine,
    path: Path,
    actor: Actor,
    name: str | None = None,
    progress: Progress = lambda _done, _total: None,
    *,
    aliases: bool = False,
    as_it_was: bool = False,
) -> Brought:
    """Store a library from an export file, under its own id or another one; durable on return, with one commit.

    Everything is checked before anything is written: names, sizes, digests. Revisions come in their order, at the time of the
    import. A version that is there gets what it has not as further revisions. Run twice, the second changes nothing.

    ``aliases``: other names of the library come along, as far as they mean nothing here. ``as_it_was``: revisions keep the times
    at which they were stored; for a data folder of one's own in which nothing ever was. Times are what the disk tells revisions,
    removals, renames and stores that never came to be from each other by: elsewhere, what is told already could be taken for
    what is told of these.

    Raises:
        InvalidRequest: the file is damaged, cut short, or no export; or something is told in the folder already. Nothing was
            imported.
        DataFolderError: a later release wrote it.
        InvalidIdentifier, InvalidDocument: an id or a document cannot be stored; nothing was imported.
        QuotaExceeded: a quota has no room for all of it; nothing was imported.
        DiskFull, Transient: nothing was imported.
    """
    if not path.is_file():
        raise InvalidRequest(f"{path} is not there, or is no file.", "Name a file that `strongroom export` wrote.")
    with durable.os_errors(f"cannot read {path}"), opened(path) as file:
        manifest, members = _members(file)
        library_id = engine.real_name(check_identifier(name or manifest.library_id, "library id"))
        for number, document in enumerate(manifest.documents, 1):
            _check(path, document, members, engine.options.limits.document_bytes)
            progress(number, len(manifest.documents))
    if as_it_was:
        _refuse_what_is_in_use(engine)
    by_content = {one.content_sha256: one for one in manifest.documents}
    incoming = [
        _incoming(path, by_content[one.content_sha256], members, _options(library_id, manifest, index))
        for index, one in enumerate(manifest.revisions)
    ]
    if as_it_was:
        told = zip(incoming, manifest.revisions, strict=True)
        incoming = [replace(one, stored_at=moment(revision.stored_at)) for one, revision in told]
    wanted = manifest.aliases if aliases else []
    for alias in wanted:
        check_identifier(alias.alias, "library id")
    along = Along(engine, manifest, library_id, actor, wanted)
    try:
        receipts = engine.store(incoming, along.add)
    except Refused as refused:
        raise _error_of(refused) from refused
    engine.tree.catch_up()
    stored = sum(one.status == "stored" for one in receipts)
    versions = len({one.version for one in manifest.revisions})
    return Brought(library_id, versions, stored, len(receipts) - stored, *along.counts)


def _refuse_what_is_in_use(engine: Engine) -> None:
    with durable.os_errors("cannot read the journal"):
        told = engine.folder.journal.exists() and engine.folder.journal.stat().st_size
    if told or engine.versions():
        raise InvalidRequest(f"{engine.folder.root} is in use: times cannot be kept there.", "Import into a new data folder.")


_Members = Mapping[str, tuple[int, int]]
"""Offset and size of each member's bytes."""


def _members(file: BinaryIO) -> tuple[Manifest, _Members]:
    """Return what the file holds: exactly what its manifest names, each once, plain files all.

    Raises:
        InvalidRequest: something else.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.type != tarfile.REGTYPE or member.issparse() or member.name in found:
                    raise InvalidRequest(f"{member.name[:100]!r} is no plain file, or there twice.", AGAIN)
                found[member.name] = (member.offset_data, member.size)
                tar.members = []  # type: ignore[attr-defined] # no types; it would keep each of them
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InvalidRequest(f"The file is no export, or it was cut short: {error}.", AGAIN) from error
    manifest = parse_manifest(_small(file, found, MANIFEST), _small(file, found, DIGEST).decode("ascii", "replace"))
    wanted = {MANIFEST, DIGEST, *(one.name for one in manifest.documents)}
    if found.keys() != wanted:
        missing, extra = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
        raise InvalidRequest(f"The file lacks {len(missing)} documents and holds {len(extra)} things too many.", AGAIN)
    return manifest, found


def _small(file: BinaryIO, members: _Members, name: str) -> bytes:
    if name not in members or members[name][1] > MAX_MANIFEST_BYTES:
        raise InvalidRequest(f"The file has no {name}, or none that can be: it is no export.", AGAIN)
    return b"".join(_stored(file, *members[name]))


def _stored(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size:
        piece = file.read(min(size, BLOCK_BYTES))
        if not piece:
            raise InvalidRequest("The file was cut short.", AGAIN)
        size -= len(piece)
        yield piece


def _plain(path: Path, document: Document, members: _Members) -> Iterator[bytes]:
    """Yield a document's plain bytes, as far as they may go."""
    size = 0
    with opened(path) as file:
        for piece in decode(_stored(file, *members[document.name]), document.codec):
            size += len(piece)
            if size > document.size_bytes:
                raise InvalidRequest(f"{document.name} unpacks to more than the manifest says.", AGAIN)
            yield piece


def _check(path: Path, document: Document, members: _Members, most: int) -> None:
    if document.size_bytes > most:
        raise DocumentTooLarge(f"{document.name} has {document.size_bytes:,} bytes; {most:,} are allowed.")
    digest = hashlib.sha256()
    try:
        for piece in _plain(path, document, members):
            digest.update(piece)
    except IntegrityError as error:
        raise InvalidRequest(f"{document.name} is damaged: {error.message}", AGAIN) from error
    if digest.hexdigest() != document.content_sha256:
        raise InvalidRequest(f"{document.name} does not hash to its digest.", AGAIN)


def _options(library_id: str, manifest: Manifest, index: int) -> DocumentOptions:
    one = manifest.revisions[index]
    said = {"sort_as": one.sort_as or None, "source": one.source or None, "metadata": one.details}
    check_identifier(one.version, "version")
    try:
        return DocumentOptions.model_validate({"library_id": library_id, "version": one.version, **said})
    except ValueError as error:
        raise InvalidRequest(f"The manifest says of {one.version!r} what cannot be said.", AGAIN) from error


def _incoming(path: Path, document: Document, members: _Members, options: DocumentOptions) -> Incoming:
    def open_plain() -> BinaryIO:
        return BufferedReader(Pieces(_plain(path, document, members)), BLOCK_BYTES)

    size = document.size_bytes
    return Incoming(f"{options.library_id} {options.version}", size, size, open_plain, options, document.content_sha256)


def _error_of(refused: Refused) -> InvalidRequest:
    message, hint = refused.args
    return InvalidRequest(f"{message} Nothing was imported.", hint)
