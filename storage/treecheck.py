"""Whether the tree shows what the catalogue says: files that are missing, or copies that are damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from models.rows import StoredVersion
from storage.layout import DataFolder
from storage.read import file_sha256
from storage.tree import Mode
from strongroom.contracts import Finding


def tree_findings(folder: DataFolder, versions: Iterable[StoredVersion], mode: Mode) -> Iterator[Finding]:
    """Yield what is wrong with the tree's copies of these versions. A link to a segment is the segment: it is not read again."""
    for one in versions:
        if one.in_tree and (mode == "all" or (mode == "latest" and one.latest)):
            yield from _findings(folder, one)


def _findings(folder: DataFolder, one: StoredVersion) -> Iterator[Finding]:
    path = folder.root / one.file_path
    checksum = path.with_name("checksum.sha256")
    try:
        recorded = checksum.read_text(encoding="utf-8").split()[0]
        if not _is_link_to_segment(folder, one, path) and file_sha256(path.resolve()) != recorded:
            yield Finding(code="tree_damaged", path=one.file_path, message="The file does not hash to its checksum.sha256.")
    except (OSError, IndexError, ValueError) as error:
        yield Finding(code="tree_missing", path=one.file_path, message=f"The tree does not show this version: {error}.")


def _is_link_to_segment(folder: DataFolder, one: StoredVersion, path: Path) -> bool:
    segment = folder.segment(one.place.segment_sha256)
    return segment.exists() and path.stat().st_ino == segment.stat().st_ino
