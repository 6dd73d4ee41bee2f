"""The engine: one data folder, one catalogue, every operation. Synchronous; ``StorageManager`` is its async face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from models.catalogue import find_place, find_version, list_libraries, list_versions, totals, unshown
from models.database import Database
from models.migrate import check_revision, upgrade
from models.names import real_name
from models.rows import LibraryRow, StoredVersion
from storage.codecs import encoder_of
from storage.equipment import Equipment
from storage.fetches import Fetches
from storage.layout import DataFolder
from storage.limits import Limits
from storage.paths import LATEST, tree_path
from storage.progress import Progress, silent
from storage.quotas import Quotas
from storage.switch import refuse_without_catalogue
from storage.watermarks import Watermarks
from strongroom.errors import IntegrityError, NotFound, StorageError

if TYPE_CHECKING:
    from storage.intake import Incoming
    from storage.rollback import Rollback
    from storage.store import Record
    from storage.trail import Actor
    from storage.tree import Mode
    from storage.versions import Changed
    from strongroom.contracts import DocumentReceipt, VerifyReceipt


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine works. ``database_url`` None means SQLite in the data folder."""

    database_url: str | None = None
    codec: str = "gzip-fast"
    tree: Mode = "all"
    limits: Limits = field(default_factory=Limits)
    mend_reads: bool = True
    """Whether a read that finds damage repairs it on the spot, where a good source exists."""
    fetches: Fetches = field(default_factory=Fetches)
    """Sources of a repair beyond the data folder."""
    reserve_bytes: int | None = None
    """What jobs leave free on the disk; None: see storage/governor.py."""
    quotas: Quotas = field(default_factory=Quotas)
    watermarks: Watermarks = field(default_factory=Watermarks)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over everything stored, in bytes; current revisions only."""

    libraries: int
    versions: int
    size_bytes: int
    stored_bytes: int

    @property
    def compression_ratio(self) -> float:
        """1 - stored / plain; 0.0 for nothing stored."""
        return 1 - self.stored_bytes / self.size_bytes if self.size_bytes else 0.0


class Engine(Equipment):
    """Stores, reads and verifies documents in one data folder.

    Belongs to one process: open it after a fork. Any number of processes may have engines on one folder.
    """

    def __init__(self, root: Path, options: Options | None = None) -> None:
        """Take a data folder. Touches nothing; ``create`` or ``open`` does.

        Raises:
            ConfigurationError: an option that cannot be.
        """
        options = options or Options()
        folder = DataFolder(root.absolute())
        encoder = encoder_of(options.codec)
        database = Database(options.database_url or f"sqlite:///{folder.metadata / 'catalogue.db'}")
        super().__init__(replace(folder, find_place=partial(find_place, database)), database, options, encoder)

    def create(self) -> Self:
        """Make the data folder and bring its catalogue to this release; complete one that is there.

        Raises:
            DataFolderError: a newer release made it, the folder holds other things, or documents whose catalogue is lost.
            PermissionRefused: it cannot be written.
        """
        from storage.treemode import adopt_mode  # noqa: PLC0415 - see storage/equipment.py

        self.folder.create()
        refuse_without_catalogue(self.folder, self.database)
        upgrade(self.database)
        adopt_mode(self.folder, self.database, self.options.tree)
        return self

    def open(self) -> Self:
        """Use a data folder that is there.

        Raises:
            DataFolderError: it is none, it or its catalogue is not of this release, or its catalogue is lost.
        """
        self.folder.check()
        refuse_without_catalogue(self.folder, self.database)
        check_revision(self.database)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def store(self, documents: Sequence[Incoming], record: Record | None = None) -> list[DocumentReceipt]:
        """Store documents durably; see ``Storing.store``. The tree follows by ``tree.catch_up``."""
        return self._storing.store(documents, record)

    def show(self, receipts: Sequence[DocumentReceipt]) -> None:
        """Put the stored ones of a few documents into the tree now, without waiting for its turn."""
        stored = [one for one in receipts if one.status == "stored"]
        self._show({tree_path(one.library_id, one.version) for one in stored if one.library_id and one.version})

    def _show(self, paths: set[str]) -> None:
        if paths and self.tree.mode != "none":
            with self.database.read() as connection:
                versions = unshown(connection, paths)
            self.tree.show(versions)

    def rollback(self, library_id: str, version: str, actor: Actor, to: int | None = None) -> Rollback:
        """Go back to an older state, mended if need be, and show it in the tree; see ``storage.rollback.rollback``."""
        from storage.rollback import rollback  # noqa: PLC0415 - see storage/equipment.py

        try:
            done = rollback(self.archive, library_id, version, actor, to, self.allowance)
        except IntegrityError:
            if self.options.mend_reads:
                with suppress(StorageError):  # then what is damaged is what there is to say
                    self.repair.verify((self.real_name(library_id), version), by=actor.by)
            done = rollback(self.archive, library_id, version, actor, to, self.allowance)
        self._show({tree_path(done.library_id, done.version)})
        return done

    def follow_newest(self, library_id: str, actor: Actor) -> Changed:
        """Have ``latest`` mean the newest version again, in the tree too; see ``storage.rollback.follow_newest``."""
        from storage.rollback import follow_newest  # noqa: PLC0415 - see storage/equipment.py

        done = follow_newest(self.archive, library_id, actor)
        self._show({tree_path(done.library_id, done.version)})
        return done

    def find(self, library_id: str, version: str | None = None) -> StoredVersion:
        """Return the current revision of a version; of the latest when ``version`` is None or ``latest``.

        A label does for a version, where no version has that name.

        Raises:
            NotFound: it is not stored.
        """
        from models.curation import find_label  # noqa: PLC0415 - see storage/equipment.py

        path = None if version in {None, LATEST} else tree_path(library_id, str(version))
        with self.database.read() as connection:
            found = find_version(connection, library_id, path)
            if found is None and path is not None and (labelled := find_label(connection, library_id, str(version))):
                found = find_version(connection, library_id, tree_path(library_id, labelled))
            real = library_id if found is not None else real_name(connection, library_id)
        if real != library_id:
            return self.find(real, version)
        if found is None:
            raise NotFound(f"{library_id} {version or ''}".strip() + " is not stored.")
        return found

    def real_name(self, library_id: str) -> str:
        """Return the id of the library that a name means: itself, unless it is an alias."""
        with self.database.read() as connection:
            return real_name(connection, library_id)

    def read(self, library_id: str, version: str | None = None) -> bytes:
        """Return a document's plain bytes as they came in, verified. What is damaged is repaired first where that can be.

        Raises:
            NotFound: it is not stored.
            IntegrityError: what is on disk is not what was stored, and no good copy of it was found.
        """
        return self.reader.read(self._wanted(library_id, version), partial(self.find, library_id, version))

    def stream(self, library_id: str, version: str | None = None) -> Iterator[bytes]:
        """Yield a document's plain bytes, verified, in constant memory.

        Raises:
            NotFound, IntegrityError: as ``read``; a damaged block ends the stream before anything of it is yielded.
        """
        return self.reader.stream(self._wanted(library_id, version), partial(self.find, library_id, version))

    def _wanted(self, library_id: str, version: str | None) -> StoredVersion:
        """Return what is to be read, and count the read: in memory, whoever has a heartbeat writes the counts."""
        found = self.find(library_id, version)
        self.accesses.note(found.version_id)
        return found

    def versions(self, library_id: str | None = None) -> list[StoredVersion]:
        """Return the current versions, libraries by name, versions newest first."""
        with self.database.read() as connection:
            return list(list_versions(connection, library_id and real_name(connection, library_id)))

    def libraries(self) -> list[LibraryRow]:
        """Return the libraries by name."""
        with self.database.read() as connection:
            return list(list_libraries(connection))

    def totals(self) -> Totals:
        """Return sums over everything."""
        with self.database.read() as connection:
            return Totals(*totals(connection))

    def verify(self, library_id: str | None = None, version: str | None = None, progress: Progress = silent) -> VerifyReceipt:
        """Read stored bytes again and compare; see ``storage.verify.verify``. What is found in everything is kept as findings."""
        from storage.treemode import shown_mode  # noqa: PLC0415 - see storage/equipment.py
        from storage.verify import verify  # noqa: PLC0415 - the same

        mode = shown_mode(self.folder, self.options.tree)
        return self._kept(library_id, verify(self.folder, self.database, mode, self._subject(library_id, version), progress))

    def verify_and_repair(
        self, library_id: str | None = None, version: str | None = None, progress: Progress = silent, by: str = "person"
    ) -> VerifyReceipt:
        """Verify, and repair what is damaged where a good source exists; see ``storage.repair.Repair.verify``."""
        return self._kept(library_id, self.repair.verify(self._subject(library_id, version), progress, by))

    def _kept(self, library_id: str | None, receipt: VerifyReceipt) -> VerifyReceipt:
        from storage.findings import keep_verification  # noqa: PLC0415 - see storage/equipment.py

        if library_id is not None:
            return receipt
        return keep_verification(self.folder, self.database, receipt, datetime.now(UTC))

    def _subject(self, library_id: str | None, version: str | None) -> tuple[str | None, str | None]:
        if library_id is not None and version == LATEST:
            version = self.find(library_id).version
        return library_id and self.real_name(library_id), version
