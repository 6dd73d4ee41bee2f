"""A segment's index: lines of JSON that say what is in the segment, so that the disk alone tells everything.

The first line describes the segment, then comes a line for each object and each version, and one that names the segments whose
places it replaces; the last holds the SHA-256 of all lines before it. docs/reference/disk-format.md specifies it.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from models.rows import Place
from strongroom import durable
from strongroom.errors import IntegrityError

FORMAT = 1
_NO_FILE = (errno.EISDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What the disk remembers of a version. ``library`` are facts about the library, ``details`` the producer's metadata.

    ``refuse_other``: it was not to be added beside other content of the same version; a rebuild must decide likewise.
    """

    library_id: str
    version: str
    content_sha256: str
    stored_at: datetime
    sort_as: str = ""
    refuse_other: bool = False
    source: str = ""
    library: Mapping[str, str | int | float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)  # a JSON object of the producer's: any shape

    def as_json(self) -> dict[str, Any]:
        """Return the record without its empty fields."""
        which = {"library_id": self.library_id, "version": self.version, "content_sha256": self.content_sha256}
        said = {"sort_as": self.sort_as, "refuse_other": self.refuse_other, "source": self.source}
        told = {**said, "library": self.library, "details": self.details}
        return {**which, "stored_at": self.stored_at, **{name: value for name, value in told.items() if value}}


@dataclass(frozen=True, slots=True)
class Index:
    """An index as read back.

    ``replaces`` are segments in which the contents of this one lay before: these places count no more, though the segments may
    be there still, for the sake of others. ``written_at`` tells which came later: what was replaced may be written once more.
    """

    segment_sha256: str
    size_bytes: int
    places: tuple[Place, ...]
    versions: tuple[VersionRecord, ...]
    replaces: tuple[str, ...] = ()
    written_at: datetime | None = None


def write_index(index: Index) -> bytes:
    """Return the bytes of an index."""
    head = {"strongroom_index": FORMAT, "segment_sha256": index.segment_sha256, "size_bytes": index.size_bytes}
    when = {} if index.written_at is None else {"written_at": index.written_at}
    lines = [orjson.dumps({**head, "objects": len(index.places), **when})]
    lines += [orjson.dumps({"object": _place_as_json(place)}) for place in index.places]
    lines += [orjson.dumps({"version": record.as_json()}) for record in index.versions]
    lines += [orjson.dumps({"replaces": index.replaces})] if index.replaces else []
    body = b"\n".join(lines) + b"\n"
    return body + _last_line(body)


def _last_line(body: bytes) -> bytes:
    return orjson.dumps({"index_sha256": hashlib.sha256(body).hexdigest()}) + b"\n"


def read_index(path: Path, segment_sha256: str | None = None, *, bad_sectors: bool = False) -> Index:
    """Read and check an index. Its name says whose it is, unless ``segment_sha256`` does.

    ``bad_sectors``: that the disk cannot read it, twice, is damage, too, and not an error that may pass. Not for those who
    would write another index in its place from less than it told.

    Raises:
        IntegrityError: it is missing, cut short, does not hash to its last line, or is another segment's.
        TransientIO, PermissionRefused: the operating system refused.
    """
    with durable.os_errors("cannot read an index"):
        try:
            data = _read(path, tries=2 if bad_sectors else 1)
        except FileNotFoundError:
            raise IntegrityError(f"The index {path.name} is missing.", None, {"damage": "index_missing"}) from None
        except OSError as error:
            if error.errno not in (*_NO_FILE, *((errno.EIO,) if bad_sectors else ())):
                raise
            message = f"The index {path.name} cannot be read: {error.strerror}."
            raise IntegrityError(message, None, {"damage": "index_damaged"}) from None
    return parse_index(data, segment_sha256 or path.stem, path.name)


def _read(path: Path, tries: int) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno != errno.EIO or tries == 1:
            raise
        return _read(path, tries - 1)


def parse_index(data: bytes, segment_sha256: str, called: str = "") -> Index:
    """Check the bytes of a segment's index and return what they say.

    Raises:
        IntegrityError: they are cut short, do not hash to their last line, or are another segment's.
    """
    try:
        head, *lines = [orjson.loads(line) for line in _body(data).splitlines()]
        if head["strongroom_index"] > FORMAT:
            raise _newer(called or f"{segment_sha256}.index", head["strongroom_index"])
        if head["segment_sha256"] != segment_sha256:
            raise ValueError("it is another segment's")
        places = tuple(_place(line["object"], head["segment_sha256"]) for line in lines if "object" in line)
        versions = tuple(record_from_json(line["version"]) for line in lines if "version" in line)
        replaces = tuple(name for line in lines if "replaces" in line for name in line["replaces"])
        when = datetime.fromisoformat(head["written_at"]) if "written_at" in head else None
        return Index(head["segment_sha256"], head["size_bytes"], places, versions, replaces, when)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(called or f"{segment_sha256}.index", error) from error


def check_index(data: bytes, segment_sha256: str) -> None:
    """Make sure that bytes are a segment's whole index, without a look at each line.

    Raises:
        IntegrityError: as ``parse_index``.
    """
    try:
        if orjson.loads(_body(data).partition(b"\n")[0])["segment_sha256"] != segment_sha256:
            raise ValueError("it is another segment's")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(f"{segment_sha256}.index", error) from error


def _body(data: bytes) -> bytes:
    end = data.rfind(b"\n", 0, -1) + 1
    body, last = data[:end], data[end:]
    if last != _last_line(body):
        raise ValueError("it does not hash to its last line")
    return body


def _damaged(called: str, error: Exception) -> IntegrityError:
    return IntegrityError(f"The index {called} is damaged: {error}.", None, {"damage": "index_damaged"})


def _newer(called: str, number: object) -> IntegrityError:
    words = f"The index {called} has the format {number}, which this release cannot read."
    return IntegrityError(words, "Use the release that wrote it.", {"damage": "index_damaged", "newer": True})


def record_from_json(told: Mapping[str, Any]) -> VersionRecord:
    """Return the record that ``as_json`` wrote. Fields that a later release has added are passed over."""
    known = {name: value for name, value in told.items() if name in _OF_RECORD}
    return VersionRecord(**{**known, "stored_at": datetime.fromisoformat(told["stored_at"])})


_OF_RECORD = {one.name for one in fields(VersionRecord)}


def _place_as_json(place: Place) -> dict[str, Any]:
    fields = {
        "content_sha256": place.content_sha256,
        "size_bytes": place.size_bytes,
        "codec": place.codec,
        "offset": place.offset,
        "length": place.length,
        "stored_sha256": place.stored_sha256,
    }
    if place.blocks is not None:
        fields["blocks_sha256"] = [place.blocks[at : at + 32].hex() for at in range(0, len(place.blocks), 32)]
    if place.reference_sha256 is not None:
        fields |= {name: getattr(place, name) for name in ("reference_sha256", "reference_offset", "reference_length")}
    if place.effort:
        fields["effort"] = place.effort
    return fields


def _place(fields: Mapping[str, Any], segment_sha256: str) -> Place:
    blocks = fields.get("blocks_sha256")
    return Place(
        fields["content_sha256"],
        fields["size_bytes"],
        fields["codec"],
        segment_sha256,
        fields["offset"],
        fields["length"],
        fields["stored_sha256"],
        None if blocks is None else bytes.fromhex("".join(blocks)),
        fields.get("reference_sha256"),
        fields.get("reference_offset", 0),
        fields.get("reference_length", 0),
        fields.get("effort", 0),
    )
