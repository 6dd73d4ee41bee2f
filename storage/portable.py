"""A library as one file: a plain tar with a manifest, the manifest's digest and one member for each content.

``manifest.json`` says what the library holds; ``documents/{digest}.json.gz`` are whole gzip members, ``.json.zst`` Zstandard
frames, ``.json`` plain: any tool reads it. docs/how-to/export.md describes it for other programs.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from strongroom.errors import DataFolderError, InvalidRequest

FORMAT = 1
MANIFEST, DIGEST = "manifest.json", "manifest.json.sha256"
MAX_MANIFEST_BYTES = 256 << 20
ENDINGS = {"gzip": ".json.gz", "zstd": ".json.zst", "none": ".json"}

Text = Annotated[str, StringConstraints(max_length=4096)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Document(_Told):
    """One content: its digest and size, plain, and how its member is packed."""

    content_sha256: Sha256
    size_bytes: int = Field(ge=1)
    codec: Literal["gzip", "zstd", "none"]

    @property
    def name(self) -> str:
        """What its member is called: nothing else is taken from a file."""
        return f"documents/{self.content_sha256}{ENDINGS[self.codec]}"


class Revision(_Told):
    """One revision of a version, in the order in which they were stored. ``stored_at`` is kept in a new folder alone."""

    version: Text
    content_sha256: Sha256
    stored_at: Text
    sort_as: Text = ""
    source: Text = ""
    details: dict[str, Any] = Field(default_factory=dict)  # the producer's: any JSON


class Said(_Told):
    """What a person said of a version: a pin, or a label of this name."""

    version: Text
    label: Text = ""
    by: Text = ""
    why: Text = ""


class Alias(_Told):
    """Another name of the library. Releases that do not know of it leave it out."""

    alias: Text
    at: Text
    by: Text = ""
    why: Text = ""


class Manifest(_Told):
    """What the file holds."""

    strongroom_export: int
    library_id: Text
    exported_at: Text
    revisions: list[Revision]
    documents: list[Document]
    pins: list[Said] = Field(default_factory=list)
    labels: list[Said] = Field(default_factory=list)
    aliases: list[Alias] = Field(default_factory=list)
    latest: Text | None = None
    """The version that ``latest`` means by hand."""


def parse_manifest(data: bytes, digest: str) -> Manifest:
    """Return a manifest that holds, and in which everything that is named is there, once.

    Raises:
        InvalidRequest: it is damaged or no manifest.
        DataFolderError: a later release wrote it.
    """
    if digest.split(maxsplit=1)[:1] != [hashlib.sha256(data).hexdigest()]:
        raise InvalidRequest("The manifest does not hash to its digest: the file is damaged.", AGAIN)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRequest(f"The manifest is none: {error.error_count()} faults.", AGAIN) from error
    if manifest.strongroom_export > FORMAT:
        raise DataFolderError(f"The file has format {manifest.strongroom_export}; this release knows up to {FORMAT}.")
    contents = [one.content_sha256 for one in manifest.documents]
    versions = {one.version for one in manifest.revisions}
    said = [*manifest.pins, *manifest.labels]
    whole = {one.content_sha256 for one in manifest.revisions} == set(contents) and len(contents) == len(set(contents))
    if not whole or not manifest.revisions or not {one.version for one in said} <= versions:
        raise InvalidRequest("The manifest names what it does not hold.", AGAIN)
    return manifest


def moment(told: str) -> datetime:
    """Return a time as the file tells it.

    Raises:
        InvalidRequest: it is none, or nobody knows of which zone.
    """
    try:
        at = datetime.fromisoformat(told)
    except ValueError as error:
        raise InvalidRequest(f"{told[:40]!r} is no time.", AGAIN) from error
    if at.tzinfo is None:
        raise InvalidRequest(f"{told[:40]!r} is a time of no zone.", AGAIN)
    return at.astimezone(UTC)


AGAIN = "Copy the file again, or export the library anew. Nothing was imported."


class Pieces(io.RawIOBase):
    """A file that can be read once, made of pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces: Iterator[bytes] = iter(pieces)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # any writable buffer
        """Fill the buffer with what comes next; 0 at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class Bounded(io.FileIO):
    """A file of which nobody reads much at once: what its headers claim cannot take the memory."""

    MOST = 4 << 20

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes.

        Raises:
            InvalidRequest: more than anybody should.
        """
        if size is None or not 0 <= size <= self.MOST:
            raise InvalidRequest("A header of the file claims too much.", AGAIN)
        return super().read(size) or b""


def opened(path: Path) -> BinaryIO:
    """Open an export file.

    Raises:
        OSError: the operating system refused.
    """
    return Bounded(path, "rb")
