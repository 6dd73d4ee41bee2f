"""From what a producer sent to what a segment takes: unpacked, checked, identified, hashed, encoded."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

import orjson

from storage.codecs import Encoder
from storage.documents import DocumentScanner, Identity, Limits, check_document, unpack
from storage.ordering import order_of
from storage.paths import check_identifier, tree_path
from storage.segments import Encoded, SegmentWriter, block_digests
from strongroom import durable
from strongroom.contracts import DocumentOptions
from strongroom.errors import InvalidRequest, MissingIdentifier, PayloadDamaged

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A document to store: its bytes as sent (plain or gzipped), and what the producer says about it.

    ``open`` may be called more than once. ``sent_sha256`` is what the bytes as sent must hash to, when that is known.
    ``claimed_bytes`` is the plain size as far as it can be told beforehand: a packed document that unpacks to more than it
    claims is streamed, so that what is held in memory at once can be counted beforehand. ``stored_at``: when it was stored in
    another folder, if this one is to remember it as of then; only where nothing else is told.
    """

    name: str
    sent_bytes: int
    claimed_bytes: int
    open: Callable[[], BinaryIO]
    options: DocumentOptions = field(default_factory=DocumentOptions)
    sent_sha256: str | None = None
    stored_at: datetime | None = None


def incoming(
    open_source: Callable[[], BinaryIO],
    sent_bytes: int,
    name: str = "",
    options: DocumentOptions | None = None,
    sent_sha256: str | None = None,
) -> Incoming:
    """Return a document to store; of a packed one read what its trailer claims (RFC 1952: ISIZE, the last four bytes)."""
    claimed = sent_bytes
    with open_source() as source:
        if source.read(2) == GZIP_MAGIC:
            source.seek(-min(4, sent_bytes), io.SEEK_END)
            claimed = claimed_by(source.read(4), sent_bytes)
    return Incoming(name, sent_bytes, claimed, open_source, options or DocumentOptions(), sent_sha256)


def claimed_by(trailer: bytes, sent_bytes: int) -> int:
    """Return the plain size that a packed document claims whose last four bytes these are."""
    return max(sent_bytes, int.from_bytes(trailer, "little"))


@dataclass(frozen=True, slots=True)
class Named:
    """Which version a document is, by the request first and the document itself second."""

    library_id: str
    version: str
    order_rank: int
    order_key: str
    file_path: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Checked:
    """A document that may be stored. ``plain`` is None when it was streamed and is not kept in memory."""

    incoming: Incoming
    named: Named
    content_sha256: str
    size_bytes: int
    plain: bytes | None


def check_small(incoming: Incoming, limits: Limits) -> Checked | None:
    """Check a document whole, in memory; None when it unpacks to more than it claims and must be streamed.

    Raises:
        InvalidDocument, InvalidIdentifier: it cannot be stored.
        PayloadDamaged: its bytes are not those that were sent.
    """
    sent = _read(incoming)
    digest = hashlib.sha256(sent).hexdigest()
    _same_as_sent(incoming, digest)
    plain = sent
    if sent[:2] == GZIP_MAGIC or not sent:
        unpacked = _unpack_small(sent, incoming.claimed_bytes, limits)
        if unpacked is None:
            return None
        plain = unpacked
        digest = hashlib.sha256(plain).hexdigest()
    named = name_of(incoming.options, check_document(plain, limits))
    return Checked(incoming, named, digest, len(plain), plain)


def _unpack_small(sent: bytes, claimed_bytes: int, limits: Limits) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    for piece in unpack(io.BytesIO(sent), limits):
        size += len(piece)
        if size > claimed_bytes:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def encode_small(checked: Checked, encoder: Encoder) -> Encoded:
    """Encode a document that is in memory."""
    assert checked.plain is not None
    stored = encoder.whole(checked.plain)
    digest = hashlib.sha256(stored).hexdigest()
    return Encoded(checked.content_sha256, checked.size_bytes, encoder.format, stored, digest, block_digests(stored))


def check_large(incoming: Incoming, limits: Limits, encoder: Encoder, writer: SegmentWriter) -> Checked:
    """Unpack, check, hash and encode a document in one pass, in constant memory, into a segment of its own.

    Raises:
        InvalidDocument, InvalidIdentifier, PayloadDamaged: as ``check_small``; then the segment is to be aborted.
    """
    passage = _Passage(limits, encoder)
    with _reading(incoming), incoming.open() as source:
        reader = _HashingReader(source)
        stream = writer.append_stream(passage.encode(unpack(reader, limits)))  # type: ignore[arg-type] # it reads, which is all unpack does
    _same_as_sent(incoming, reader.digest.hexdigest())
    named = name_of(incoming.options, passage.scanner.finish())
    content_sha256 = passage.digest.hexdigest()
    writer.describe(stream, content_sha256, passage.size_bytes, encoder.format)
    return Checked(incoming, named, content_sha256, passage.size_bytes, None)


class _Passage:
    """One pass over plain bytes: scanned, hashed, encoded."""

    def __init__(self, limits: Limits, encoder: Encoder) -> None:
        self.scanner = DocumentScanner(limits)
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._compressor = encoder.stream()

    def encode(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.scanner.feed(piece)
            self.digest.update(piece)
            self.size_bytes += len(piece)
            stored = self._compressor.compress(piece)
            if stored:
                yield stored
        yield self._compressor.flush()


class _HashingReader:
    """Hashes what is read through it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.digest.update(piece)
        return piece


def _read(incoming: Incoming) -> bytes:
    try:
        with incoming.open() as source:
            sent = source.read(incoming.sent_bytes + 1)  # one call of the system, where reading on to the end asks it four times
            return sent if len(sent) == incoming.sent_bytes else sent + source.read()
    except OSError:  # what a context manager would cost each document is paid by the one that fails
        with _reading(incoming):
            raise


def _reading(incoming: Incoming) -> AbstractContextManager[None]:
    return durable.os_errors(f"cannot read {incoming.name or 'the document'}")


def _same_as_sent(incoming: Incoming, digest: str) -> None:
    if incoming.sent_sha256 is not None and digest != incoming.sent_sha256:
        raise PayloadDamaged(f"{incoming.name or 'The document'} changed after it was staged: its digest is another one.")


def name_of(options: DocumentOptions, identity: Identity) -> Named:
    """Decide which version this is.

    Raises:
        MissingIdentifier: neither the request nor the document says it.
        InvalidIdentifier: what they say cannot be one.
        InvalidRequest: the metadata cannot be kept.
    """
    library_id = options.library_id or identity.library_id
    version = options.version or identity.version
    if not library_id:
        raise MissingIdentifier("The document does not say which library it belongs to.")
    if not version:
        raise MissingIdentifier("The document does not say which version it is.")
    check_identifier(library_id, "library id")
    check_identifier(version, "version")
    _check_kept(options)
    order = order_of(options.sort_as or version)
    return Named(library_id, version, order.rank, order.key, tree_path(library_id, version), identity)


def _check_kept(options: DocumentOptions) -> None:
    """Refuse what would not come back as it was: NaN, an integer past 64 bits, half a surrogate pair, a NUL in the source."""
    told: Mapping[str, Any] = {"metadata": options.metadata, "source": options.source, "sort_as": options.sort_as}  # any JSON
    try:
        kept = orjson.loads(orjson.dumps(told)) == told
    except (TypeError, ValueError):
        kept = False
    if not kept or "\0" in (options.source or ""):
        raise InvalidRequest("The metadata or the source holds something that JSON cannot keep as it is.")
