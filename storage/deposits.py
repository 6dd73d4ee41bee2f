"""Deposits: documents that a program in the same process hands to the engine, and what it says about them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from storage.documents import Limits
from storage.intake import Incoming, incoming
from storage.paths import check_identifier
from strongroom.contracts import DocumentOptions, IfExists
from strongroom.errors import InvalidRequest, LoneSurrogate, NotJson
from strongroom.outgoing import Outgoing, json_bytes, reading

Content = Mapping[str, Any] | str | bytes | os.PathLike[str]
"""An object (written as compact JSON), JSON text, exact bytes (JSON or gzip of it), or the path of a file of such bytes.

A ``str`` is always text, never a path: what comes from elsewhere must not be able to name a file.
"""


@dataclass(frozen=True, slots=True)
class Deposit:
    """A document to store. Without ``library_id`` or ``version`` the document must say them; ``name`` is for its receipt.

    ``sort_as`` orders the version as if it had that name; ``metadata`` is kept with the version as it is.
    """

    content: Content
    library_id: str | None = None
    version: str | None = None
    metadata: Mapping[str, Any] | None = None
    sort_as: str | None = None
    if_exists: IfExists = "revise"
    source: str | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """What its receipt calls it: the name, else the path, fit for JSON."""
        return self._said().label

    def incoming(self, limits: Limits) -> Incoming:
        """Return the document as the engine takes it. What is small has been read already and cannot fail later.

        Raises:
            InvalidRequest: an identifier, an option or the metadata is wrong, or the object cannot be written as JSON.
            NotFound, PermissionRefused, TransientIO: the file cannot be read.
            TypeError: the content is none of the things that it may be.
        """
        if self.library_id is not None:
            check_identifier(self.library_id, "library id")
        if self.version is not None:
            check_identifier(self.version, "version")
        options = self._said().options()
        if isinstance(self.content, os.PathLike):
            return _incoming_file(Path(self.content), self.label, options, limits)
        return _incoming_bytes(_bytes_of(self.content), self.label, options)

    def _said(self) -> Outgoing:
        """The same as the producers' client has it, so that both check options alike."""
        content = self.content if isinstance(self.content, os.PathLike) else b""
        said = (self.library_id, self.version, self.sort_as, self.if_exists, self.source, self.metadata or {}, self.name)
        return Outgoing(content, *said)


def _bytes_of(content: Mapping[str, Any] | str | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, Mapping):
        return json_bytes(content)
    if not isinstance(content, str):
        raise TypeError(f"a document is a dict, JSON text, bytes or a path, not {type(content).__name__}")
    if content.endswith((".json", ".gz")):
        raise NotJson(f"The text is no JSON: {content[-80:]!r}.", "A str is the JSON text itself; name a file with pathlib.Path.")
    try:
        return content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LoneSurrogate(f"The text holds a lone surrogate: {error.reason}.") from None


def _incoming_bytes(data: bytes, label: str, options: DocumentOptions) -> Incoming:
    return incoming(lambda: io.BytesIO(data), len(data), label, options)


def _incoming_file(path: Path, label: str, options: DocumentOptions, limits: Limits) -> Incoming:
    def open_file() -> BinaryIO:
        with reading(label):
            return path.open("rb")

    if "\0" in str(path):
        raise InvalidRequest(f"A path cannot hold a NUL: {label!r}.")
    with reading(label):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a FIFO would be waited for
            raise InvalidRequest(f"{label} is no regular file.", "Name a file.", {"path": label})
        if status.st_size <= limits.whole_bytes:
            return _incoming_bytes(path.read_bytes(), label, options)
    return incoming(open_file, status.st_size, label, options)
