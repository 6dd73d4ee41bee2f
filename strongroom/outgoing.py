"""Documents on their way out: what a producer may hand over, and how it is read."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pydantic import ValidationError

from strongroom import durable
from strongroom.contracts import DocumentOptions, IfExists
from strongroom.errors import InvalidDocument, InvalidIdentifier, InvalidRequest, LoneSurrogate, NotFound, NotJson, StorageError

Document = str | os.PathLike[str] | bytes | BinaryIO | Mapping[str, Any]
"""A path, exact bytes (JSON text or gzip of it), a binary stream, or an object to be written as compact JSON."""

WHOLE_BYTES = 16 * 1024 * 1024
"""Up to here a document is read before any of it is staged, so that a source that fails spoils no batch."""

PIECE_BYTES = 1 << 20
_LEAST_BYTES = 1 << 14
NAME_CHARACTERS = 1000

METADATA_BYTES = 64 * 1024
"""The most metadata a document may have: manifests are held in memory, here and by the worker, 500 documents at a time."""

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO without a writer must not hang the producer


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A document and what the producer says about it. Empty fields are taken from the document itself.

    ``name`` is what receipts call it; default: the path.
    """

    document: Document
    library_id: str | None = None
    version: str | None = None
    sort_as: str | None = None
    if_exists: IfExists = "revise"
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def label(self) -> str:
        """The name, fit for JSON and of bounded length, whatever bytes the file system put into it."""
        name = self.name or (os.fspath(self.document) if isinstance(self.document, str | os.PathLike) else "")
        return name.encode("utf-8", "backslashreplace").decode("utf-8")[-NAME_CHARACTERS:]

    def options(self) -> DocumentOptions:
        """Return what the producer says, checked here, so that a mistake fails one document and not its batch.

        Raises:
            InvalidIdentifier: library or version is no text that UTF-8 can hold.
            InvalidRequest: another field is wrong, or the metadata is no JSON.
        """
        if self.metadata:
            _check_metadata(self.metadata)
        elif not (self.library_id or self.version or self.sort_as or self.source) and self.if_exists == "revise":
            return _NOTHING_SAID
        for field_name in ("library_id", "version", "sort_as", "source"):
            _check_text(field_name, getattr(self, field_name))
        try:
            return DocumentOptions(
                library_id=self.library_id,
                version=self.version,
                sort_as=self.sort_as,
                if_exists=self.if_exists,
                source=self.source,
                metadata=dict(self.metadata),
            )
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise _kind_of(where)(f"{where}: {fault['msg']}") from None


_NOTHING_SAID = DocumentOptions()


class Source:
    """A document too large to be read whole. ``error`` tells a failing source from a failing inbox."""

    def __init__(self, head: bytes, rest: io.FileIO | BinaryIO, label: str, *, owned: bool) -> None:
        self._head, self._rest, self._label, self._owned = head, rest, label, owned
        self.error: StorageError | None = None

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; none at the end.

        Raises:
            StorageError: the source cannot be read.
        """
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        try:
            with reading(self._label):
                return _bytes_of(self._rest.read(size))
        except StorageError as error:
            self.error = error
            raise

    def close(self) -> None:
        """Close what ``take`` opened; a stream of the producer's own stays open."""
        if self._owned:
            self._rest.close()


def take(document: Document, label: str) -> bytes | Source:
    """Return the document's bytes, whole up to WHOLE_BYTES, else a source to copy from and to close.

    Raises:
        NotFound, PermissionRefused, TransientIO: the file or stream cannot be read.
        InvalidRequest: the path names no regular file.
        InvalidDocument: the mapping cannot be written as JSON.
        TypeError: this is none of the things that a document may be.
    """
    if isinstance(document, bytes):
        return document
    if isinstance(document, Mapping):
        return json_bytes(document)
    if isinstance(document, str | os.PathLike):
        return _take_file(os.fspath(document), label)
    if hasattr(document, "read"):
        return _whole_or_source(document, label, PIECE_BYTES, owned=False)
    raise TypeError(f"a document is a path, bytes, a binary stream or a dict, not {type(document).__name__}")


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the object as compact JSON in UTF-8, keys in their own order: equal objects built alike give equal bytes.

    Raises:
        NotJson: it holds something that JSON cannot, NaN included.
        LoneSurrogate: a text holds half of a surrogate pair.
        InvalidDocument: it is nested too deeply, or holds itself.
    """
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode("utf-8")
    except UnicodeEncodeError as error:
        raise LoneSurrogate(f"The text holds a lone surrogate: {error.reason}.") from None
    except RecursionError:
        raise InvalidDocument("The object is nested too deeply to be written.") from None
    except (TypeError, ValueError) as error:
        raise NotJson(f"The object cannot be written as JSON: {error}.") from None


def _plain(value: object) -> object:
    # The outermost mapping may be no dict (MappingProxyType and the like); json knows dicts alone.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _kind_of(field_name: str) -> type[InvalidRequest]:
    return InvalidIdentifier if field_name in {"library_id", "version"} else InvalidRequest


def _check_text(field_name: str, text: object) -> None:
    # Pydantic lets half a surrogate pair pass, and then the manifest of the whole batch cannot be written.
    try:
        if isinstance(text, str):
            text.encode("utf-8")
    except UnicodeEncodeError:
        raise _kind_of(field_name)(f"{field_name}: a lone surrogate, which no UTF-8 text can hold.") from None


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    try:
        size = len(json_bytes(metadata))
    except InvalidDocument as error:
        raise InvalidRequest(f"metadata: {error.message}") from None
    if size > METADATA_BYTES:
        raise InvalidRequest(f"metadata: {size} bytes, more than {METADATA_BYTES}.", "Put what is large into the document.")


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn an OSError of a producer's own file into what the producer can do about it.

    Raises:
        NotFound: no such file.
        InvalidRequest: a folder.
        PermissionRefused, TransientIO, StorageError: as the operating system says.
    """
    what = f"cannot read {label or 'the document'}"
    try:
        with durable.os_errors(what):
            yield
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            hint = "Check the path. A str is a path: hand JSON text over as bytes."
            raise NotFound(error.message, hint, error.context) from error.__cause__
        raise


def _take_file(path: str, label: str) -> bytes | Source:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError:  # what the context manager costs is paid by the document that fails
        with reading(label):
            raise
    except ValueError as error:  # a NUL in the path
        raise InvalidRequest(f"cannot read {label!r}: {error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise InvalidRequest(f"{label} is no regular file.", "Name a file, or hand over an open stream.", {"path": label})
    stream = io.FileIO(descriptor, "rb")
    content: bytes | Source | None = None
    try:
        # One byte more than it holds tells the end; the floor is for files whose size is not known before (/proc).
        content = _whole_or_source(stream, label, max(status.st_size + 1, _LEAST_BYTES), owned=True)
    finally:
        if not isinstance(content, Source):
            stream.close()
    return content


def _whole_or_source(stream: io.FileIO | BinaryIO, label: str, step: int, *, owned: bool) -> bytes | Source:
    pieces: list[bytes] = []
    size = 0
    try:
        while size <= WHOLE_BYTES and (piece := _bytes_of(stream.read(min(step, WHOLE_BYTES + 1)))):
            pieces.append(piece)
            size += len(piece)
    except OSError:
        with reading(label):
            raise
    head = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return head if size <= WHOLE_BYTES else Source(head, stream, label, owned=owned)


def _bytes_of(piece: object) -> bytes:
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "the stream has nothing to read yet")
    if not isinstance(piece, bytes):
        raise TypeError(f"a stream must be binary; this one gives {type(piece).__name__}")
    return piece
