"""Export: a library is written into one file, with revisions, pins, labels and aliases. Reads what is stored, and checks it."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tarfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from models.catalogue import find_place, list_versions, places_of
from models.chronicle import removed_versions
from models.curation import find_held, list_labels, list_pins
from models.mending import library_holders
from models.names import list_aliases, real_name
from models.rows import Place, StoredVersion
from storage.codecs import REFERRING, encoder_of
from storage.index import VersionRecord
from storage.library_events import Exported
from storage.portable import DIGEST, FORMAT, MANIFEST, Alias, Document, Manifest, Pieces, Revision, Said
from storage.read import is_whole, read_content, stored_blocks
from storage.recorded import find_records
from storage.trail import Actor, Archive, record_events
from strongroom import durable
from strongroom.errors import IntegrityError, InvalidRequest, NotFound

Progress = Callable[[int, int], None]
"""Told after each document how many of how many are written."""


@dataclass(frozen=True, slots=True)
class Written:
    """An export file: what it holds, its size and its digest."""

    library_id: str
    path: Path
    versions: int
    revisions: int
    documents: int
    size_bytes: int
    sha256: str


def export(
    archive: Archive,
    library_id: str,
    path: Path,
    actor: Actor,
    progress: Progress = lambda _done, _total: None,
    version: str | None = None,
    *,
    bare: bool = False,
    removed: bool = False,
) -> Written:
    """Write a library into one file: stored revisions, pins, labels, aliases. Whole and durable on return, or not there.

    With ``version`` only what there is of that one; ``bare``: no older revisions, pins, labels and aliases. ``removed``: what can
    still be brought back is there as if it were stored, and no pins, labels and aliases: the journal tells all that.

    Each stored byte is verified before it is written. In constant memory, but for what refers to other contents (32 MiB each).
    A file of that name is replaced.

    Raises:
        NotFound: there is no such library.
        IntegrityError: something of it is damaged; no file was written.
        InvalidRequest, DiskFull, PermissionRefused: the file cannot be written.
    """
    manifest, contents = _look(archive, library_id, version, bare=bare, removed=removed)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidRequest(f"{path} is a folder, or its folder is not there.", "Name a file in a folder that is there.")
    with durable.os_errors(f"cannot write {path}"):
        try:
            size, digest = _write(archive, part, manifest, contents, progress)
            durable.rename(part, path, "export")
        finally:
            part.unlink(missing_ok=True)
        durable.fsync_folder(path.parent, "export")
    with archive.database.write("export") as connection:
        event = Exported(manifest.library_id, len(manifest.revisions), archive.clock(), actor.by, actor.why)
        record_events(archive.folder.journal, connection, [event])
    versions = len({one.version for one in manifest.revisions})
    return Written(manifest.library_id, path, versions, len(manifest.revisions), len(contents), size, digest)


def _look(archive: Archive, name: str, version: str | None, *, bare: bool, removed: bool) -> tuple[Manifest, list[StoredVersion]]:
    with archive.database.read() as connection:
        library_id = real_name(connection, name)
        found = list(list_versions(connection, library_id, version, history=not bare))
        if not found:
            raise NotFound(f"{name}{f' {version}' if version else ''} is not stored.")
        found += removed_versions(connection, library_id, version) if removed else []
        stored = sorted(found, key=lambda one: (one.created_at, one.version))
        named = {(one.version, one.created_at) for one in stored}
        holders = [one for one in library_holders(connection, library_id) if (one.version, one.stored_at) in named]
        said = _said(connection, library_id, () if bare or removed else {one.version for one in stored})
    records = {(one.version, one.stored_at): one for one in find_records(archive.folder, archive.database, holders)}
    contents = list({one.place.content_sha256: one for one in stored}.values())
    revisions = [_revision(records[one.version, one.created_at]) for one in stored]
    documents = [_document(one.place) for one in contents]
    at = archive.clock().isoformat()
    told = {"strongroom_export": FORMAT, "library_id": library_id, "exported_at": at, "revisions": revisions}
    return Manifest.model_validate({**told, "documents": documents, **said}), contents


def _said(connection: Connection, library_id: str, wanted: Collection[str]) -> dict[str, object]:
    pins = [one for one in list_pins(connection, library_id) if one.version in wanted]
    labels = [one for one in list_labels(connection, library_id) if one.version in wanted]
    aliases = list_aliases(connection, library_id) if wanted else []
    held = find_held(connection, library_id)
    by_hand = held is not None and held.by_hand and held.version in wanted
    return {
        "pins": [Said(version=one.version, by=one.by, why=one.why) for one in pins],
        "labels": [Said(version=one.version, label=one.label, by=one.by, why=one.why) for one in labels],
        "aliases": [Alias(alias=one.alias, at=one.at.isoformat(), by=one.by, why=one.why) for one in aliases],
        "latest": held.version if held is not None and by_hand else None,
    }


def _revision(one: VersionRecord) -> Revision:
    return Revision(
        version=one.version,
        content_sha256=one.content_sha256,
        stored_at=one.stored_at.isoformat(),
        sort_as=one.sort_as,
        source=one.source,
        details=dict(one.details),
    )


def _document(place: Place) -> Document:
    codec = "gzip" if place.codec == REFERRING else place.codec
    told = {"content_sha256": place.content_sha256, "size_bytes": place.size_bytes, "codec": codec}
    return Document.model_validate(told)


def _write(
    archive: Archive, part: Path, manifest: Manifest, contents: list[StoredVersion], progress: Progress
) -> tuple[int, str]:
    told = manifest.model_dump_json(exclude_defaults=True).encode()
    digest = f"{hashlib.sha256(told).hexdigest()}  {MANIFEST}\n".encode()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        durable.step("export: write")
        hashing = _Hashing(file)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=1 << 20) as tar:  # type: ignore[call-overload] # it writes, which is all a stream needs
            _add(tar, MANIFEST, len(told), [told])
            _add(tar, DIGEST, len(digest), [digest])
            for number, (one, document) in enumerate(zip(contents, manifest.documents, strict=True), 1):
                _add(tar, document.name, *_stored(archive, one, document))
                progress(number, len(contents))
        file.flush()
        durable.fsync_file(file.fileno(), "export")
    return hashing.size_bytes, hashing.digest.hexdigest()


def _stored(archive: Archive, one: StoredVersion, document: Document) -> tuple[int, Iterable[bytes]]:
    """Return a content's bytes as they are to stand in the file, and how many."""
    place = _whole(archive, one, document)
    if place.codec != document.codec:
        data = encoder_of("gzip-best").whole(read_content(archive.folder, place))
        return len(data), [data]
    return place.length, stored_blocks(archive.folder, place)


def _whole(archive: Archive, one: StoredVersion, document: Document) -> Place:
    """Return a place of a content that is whole and packed as the manifest says, or that can be packed so."""
    place = find_place(archive.database, one.place.content_sha256)  # it may have moved meanwhile
    with archive.database.read() as connection:
        others = places_of(connection, one.place.content_sha256)
    for other in [*([] if place is None else [place]), *others]:
        if document.codec in {other.codec, "gzip"} and is_whole(archive.folder, other):
            return other
    raise IntegrityError(
        f"{one.library_id} {one.version}, revision {one.revision}, is damaged: no file was written.",
        "`strongroom verify --all --repair` looks for a good copy; then export again.",
    )


def _add(tar: tarfile.TarFile, name: str, size: int, pieces: Iterable[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, io.BufferedReader(Pieces(pieces)))


class _Hashing:
    """Counts and hashes what goes into a file."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)
