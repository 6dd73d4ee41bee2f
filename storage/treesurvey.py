"""Survey of the tree: its links and what its metadata says, held against the catalogue. The bytes are verify's matter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from models.catalogue import list_libraries, list_versions
from models.database import Database
from models.findings import Observation
from models.names import list_aliases, unlinked_aliases
from models.removal import still_shown
from models.rows import StoredVersion
from storage.generation import CHECKSUM, METADATA
from storage.layout import DataFolder
from storage.paths import LATEST, encode_component
from storage.tree import Mode
from storage.treecheck import is_shown
from storage.treenames import lost_links
from strongroom import durable

_MANY = 1_000_000


def survey_tree(folder: DataFolder, database: Database, mode: Mode) -> Iterator[Observation]:
    """Yield what the tree lacks, shows wrongly or too much."""
    with database.read() as connection:
        libraries = [(one.library_id, one.latest_version) for one in list_libraries(connection)]
        named = {encode_component(one.alias) for one in (*list_aliases(connection), *unlinked_aliases(connection))}
        going = {Path(path).parent for _, _, path in still_shown(connection, _MANY)}
    for library_id, latest in libraries:
        with database.read() as connection:
            versions = list(list_versions(connection, library_id))
        for one in _library(folder, library_id, latest, versions, mode):
            if one.code != "tree_extra" or Path(one.path) not in going:
                yield one
    for alias in lost_links(folder, database):
        where = f"documentation/{encode_component(alias.alias)}"
        yield Observation("tree_out_of_step", alias.alias, where, f"The alias does not lead to {alias.library_id}.")
    yield from _unknown_libraries(folder, {encode_component(library_id) for library_id, _ in libraries} | named)


def _library(
    folder: DataFolder, library_id: str, latest: str, versions: list[StoredVersion], mode: Mode
) -> Iterator[Observation]:
    home = folder.documentation / encode_component(library_id)
    shown = [one for one in versions if is_shown(one, mode)]
    for one in shown:
        yield from _version(folder, one)
    if any(one.version == latest for one in shown):
        yield from _latest(folder, home, library_id, latest)
    due = {encode_component(one.version) for one in versions if is_shown(one, mode) or not one.in_tree}
    for link in _links(home):
        if link.name not in due and link.name != LATEST and versions:
            yield Observation("tree_extra", library_id, folder.relative(link), "The tree shows a version that is not stored.")


def _version(folder: DataFolder, one: StoredVersion) -> Iterator[Observation]:
    subject = f"{one.library_id} {one.version}"
    path = folder.root / one.file_path
    link = path.parent
    if not link.is_symlink():
        yield Observation("tree_missing", subject, one.file_path, "The tree does not show this version.")
    elif not link.exists():
        yield Observation("stale_link", subject, folder.relative(link), "The link points at nothing.")
    elif not path.exists() or not (link / CHECKSUM).exists():
        yield Observation("tree_missing", subject, one.file_path, "A file of this version is not there.")
    else:
        told = _metadata(link / METADATA)
        if told is None:
            yield Observation("tree_damaged", subject, one.file_path, f"Its {METADATA} is damaged or not there.")
        elif told.get("content_sha256") != one.place.content_sha256 or told.get("version") != one.version:
            yield Observation("tree_out_of_step", subject, one.file_path, "The tree shows another content than the catalogue.")


def _latest(folder: DataFolder, home: Path, library_id: str, latest: str) -> Iterator[Observation]:
    link = home / LATEST
    target = str(link.readlink()) if link.is_symlink() else None
    if target is None:
        yield Observation("tree_missing", library_id, folder.relative(link), "The link `latest` is not there.")
    elif target != encode_component(latest):
        yield Observation("tree_out_of_step", library_id, folder.relative(link), f"`latest` should be {latest}.")
    if _metadata(home / METADATA) is None:
        where = folder.relative(home / METADATA)
        yield Observation("tree_damaged", library_id, where, "The library's metadata is damaged or not there.")


def _unknown_libraries(folder: DataFolder, known: set[str]) -> Iterator[Observation]:
    with durable.os_errors("cannot look at the tree"):
        names = sorted(os.listdir(folder.documentation)) if folder.documentation.is_dir() else []
    for name in names:
        if name not in known and next(_links(folder.documentation / name), None) is not None:
            where = f"documentation/{name}"
            yield Observation("tree_extra", "", where, "The tree shows a library that is not stored.")


def _links(home: Path) -> Iterator[Path]:
    if home.is_dir():
        yield from (path for path in sorted(home.iterdir()) if path.is_symlink())


def _metadata(path: Path) -> dict[str, object] | None:
    try:
        told = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
