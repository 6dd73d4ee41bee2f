"""The inbox: where a producer stages documents, many to a file, and where the receipts come back.

An inbox file is ``documents... | manifest (JSON) | footer``; the footer is the manifest's length (8 bytes, big-endian), its
SHA-256 (32 bytes) and the magic ``SRINBOX1``. A file ``{request_id}.inbox`` with a footer that holds is an accepted job.
A ``*.part`` file is not: its writer died, and it is swept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import ValidationError

from strongroom import durable
from strongroom.contracts import DocumentOptions, Manifest, StagedDocument, StoreReceipt
from strongroom.disposal import dispose
from strongroom.errors import PayloadDamaged
from strongroom.extents import Extent, open_regular
from strongroom.numbering import lowest_contract, refuse_newer
from strongroom.routes import Priority

MAGIC = b"SRINBOX1"
FOOTER_BYTES = 8 + 32 + len(MAGIC)
PIECE_BYTES = 1 << 20
RECEIPTS = "receipts"


def new_request_id() -> str:
    """Return an id that no other call returns; ids sort by the time they were made."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


class InboxWriter:
    """Stages documents in one inbox file. Nothing is accepted before ``commit`` returns; after it, all is.

    Constant memory: documents are copied in pieces of 1 MiB.
    """

    def __init__(
        self, inbox: Path, request_id: str | None = None, *, receipt: bool = False, priority: Priority = "normal"
    ) -> None:
        self.request_id = request_id or new_request_id()
        self.path = inbox / f"{self.request_id}.inbox"
        self._receipt, self._priority = receipt, priority
        self._documents: list[StagedDocument] = []
        self._offset = 0
        self._part = inbox / f"{self.request_id}.{secrets.token_hex(4)}.part"
        with durable.os_errors("cannot stage in the inbox"):
            durable.make_folder(inbox, "inbox")
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._file = open(descriptor, "wb", buffering=PIECE_BYTES)  # noqa: SIM115 - closed by commit or abort

    @property
    def staged_bytes(self) -> int:
        """How many bytes of documents have been staged so far."""
        return self._offset

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, source: bytes | BinaryIO, name: str = "", options: DocumentOptions | None = None) -> None:
        """Copy one document, plain or gzipped as it is, behind the others.

        Raises:
            DiskFull, PermissionRefused, TransientIO: the operating system refused.
        """
        digest = hashlib.sha256()
        length = 0
        try:
            for piece in _pieces(source):
                digest.update(piece)
                length += len(piece)
                self._file.write(piece)
        except BaseException:
            self._rewind()
            with durable.os_errors(f"cannot stage {name or 'the document'}"):  # what it costs is paid by the one that fails
                raise
        said = options.model_dump(exclude_defaults=True) if options is not None else {}
        staged = StagedDocument(**said, name=name, offset=self._offset, length=length, sha256=digest.hexdigest())
        self._documents.append(staged)
        self._offset += length

    def _rewind(self) -> None:
        """Forget the beginning of a document whose source failed: the next one stands in its place."""
        try:
            self._file.seek(self._offset)
            self._file.truncate()
        except OSError:
            self.abort()  # a commit then fails: the file is closed

    def commit(self) -> Path:
        """Write the manifest and make the file durable under its final name: now the job is accepted.

        Raises:
            DiskFull, PermissionRefused, TransientIO: the operating system refused; nothing was accepted.
        """
        manifest = Manifest(
            contract=lowest_contract(self._priority),
            request_id=self.request_id,
            receipt=self._receipt,
            priority=self._priority,
            documents=self._documents,
        )
        body = manifest.model_dump_json(exclude_defaults=True).encode()
        with durable.os_errors("cannot stage in the inbox"):
            durable.step("inbox: write manifest")
            self._file.write(body + len(body).to_bytes(8, "big") + hashlib.sha256(body).digest() + MAGIC)
            self._file.flush()
            durable.fsync_file(self._file.fileno(), "inbox")
            self._file.close()
            durable.rename(self._part, self.path, "inbox")
            durable.fsync_folder(self.path.parent, "inbox")
        return self.path

    def abort(self) -> None:
        """Remove what was staged; harmless after ``commit``."""
        with contextlib.suppress(OSError):  # closing tries to write what a full disk refused before
            self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.abort()


class InboxFile:
    """An accepted job on disk, read through one descriptor, so that a file swapped meanwhile changes nothing.

    Raises:
        PayloadMissing: no such file.
        PayloadDamaged: no footer, a manifest that does not hash to it, or extents outside the file.
        MessageTooNew: its manifest follows a contract that this release does not know.
        TransientIO, PermissionRefused, StorageError: the operating system refused, which says nothing about the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with durable.os_errors(f"cannot read the inbox file {path.name}"):
            self._descriptor = open_regular(path)
            try:
                self.manifest = self._read_manifest()
            except BaseException:
                self.close()
                raise

    def _read_manifest(self) -> Manifest:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size < FOOTER_BYTES:
            raise PayloadDamaged(f"{self.path.name} is no inbox file.")
        footer = os.pread(self._descriptor, FOOTER_BYTES, status.st_size - FOOTER_BYTES)
        length = int.from_bytes(footer[:8], "big")
        start = status.st_size - FOOTER_BYTES - length
        if footer[-len(MAGIC) :] != MAGIC or start < 0:
            raise PayloadDamaged(f"{self.path.name} has no footer: it was cut short.")
        body = os.pread(self._descriptor, length, start)
        if hashlib.sha256(body).digest() != footer[8:40]:
            raise PayloadDamaged(f"The manifest of {self.path.name} does not hash to its recorded digest.")
        try:
            manifest = Manifest.model_validate_json(body)
            refuse_newer(manifest.contract)
        except ValidationError as error:
            refuse_newer(_contract_of(body))
            raise PayloadDamaged(f"The manifest of {self.path.name} does not follow its contract: {error}") from None
        if any(document.offset + document.length > start for document in manifest.documents):
            raise PayloadDamaged(f"The manifest of {self.path.name} names bytes outside the file.")
        return manifest

    def open(self, document: StagedDocument) -> BinaryIO:
        """Return a reader of the document's bytes as staged. Up to 1 MiB is read at once: a buffer takes as much."""
        if document.length <= PIECE_BYTES:
            return io.BytesIO(self.read(document))
        return io.BufferedReader(Extent(self._descriptor, document.offset, document.length), PIECE_BYTES)

    def trailer_if(self, magic: bytes, document: StagedDocument) -> bytes | None:
        """Return the document's last four bytes when it begins with ``magic``, else None. Reads nothing else of it.

        Raises:
            OSError: the operating system refused.
        """
        size = min(4, document.length)
        if os.pread(self._descriptor, min(len(magic), document.length), document.offset) != magic:
            return None
        return os.pread(self._descriptor, size, document.offset + document.length - size)

    def read(self, document: StagedDocument) -> bytes:
        """Return the document's bytes as staged, whole."""
        return os.pread(self._descriptor, document.length, document.offset)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()


def _contract_of(body: bytes) -> object:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields.get("contract") if isinstance(fields, dict) else None


def _pieces(source: bytes | BinaryIO) -> Iterable[bytes]:
    if isinstance(source, bytes):
        return (source,)
    return iter(lambda: source.read(PIECE_BYTES), b"")


def write_receipt(inbox: Path, receipt: StoreReceipt) -> None:
    """Put a receipt where its producer waits for it. Not durable on purpose: the ledger is what is kept."""
    folder = inbox / RECEIPTS
    part = folder / f"{receipt.request_id}.{secrets.token_hex(4)}.part"
    try:
        part.write_text(receipt.model_dump_json(exclude_defaults=True), encoding="utf-8")
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(receipt.model_dump_json(exclude_defaults=True), encoding="utf-8")
    part.rename(folder / f"{receipt.request_id}.json")


def take_receipt(inbox: Path, request_id: str) -> StoreReceipt | None:
    """Return the receipt of a job that has ended and remove it; None while it has not."""
    path = inbox / RECEIPTS / f"{request_id}.json"
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    receipt = StoreReceipt.model_validate_json(body)
    dispose(inbox, path)
    return receipt
