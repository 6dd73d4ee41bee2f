"""Whether the tree shows what the catalogue says: files that are missing, copies that are damaged, folders left behind."""

from __future__ import annotations

from pathlib import Path

import orjson

from models.rows import StoredVersion
from storage.generation import CHECKSUM, DOCUMENT_ZSTD, METADATA
from storage.layout import DataFolder
from storage.paths import LATEST
from storage.read import file_sha256
from storage.tree import Mode
from strongroom.contracts import Finding


def is_shown(one: StoredVersion, mode: Mode) -> bool:
    """Whether the tree is to show a version, and has had the time to."""
    return one.in_tree and (mode == "all" or (mode == "latest" and one.latest))


def tree_finding(folder: DataFolder, one: StoredVersion) -> Finding | None:
    """Return what is wrong with the tree's copy of a version. A link to a segment is the segment: it is not read again."""
    path = folder.root / one.file_path
    try:
        # Resolved first: the version may be switched to another generation while its files are read.
        generation = path.parent.resolve(strict=True)
        name = DOCUMENT_ZSTD if (generation / DOCUMENT_ZSTD).exists() else path.name
        digest = _digest(folder, one, generation / name)
        if (generation / CHECKSUM).read_bytes() != f"{digest}  {name}\n".encode():
            return Finding(code="tree_damaged", path=one.file_path, message=f"The file does not hash to its {CHECKSUM}.")
        if not _tells_of(one, orjson.loads((generation / METADATA).read_bytes())):
            return Finding(code="tree_stale", path=one.file_path, message="The folder shows another content than the catalogue.")
    except OSError as error:
        return Finding(code="tree_missing", path=one.file_path, message=f"The tree does not show this version: {error}.")
    except ValueError as error:
        return Finding(code="tree_damaged", path=one.file_path, message=f"Its {METADATA} is damaged: {error}.")
    return None


def is_in_tree(folder: DataFolder, file_path: str, content_sha256: str, *, latest: bool) -> bool:
    """Whether the tree shows this content at this path, as far as its metadata and links tell.

    Of the ``latest`` version also whether it is shown as that, and the library's own metadata can be read.
    """
    link = (folder.root / file_path).parent
    try:
        told = orjson.loads((link / METADATA).read_bytes())
        linked = not latest or str((link.parent / LATEST).readlink()) == link.name
        library = not latest or isinstance(orjson.loads((link.parent / METADATA).read_bytes()), dict)
    except (OSError, ValueError):
        return False
    return linked and library and isinstance(told, dict) and told.get("content_sha256") == content_sha256


def _digest(folder: DataFolder, one: StoredVersion, path: Path) -> str:
    segment = folder.segment(one.place.segment_sha256)
    linked = segment.exists() and path.samefile(segment)
    return one.place.stored_sha256 if linked else file_sha256(path)


def _tells_of(one: StoredVersion, metadata: object) -> bool:
    told = metadata if isinstance(metadata, dict) else {}
    expected = {"library_id": one.library_id, "version": one.version, "content_sha256": one.place.content_sha256}
    return all(told.get(name) == value for name, value in expected.items())
