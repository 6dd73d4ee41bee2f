"""Payloads: where a batch's documents go on their way to a worker: into the inbox, or into the message itself."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from strongroom.contracts import INLINE_LIMIT_BYTES, DocumentOptions
from strongroom.errors import DamagedGzip, DataFolderError, LimitExceeded, NotJson
from strongroom.inbox import InboxWriter
from strongroom.message import Message, doorbell, store_message
from strongroom.outgoing import WHOLE_BYTES, Source
from strongroom.routes import SHORT_QUEUE, Priority, store_queue

BATCH_BYTES = WHOLE_BYTES
"""Staged bytes of a batch: 500 documents of the usual 30 KB, a fraction of a second of work, small enough to share out."""

INLINE_BATCH_BYTES = 1024 * 1024
"""Documents inside one message: the broker holds them in memory until a worker has them."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that could be read: its content, and what the producer says about it."""

    label: str
    content: bytes | Source
    options: DocumentOptions

    @property
    def size(self) -> int:
        """Bytes as staged; of a source: more than any batch holds."""
        return len(self.content) if isinstance(self.content, bytes) else BATCH_BYTES + 1

    def close(self) -> None:
        """Close the file behind a large document."""
        if isinstance(self.content, Source):
            self.content.close()


class Payload(Protocol):
    """Where a batch's documents go: into the inbox, or into the message."""

    @property
    def most_bytes(self) -> int:
        """The most bytes of documents that one message may stand for."""

    def add(self, document: Prepared) -> None:
        """Take the document in. After an error nothing of it is left."""

    def commit(self) -> Message:
        """Make what was taken durable, where that applies, and return the message to be sent."""

    def discard(self) -> None:
        """Undo everything, a commit included."""


class StagedPayload:
    """Documents in one inbox file; the message names the file. No file is made before the first document."""

    most_bytes = BATCH_BYTES

    def __init__(self, inbox: Path, request_id: str, *, receipt: bool, priority: Priority) -> None:
        self._inbox, self._request_id, self._receipt, self._priority = inbox, request_id, receipt, priority
        self._writer: InboxWriter | None = None
        self._largest = 0

    def add(self, document: Prepared) -> None:
        """Copy the document into the inbox file.

        Raises:
            DataFolderError: there is no such inbox. It is never made here: a mistyped path would swallow documents.
            StorageError: the inbox, or a large document's source, failed.
        """
        if self._writer is None:
            self._writer = self._open()
        before = self._writer.staged_bytes
        self._writer.add(cast("bytes | BinaryIO", document.content), document.label, document.options)
        self._largest = max(self._largest, self._writer.staged_bytes - before)

    def _open(self) -> InboxWriter:
        if not self._inbox.is_dir():
            hint = "Start the service once (it makes the folder), or correct the path: producer and workers share this folder."
            raise DataFolderError(f"There is no inbox at {self._inbox}.", hint, {"path": str(self._inbox)})
        return InboxWriter(self._inbox, self._request_id, receipt=self._receipt, priority=self._priority)

    def commit(self) -> Message:
        """Make the inbox file durable: from here on the job is accepted."""
        assert self._writer is not None
        path = self._writer.commit()
        return doorbell(path.name, receipt=self._receipt, queue=store_queue(self._largest), priority=self._priority)

    def discard(self) -> None:
        """Remove the inbox file, finished or not."""
        writer, self._writer, self._largest = self._writer, None, 0
        if writer is None:
            return
        with contextlib.suppress(OSError):
            writer.abort()
            writer.path.unlink(missing_ok=True)


class InlinePayload:
    """Documents inside the message, for producers who do not share the inbox. Small ones only."""

    most_bytes = INLINE_BATCH_BYTES

    def __init__(self, request_id: str, *, priority: Priority) -> None:
        self._request_id, self._priority = request_id, priority
        self._documents: list[dict[str, Any]] = []

    def add(self, document: Prepared) -> None:
        """Take the document's text in; of gzip what it unpacks to, since a message holds text.

        Raises:
            LimitExceeded: over INLINE_LIMIT_BYTES.
            DamagedGzip, NotJson: there is no text in it.
        """
        said = document.options.model_dump(exclude_defaults=True)
        self._documents.append({**said, "text": _text(document.content)})

    def commit(self) -> Message:
        """Return the message, which holds the documents. Nothing is durable yet."""
        return store_message(self._request_id, {"documents": self._documents}, SHORT_QUEUE, self._priority)

    def discard(self) -> None:
        """Forget the documents."""
        self._documents.clear()


def _text(content: bytes | Source) -> str:
    if isinstance(content, Source):
        raise _too_large()
    plain = _unpack(content) if content.startswith(_GZIP_MAGIC) else content
    if len(plain) > INLINE_LIMIT_BYTES:
        raise _too_large()
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"The document is no UTF-8: byte {error.start}.") from None


def _unpack(packed: bytes) -> bytes:
    plain = b""
    while packed:
        reader = zlib.decompressobj(_GZIP_WINDOW)
        try:
            plain += reader.decompress(packed, INLINE_LIMIT_BYTES + 1 - len(plain))
        except zlib.error as error:
            raise DamagedGzip(f"The gzip stream is damaged: {error}.") from None
        if len(plain) > INLINE_LIMIT_BYTES:
            raise _too_large()
        if not reader.eof:
            raise DamagedGzip("The gzip stream ends early.")
        packed = reader.unused_data  # gzip is members, one behind another
    return plain


def _too_large() -> LimitExceeded:
    hint = "Give the client the inbox folder that the workers share (inbox=..., or Client.of_service); there any size may pass."
    return LimitExceeded(f"Without an inbox a document may have {INLINE_LIMIT_BYTES} bytes.", hint, {"limit": INLINE_LIMIT_BYTES})
