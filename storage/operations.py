"""What a manager can do, each operation once: plain functions that raise typed errors. The faces run them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.catalogue import list_libraries as rows_of_libraries
from models.names import real_name
from models.rows import LibraryRow
from storage.deposits import Content, Deposit
from storage.info import StorageStats, VersionInfo, library_stats, total_stats
from storage.intake import Incoming
from storage.parsing import parse_document
from storage.paths import LATEST
from storage.room import Room
from strongroom.contracts import DocumentReceipt, ErrorInfo, IfExists, VerifyReceipt
from strongroom.errors import InvalidRequest, NotFound, StorageError
from strongroom.result import Problem


def initialize(room: Room) -> None:
    """Make the data folder and its catalogue, or complete and use what is there. Called twice it does nothing.

    Raises:
        DataFolderError: a newer release made it, or the folder holds other things.
        PermissionRefused: it cannot be written.
    """
    room.open()


def store_documentation(
    room: Room,
    library_id: str,
    version: str,
    content: Content,
    metadata: Mapping[str, Any] | None = None,
    *,
    sort_as: str | None = None,
    if_exists: IfExists = "revise",
    source: str | None = None,
) -> str:
    """Store a document durably and return the path of the gzipped file that other programs read.

    ``content`` is an object, JSON text, bytes (JSON or gzip of it) or a path; a ``str`` is text, never a path. The path is the
    version's in the tree; where the tree shows none (its mode says so), it is the segment that holds the document. Other content
    of a version that is there is a new revision, unless ``if_exists`` is "refuse"; the same content changes nothing.

    Raises:
        InvalidDocument: it is no document.
        InvalidIdentifier, InvalidRequest: the library id, the version or an option cannot be.
        VersionExists: it is stored with other content, and ``if_exists`` is "refuse".
        NotFound: there is no such file.
        Transient: waiting can heal it; calling again is safe.
    """
    deposit = Deposit(content, library_id, version, metadata, sort_as, if_exists, source)
    receipt = room.store(deposit.incoming(room.limits))
    if receipt.error is not None:
        raise error_of(receipt.error)
    return str(room.path_of(library_id, version))


def store_many(room: Room, deposits: Iterable[Deposit]) -> list[DocumentReceipt]:
    """Store documents with one durability barrier and one commit; return a receipt for each, in order.

    A document that cannot be stored has a receipt that says ``failed`` and why, and harms no other. All deposits are held at
    once: of files the small ones whole, the large ones (4 MiB and more) by their path.

    Raises:
        Transient: nothing of the batch is stored; calling again is safe.
    """
    receipts: list[DocumentReceipt | None] = []
    documents: list[Incoming] = []
    for deposit in deposits:
        try:
            documents.append(deposit.incoming(room.limits))
            receipts.append(None)
        except StorageError as error:
            failure = ErrorInfo.of(Problem.of(error))
            receipts.append(DocumentReceipt(name=deposit.label, status="failed", error=failure))
    stored = iter(room.store_all(documents))
    return [receipt or next(stored) for receipt in receipts]


def get_documentation(room: Room, library_id: str, version: str = LATEST) -> dict[str, Any]:
    """Return a document as the object that it is, its bytes verified first.

    Raises:
        NotFound: it is not stored.
        IntegrityError: what is on disk is not what was stored.
        LimitExceeded: it holds an integer of more than 100,000 digits; its bytes can be had.
    """
    return parse_document(get_documentation_bytes(room, library_id, version))


def get_documentation_bytes(room: Room, library_id: str, version: str = LATEST) -> bytes:
    """Return a document's plain bytes, verified, exactly as they came in (of gzip what it unpacked to).

    Raises:
        NotFound, IntegrityError: as ``get_documentation``.
    """
    return room.engine.read(library_id, version)


def stream_documentation(room: Room, library_id: str, version: str = LATEST) -> Iterator[bytes]:
    """Yield a document's plain bytes in verified pieces of at most 1 MiB, in constant memory.

    Raises:
        NotFound: before the first piece.
        IntegrityError: when the damaged block is reached; nothing of it has been yielded.
    """
    return room.engine.stream(library_id, version)


def list_libraries(room: Room) -> Iterator[str]:
    """Yield the ids of the libraries, by name."""
    return (library.library_id for library in room.engine.libraries())


def list_versions(room: Room, library_id: str) -> list[VersionInfo]:
    """Return the current versions of a library, the newest release first.

    Raises:
        NotFound: no such library.
    """
    versions = room.engine.versions(library_id)
    if not versions:
        raise NotFound(f"{library_id} is not stored.")
    return [VersionInfo.of(one) for one in versions]


def get_library(room: Room, library_id: str) -> LibraryRow:
    """Return what is known of a library: what its documents say, and its sums.

    Raises:
        NotFound: no such library.
    """
    with room.engine.database.read() as connection:
        found = next(rows_of_libraries(connection, [real_name(connection, library_id)]), None)
    if found is None:
        raise NotFound(f"{library_id} is not stored.")
    return found


def get_storage_stats(room: Room, library_id: str | None = None) -> StorageStats:
    """Return counts and sizes of everything, or of one library. ``compression_ratio`` is 1 - stored / plain.

    Raises:
        NotFound: no such library.
    """
    return total_stats(room.engine.totals()) if library_id is None else library_stats(get_library(room, library_id))


def verify_integrity(room: Room, library_id: str | None = None, version: str | None = None) -> VerifyReceipt:
    """Read what is stored again and compare: everything, a library, or one version. Repairs nothing.

    Raises:
        NotFound: no such library or version.
        InvalidRequest: a version without its library.
    """
    if library_id is None and version is not None:
        raise InvalidRequest("A version is named without its library.", "Name the library, too.")
    return room.engine.verify(library_id, version)


def error_of(info: ErrorInfo) -> StorageError:
    """Return the error that a receipt tells of, in the class that its code names."""
    kinds: list[type[StorageError]] = [StorageError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    kind = next((one for one in kinds if one.code == info.code), StorageError)
    return kind(info.message, info.hint, info.context)
