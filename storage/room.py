"""A data folder in use by this process: its engine, from ``initialize`` to ``close``, and how documents go into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from models.catalogue import unshown
from storage.engine import Engine, Options
from storage.gathering import Gathering
from storage.generation import DOCUMENT_ZSTD
from storage.intake import Incoming
from storage.layout import DataFolder
from storage.limits import Limits
from storage.paths import tree_path
from storage.treemode import shown_mode
from strongroom.contracts import DocumentReceipt
from strongroom.errors import DataFolderError, StorageError


class Room:
    """What every face of a manager shares. Calls may come from any thread; a forked child makes its own."""

    def __init__(self, base_path: str | os.PathLike[str], options: Options | None = None) -> None:
        self.root = Path(base_path).absolute()
        self._options = options
        self._engine: Engine | None = None
        self._opening = Lock()
        self._gathering = Gathering(self.store_all)

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            DataFolderError: ``initialize`` has not been called, or ``close`` has.
        """
        if self._engine is None:
            raise DataFolderError(f"The manager of {self.root} is not in use.", "Call initialize() first; after close(), again.")
        return self._engine

    @property
    def limits(self) -> Limits:
        """What a document may be."""
        return self.engine.options.limits

    def open(self) -> None:
        """Make the data folder, or complete one that is there, and use it. Called twice it does nothing.

        Without options the tree goes on as the folder has it; a mode that was asked for and is another one is built at once.

        Raises:
            DataFolderError: a newer release made it, or it holds other things.
            PermissionRefused: it cannot be written.
            ConfigurationError: an option that cannot be.
        """
        with self._opening:
            if self._engine is None:
                before = shown_mode(DataFolder(self.root), "all")
                engine = Engine(self.root, self._options or Options(tree=before))
                try:
                    engine.create()
                    if engine.options.tree != before:
                        engine.tree.catch_up()
                except BaseException:
                    engine.close()
                    raise
                self._engine = engine

    def close(self) -> None:
        """Write how often what was read, and let go of the catalogue. Not while other threads are at work."""
        with self._opening:
            engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            if engine.accesses:
                with suppress(StorageError), engine.database.write("accesses") as connection:
                    engine.accesses.flush_access(connection)
        finally:
            engine.close()

    def store(self, document: Incoming) -> DocumentReceipt:
        """Store a document and show it in the tree, together with others that come at the same time.

        What is streamed goes alone: nobody waits for a large document, and its source may fail.
        """
        if document.claimed_bytes > self.limits.whole_bytes:
            return self.store_all([document])[0]
        return self._gathering.store(document)

    def store_all(self, documents: Sequence[Incoming]) -> list[DocumentReceipt]:
        """Store documents with one barrier and one commit, and show them in the tree.

        Raises:
            Transient: as ``Engine.store``.
        """
        receipts = self.engine.store(documents)
        self._show(receipts)
        return receipts

    def _show(self, receipts: Sequence[DocumentReceipt]) -> None:
        """Show what is stored and not shown: a version that an earlier run stored may still be missing."""
        paths = {tree_path(one.library_id, one.version) for one in receipts if one.library_id and one.version}
        if paths and self.engine.options.tree != "none":
            with self.engine.database.read() as connection:
                versions = unshown(connection, paths)
            self.engine.tree.show(versions)

    def path_of(self, library_id: str, version: str) -> Path:
        """Return the file that other programs read: the tree's; the segment that holds the version when the tree has none."""
        path = self.engine.folder.root / tree_path(self.engine.real_name(library_id), version)
        for shown in (path, path.with_name(DOCUMENT_ZSTD)):
            if shown.exists():
                return shown
        return self.engine.folder.segment(self.engine.find(library_id, version).place.segment_sha256)
