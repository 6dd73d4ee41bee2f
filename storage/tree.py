"""The documentation tree: versions as plain files for other programs. Derived from the catalogue and rebuildable.

``documentation/{library}/{version}`` is a link to a generation, a folder that never changes; switching the link shows other
content in one step. ``latest`` is a link to a version.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from models.catalogue import list_libraries, mark_in_tree, outside_tree, still_current
from models.database import Database
from models.history import current_versions
from models.removal import mark_hidden, still_shown
from models.rows import LibraryRow, StoredVersion
from storage.generation import WriteGenerations, as_json, library_metadata, write_behind_others, write_generations
from storage.layout import DataFolder
from storage.paths import LATEST, encode_component
from storage.tidy import mark_superseded
from storage.treenames import link_aliases, unlink_former
from storage.treesync import GENERATIONS, sync_file_system, sync_folders
from strongroom import durable

Mode = Literal["all", "latest", "none"]
MODES: tuple[Mode, ...] = ("all", "latest", "none")
CATCH_UP_VERSIONS = 500
"""Versions that are shown with one barrier."""


class Tree:
    """Shows versions as files. Safe in any number of processes: one at a time catches up, the others leave it the work."""

    def __init__(self, folder: DataFolder, database: Database, mode: Mode) -> None:
        self._folder = folder
        self._database = database
        self._mode = mode

    @property
    def mode(self) -> Mode:
        """What it shows."""
        return self._mode

    def catch_up(self) -> int:
        """Show every version that the catalogue has and the tree has not; return how many. What is damaged is passed over.

        What was removed is hidden first. Returns 0 at once when another process is at it: that one sees what was committed
        meanwhile.
        """
        self.hide()
        shown = 0
        passed_over: set[str] = set()
        # Looked at without the lock, too: what is committed between the last look and the unlocking belongs to somebody.
        while self._waiting(passed_over):
            with self._lock("tree.lock", wait=False) as mine:
                if not mine:
                    return shown
                versions = self._waiting(passed_over)
                done = self._show(versions, write_behind_others)
                shown += len(done)
                passed_over |= {one.version_id for one in versions} - done
        follow = unlink_former if self._mode == "none" else link_aliases
        with durable.os_errors("cannot write the tree"), self._lock("tree.switch.lock", wait=True):
            follow(self._folder, self._database)
        return shown

    def show(self, versions: Sequence[StoredVersion]) -> set[str]:
        """Show versions; return the ids of those that need not be shown again. Damaged ones are not among them.

        Their generations are written and made durable with one barrier, then their links are switched and made durable.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; some may be shown, none is marked so.
        """
        return self._show(versions, write_generations)

    def _show(self, versions: Sequence[StoredVersion], write: WriteGenerations) -> set[str]:
        if self._mode == "none" or not versions:
            return set()
        made = write(self._folder, [one for one in versions if self._mode == "all" or one.latest])
        try:
            with durable.os_errors("cannot write the tree"):
                self._switch_all(versions, made.parts)
        finally:
            made.remove()
        done = {one.version_id for one in versions} - made.damaged  # reading those says so, and verify reports them
        with self._database.write("tree") as connection:
            mark_in_tree(connection, done)
        return done

    def hide(self) -> int:
        """Take what was removed out of the tree; return how many versions that were. Their files go after the grace period.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on with it.
        """
        hidden = 0
        while removed := self._to_hide():
            if self._mode != "none":
                with durable.os_errors("cannot write the tree"):
                    self._hide_all({path: library_id for _, library_id, path in removed})
            with self._database.write("tree") as connection:
                mark_hidden(connection, [version_id for version_id, _, _ in removed])
            hidden += len(removed)
        return hidden

    def narrow(self) -> None:
        """Take out of the tree, library by library, what this mode does not show; ``latest`` stays readable all the while.

        A library whose latest version is not shown yet keeps what it shows until it is. Durable on return.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on with it.
        """
        with self._database.read() as connection:
            libraries = list(list_libraries(connection))
        with durable.os_errors("cannot write the tree"), self._lock("tree.switch.lock", wait=True):
            for library in libraries:
                self._show_library(library)
            sync_file_system(self._folder.documentation)

    def lag(self) -> int:
        """Return how many versions the tree does not show yet; 1,000 stands for that or more."""
        if self._mode == "none":
            return 0
        with self._database.read() as connection:
            return len(outside_tree(connection, 1000))

    def _waiting(self, passed_over: set[str]) -> list[StoredVersion]:
        if self._mode == "none":
            return []
        with self._database.read() as connection:
            versions = outside_tree(connection, CATCH_UP_VERSIONS + len(passed_over))
        return [one for one in versions if one.version_id not in passed_over][:CATCH_UP_VERSIONS]

    def _switch_all(self, versions: Sequence[StoredVersion], made: Sequence[tuple[StoredVersion, Path]]) -> None:
        durable.make_folder(self._folder.documentation, "tree")  # it is derived: whoever removed it gets it anew
        sync_file_system(self._folder.documentation)
        with self._lock("tree.switch.lock", wait=True):
            unlink_former(self._folder, self._database)
            # What another process committed and showed meanwhile must not be switched back.
            with self._database.read() as connection:
                current = still_current(connection, (one.version_id for one, _ in made))
                libraries = list(list_libraries(connection, sorted({one.library_id for one in versions})))
            for one, part in made:
                if one.version_id in current:
                    self._switch(one, part)
            for library in libraries:
                self._show_library(library)
        sync_folders(self._folder.documentation, {encode_component(library.library_id) for library in libraries})

    def _to_hide(self) -> list[tuple[str, str, str]]:
        with self._database.read() as connection:
            return still_shown(connection, CATCH_UP_VERSIONS)

    def _hide_all(self, removed: Mapping[str, str]) -> None:
        """Take versions, given by path and library, out of the tree, but not those that were stored anew meanwhile."""
        with self._lock("tree.switch.lock", wait=True):
            with self._database.read() as connection:
                current = current_versions(connection, removed)
                libraries = list(list_libraries(connection, sorted(set(removed.values()))))
            for path in sorted(removed.keys() - current.keys()):
                self._hide((self._folder.root / path).parent)
            for library in libraries:
                self._show_library(library)
        sync_folders(self._folder.documentation, {encode_component(library.library_id) for library in libraries})

    def _switch(self, one: StoredVersion, part: Path) -> None:
        link = (self._folder.root / one.file_path).parent
        # Each time a generation of its own: whatever another run left half done is never shown.
        generation = link.parent / GENERATIONS / f"{link.name}.{one.revision}.{secrets.token_hex(8)}"
        generation.parent.mkdir(parents=True, exist_ok=True)
        durable.rename(part, generation, "generation")
        old = _target(link)
        self._relink(link, f"{GENERATIONS}/{generation.name}")
        if old is not None:
            mark_superseded(self._folder, old)

    def _show_library(self, library: LibraryRow) -> None:
        folder = self._folder.documentation / encode_component(library.library_id)
        latest = encode_component(library.latest_version)
        folder.mkdir(parents=True, exist_ok=True)
        self._replace_file(folder / "metadata.json", as_json(library_metadata(library)))
        if not library.total_versions:
            self._hide(folder / LATEST)
        elif (folder / latest).is_symlink():
            self._relink(folder / LATEST, latest)
            if self._mode == "latest":
                self._hide_others(folder, {latest, LATEST})

    def _hide_others(self, folder: Path, shown: set[str]) -> None:
        for link in folder.iterdir():
            if link.name not in shown and not link.name.startswith("."):
                self._hide(link)

    def _hide(self, link: Path) -> None:
        old = _target(link)
        if old is not None:
            durable.step("tree: hide")
            link.unlink()
            if link.name != LATEST:
                mark_superseded(self._folder, old)

    def _replace_file(self, path: Path, data: bytes) -> None:
        with self._part() as part:
            part.write_bytes(data)
            with suppress(OSError):  # a name that lives on: replacing a file then frees nothing (strongroom/disposal.py says why)
                (self._folder.trash / f"{part.stem}.replaced").hardlink_to(path)
            durable.rename(part, path, "tree file")

    def _relink(self, link: Path, target: str) -> None:
        """Point a link elsewhere in one step: a reader sees the old or the new."""
        if link.is_symlink() and str(link.readlink()) == target:
            return
        with self._part() as part:
            part.symlink_to(target)
            durable.rename(part, link, "tree link")

    @contextmanager
    def _part(self) -> Iterator[Path]:
        part = self._folder.tmp / f"{secrets.token_hex(8)}.part"
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Yield whether this process has the lock; with ``wait`` it always does."""
        with durable.os_errors("cannot lock the tree"):
            descriptor = os.open(self._folder.metadata / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)


def _target(link: Path) -> Path | None:
    return link.parent / link.readlink() if link.is_symlink() else None
