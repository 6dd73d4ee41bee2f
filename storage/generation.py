"""A generation: the folder of one version in the tree, with the document, its checksum and its metadata. It never changes."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from models.rows import LibraryRow, Place, StoredVersion
from storage.codecs import encoder_of
from storage.encodings import SHOWN
from storage.layout import DataFolder
from storage.pace import step_back
from storage.read import stored_blocks, stream_content
from strongroom import durable
from strongroom.errors import IntegrityError

DOCUMENT, CHECKSUM, METADATA = "documentation.json.gz", "checksum.sha256", "metadata.json"
DOCUMENT_ZSTD = "documentation.json.zst"


@dataclass(frozen=True, slots=True)
class Written:
    """Generations in ``tmp/`` that nothing shows yet, and the ids of versions whose stored bytes are damaged."""

    parts: list[tuple[StoredVersion, Path]] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)

    def remove(self) -> None:
        """Remove what is still in ``tmp/``."""
        for _, part in self.parts:
            shutil.rmtree(part, ignore_errors=True)


WriteGenerations = Callable[[DataFolder, Sequence[StoredVersion]], Written]


def write_generations(folder: DataFolder, versions: Sequence[StoredVersion]) -> Written:
    """Write the folders of versions to ``tmp/``; leave nothing there when that fails. Not durable yet.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    made = Written()
    try:
        for one in versions:
            try:
                made.parts.append((one, write_generation(folder, one)))
            except IntegrityError:
                made.damaged.add(one.version_id)
    except BaseException:
        made.remove()
        raise
    return made


def write_behind_others(folder: DataFolder, versions: Sequence[StoredVersion]) -> Written:
    """Do as ``write_generations``, with what processor time others leave: a producer waits for a store, for this nobody does.

    Only for what holds no lock: whoever waited for one would wait behind everybody, too.
    """
    with ThreadPoolExecutor(1, "tree", step_back) as aside:
        return aside.submit(write_generations, folder, versions).result()


def write_generation(folder: DataFolder, one: StoredVersion) -> Path:
    """Write a version's folder to ``tmp/`` and return it; leave nothing there when that fails. Not durable yet.

    Raises:
        IntegrityError: the version's stored bytes are damaged.
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    part = folder.tmp / f"{secrets.token_hex(8)}.generation"
    try:
        with durable.os_errors("cannot write the tree"):
            durable.step("generation: write")
            part.mkdir()
            name = document_name(one.place)
            digest = _write_document(folder, one, part / name)
            (part / CHECKSUM).write_text(f"{digest}  {name}\n", encoding="utf-8")
            (part / METADATA).write_bytes(as_json(_version_metadata(one, digest)))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return part


def document_name(place: Place) -> str:
    """Return what the file of the tree is called: gzip, unless compress was told to keep these versions as zstd."""
    alone = place.stored_sha256 == place.segment_sha256
    return DOCUMENT_ZSTD if place.codec == "zstd" and place.effort >= SHOWN and alone else DOCUMENT


def _write_document(folder: DataFolder, one: StoredVersion, path: Path) -> str:
    """Write the packed document and return its SHA-256: a link when the segment holds it alone, else a copy."""
    place = one.place
    if place.codec != "gzip" and path.name == DOCUMENT:
        return _compress(folder, one, path)
    if place.stored_sha256 == place.segment_sha256:
        with contextlib.suppress(OSError):  # no segment, no links here, or too many: the copy succeeds or tells
            path.hardlink_to(folder.segment(place.segment_sha256))
            return place.stored_sha256
    with path.open("wb") as file:
        file.writelines(stored_blocks(folder, place))
    return place.stored_sha256


def _compress(folder: DataFolder, one: StoredVersion, path: Path) -> str:
    compressor = encoder_of("gzip-fast").stream()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in stream_content(folder, one.place):
            stored = compressor.compress(piece)
            digest.update(stored)
            file.write(stored)
        last = compressor.flush()
        digest.update(last)
        file.write(last)
    return digest.hexdigest()


def as_json(fields: dict[str, object]) -> bytes:
    """Return metadata as it is written: for people as well as for programs."""
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2)


def _version_metadata(one: StoredVersion, digest: str) -> dict[str, object]:
    place = one.place
    return {
        "library_id": one.library_id,
        "version": one.version,
        "revision": one.revision,
        "content_sha256": place.content_sha256,
        "file_size_bytes": place.size_bytes,
        "compressed_size_bytes": place.length,
        "compression_ratio": round(1 - place.length / place.size_bytes, 4),
        "checksum_sha256": digest,
        "created_at": one.created_at.isoformat(),
        "download_source": one.source,
        "metadata": dict(one.details),
    }


def library_metadata(library: LibraryRow) -> dict[str, object]:
    """Return what a library's own metadata.json says."""
    return {
        "library_id": library.library_id,
        **library.facts,
        "created_at": library.created_at.isoformat(),
        "updated_at": library.updated_at.isoformat(),
        "total_versions": library.total_versions,
        "latest_version": library.latest_version,
        "total_size_bytes": library.total_size_bytes,
        "compressed_size_bytes": library.compressed_size_bytes,
        "compression_ratio": round(library.compression_ratio, 4),
    }
