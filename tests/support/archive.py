"""Documents to store, and everything that can be seen of a data folder afterwards."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from models.catalogue import list_libraries, list_versions
from models.rows import StoredVersion
from storage.engine import Engine
from storage.intake import Incoming, incoming
from strongroom.contracts import DocumentOptions

View = dict[str, Any]


def body(**members: Any) -> bytes:
    """Return the bytes of a document."""
    return json.dumps(members).encode()


def large_body(size_bytes: int, seed: int = 1) -> bytes:
    """Return a document of about that size that hardly compresses below half."""
    return body(seed=seed, text=Random(seed).randbytes(size_bytes // 2).hex())


def document(library_id: str, version: str, data: bytes, **options: Any) -> Incoming:
    """Return a document to store."""
    name = f"{library_id} {version}"
    return incoming(partial(BytesIO, data), len(data), name, DocumentOptions(library_id=library_id, version=version, **options))


def revisions(engine: Engine) -> list[StoredVersion]:
    """Return every revision of everything."""
    with engine.database.read() as connection:
        return list(list_versions(connection, history=True))


def check_promises(engine: Engine) -> None:
    """Every committed row names bytes that are there and hash to the recorded digest; sums are true; verify agrees."""
    found = revisions(engine)
    for one in found:
        place = one.place
        stored = engine.folder.segment(place.segment_sha256).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == place.segment_sha256
        part = stored[place.offset : place.offset + place.length]
        assert hashlib.sha256(part).hexdigest() == place.stored_sha256
        if one.current:
            assert hashlib.sha256(engine.read(one.library_id, one.version)).hexdigest() == place.content_sha256
    receipt = engine.verify()
    assert not receipt.damaged, receipt.damaged
    assert not receipt.findings, receipt.findings
    check_sums(engine, found)


def check_sums(engine: Engine, found: list[StoredVersion] | None = None) -> None:
    """The libraries' rows say what a recount of their versions says."""
    found = revisions(engine) if found is None else found
    for library in engine.libraries():
        current = [one for one in found if one.current and one.library_id == library.library_id]
        assert library.total_versions == len(current)
        assert library.total_size_bytes == sum(one.place.size_bytes for one in current)
        if not current:  # the newest was erased, and those that are left were removed, and can come back
            continue
        assert library.latest_version == engine.find(library.library_id).version
        assert [one.version for one in current if one.latest] == [library.latest_version]


def view(engine: Engine) -> View:
    """Return all that is stored, without the times and ids that differ from run to run."""
    with engine.database.read() as connection:
        libraries = {one.library_id: (one.latest_version, one.total_versions) for one in list_libraries(connection)}
    versions = {
        (one.library_id, one.version, one.revision): (one.current, one.latest, one.place.content_sha256)
        for one in revisions(engine)
    }
    return {"libraries": libraries, "versions": versions}


def shown(engine: Engine) -> dict[str, bytes]:
    """Return the documents that the tree shows, by their path."""
    root = engine.folder.documentation
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in _documents(root)}


def _documents(root: Path) -> Iterator[Path]:
    for library in root.iterdir():
        for version in library.iterdir():
            if version.is_symlink():
                yield version / "documentation.json.gz"


def unfinished(engine: Engine) -> list[str]:
    """Return what lies in tmp/."""
    return sorted(path.name for path in engine.folder.tmp.iterdir())


def open_files() -> list[str]:
    """Return what this process has open below a data folder, the catalogue's own files aside."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    targets = (str(link.readlink()) for link in links if link.is_symlink())
    return sorted(target for target in targets if "/data" in target and "catalogue.db" not in target)
