"""The documentation tree: versions as plain files for other programs. Derived from the catalogue and rebuildable.

``documentation/{library}/{version}`` is a link to a generation, a folder that never changes; switching the link shows other
content in one step. ``latest`` is a link to a version.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import orjson

from models.catalogue import list_libraries, mark_in_tree, outside_tree
from models.database import Database
from models.rows import LibraryRow, StoredVersion
from storage.codecs import encoder_of
from storage.layout import DataFolder
from storage.paths import encode_component
from storage.read import stored_blocks, stream_content
from storage.tidy import mark_superseded
from strongroom import durable

Mode = Literal["all", "latest", "none"]
GENERATIONS = ".generations"
CATCH_UP_VERSIONS = 500
"""Versions that are shown with one barrier."""


class Tree:
    """Shows versions as files. Safe in any number of processes: one at a time catches up, the others leave it the work."""

    def __init__(self, folder: DataFolder, database: Database, mode: Mode) -> None:
        self._folder = folder
        self._database = database
        self._mode = mode

    def catch_up(self) -> int:
        """Show every version that the catalogue has and the tree has not; return how many.

        Returns 0 at once when another process is at it: that one sees what was committed meanwhile.
        """
        shown = 0
        while self.lag():
            with self._only_one() as mine:
                if not mine:
                    return shown
                with self._database.read() as connection:
                    versions = outside_tree(connection, CATCH_UP_VERSIONS)
                self.show(versions)
                shown += len(versions)
        return shown

    def show(self, versions: Sequence[StoredVersion]) -> None:
        """Show versions: write their generations, make them durable with one barrier, then switch the links."""
        if self._mode == "none" or not versions:
            return
        wanted = [one for one in versions if self._mode == "all" or one.latest]
        made = [(one, self._write_generation(one)) for one in wanted]
        with durable.os_errors("cannot write the tree"):
            _sync_file_system(self._folder.documentation)
            for one, part in made:
                self._switch(one, part)
            self._show_latest({one.library_id for one in versions})
        with self._database.write("tree") as connection:
            mark_in_tree(connection, [one.version_id for one in versions])

    def lag(self) -> int:
        """Return how many versions the tree does not show yet; 1,000 stands for that or more."""
        if self._mode == "none":
            return 0
        with self._database.read() as connection:
            return len(outside_tree(connection, 1000))

    def _write_generation(self, one: StoredVersion) -> Path:
        part = self._folder.tmp / f"{secrets.token_hex(8)}.generation"
        with durable.os_errors("cannot write the tree"):
            part.mkdir()
            digest = self._write_document(one, part / "documentation.json.gz")
            (part / "checksum.sha256").write_text(f"{digest}  documentation.json.gz\n", encoding="utf-8")
            (part / "metadata.json").write_bytes(orjson.dumps(_metadata(one, digest), option=orjson.OPT_INDENT_2))
        return part

    def _write_document(self, one: StoredVersion, path: Path) -> str:
        """Write the gzipped document and return its SHA-256: a link when the segment holds it alone, else a copy."""
        place = one.place
        segment = self._folder.segment(place.segment_sha256)
        if place.codec == "gzip" and place.stored_sha256 == place.segment_sha256:
            with contextlib.suppress(OSError):  # another file system, or too many links: a copy does as well
                path.hardlink_to(segment)
                return place.stored_sha256
        if place.codec == "gzip":
            with path.open("wb") as file:
                file.writelines(stored_blocks(self._folder, place))
            return place.stored_sha256
        return self._recompress(one, path)

    def _recompress(self, one: StoredVersion, path: Path) -> str:
        compressor = encoder_of("gzip-fast").stream()
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for piece in stream_content(self._folder, one.place):
                stored = compressor.compress(piece)
                digest.update(stored)
                file.write(stored)
            last = compressor.flush()
            digest.update(last)
            file.write(last)
        return digest.hexdigest()

    def _switch(self, one: StoredVersion, part: Path) -> None:
        link = (self._folder.root / one.file_path).parent
        generation = link.parent / GENERATIONS / f"{link.name}.{one.version_id}"
        generation.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.rename(generation)
        except OSError:  # it is there: another process shows it too, or a run died before it could say so
            if not generation.is_dir():
                raise
            shutil.rmtree(part)
        old = link.parent / link.readlink() if link.is_symlink() else None
        if old is not None and old.name > generation.name:
            return  # a later revision is shown already: version ids grow with time
        _relink(link, f"{GENERATIONS}/{generation.name}")
        if old is not None and old != generation and old.is_dir():
            mark_superseded(self._folder, old)

    def _show_latest(self, library_ids: Iterable[str]) -> None:
        with self._database.read() as connection:
            libraries = list(list_libraries(connection, sorted(set(library_ids))))
        for library in libraries:
            folder = self._folder.documentation / encode_component(library.library_id)
            component = encode_component(library.latest_version)
            folder.mkdir(parents=True, exist_ok=True)
            _replace_file(folder / "metadata.json", orjson.dumps(_library_metadata(library), option=orjson.OPT_INDENT_2))
            if (folder / component).is_symlink():
                _relink(folder / "latest", component)
            if self._mode == "latest":
                _hide_others(folder, {component, "latest"})

    @contextmanager
    def _only_one(self) -> Iterator[bool]:
        """Yield whether this process has the tree to itself."""
        descriptor = os.open(self._folder.metadata / "tree.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def _metadata(one: StoredVersion, digest: str) -> dict[str, object]:
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


def _library_metadata(library: LibraryRow) -> dict[str, object]:
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


def _replace_file(path: Path, data: bytes) -> None:
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    part.write_bytes(data)
    part.rename(path)


def _relink(link: Path, target: str) -> None:
    """Point a link elsewhere in one step: a reader sees the old or the new."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    part = link.with_name(f".{secrets.token_hex(8)}.part")
    part.symlink_to(target)
    part.rename(link)


def _hide_others(folder: Path, shown: set[str]) -> None:
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name not in shown and not entry.name.startswith("."):
            entry.unlink()


def _sync_file_system(folder: Path) -> None:
    """Make everything written to this file system durable: one barrier in place of an fsync a file (syncfs(2))."""
    durable.step("tree: sync")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:  # not Linux
            os.sync()
        elif syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
