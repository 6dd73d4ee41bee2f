"""What an index told of versions, told again when the index is damaged or its segment goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import orjson

from models.mending import Holder
from storage.documents import DocumentScanner, Limits
from storage.index import Index, VersionRecord, read_index, record_from_json
from storage.ordering import order_of
from strongroom.errors import IntegrityError, StorageError

Contents = Callable[[str], Iterator[bytes] | None]
"""Returns the plain bytes of a content; None when they cannot be had."""

_Key = tuple[str, str, datetime]


def read_if_whole(path: Path) -> Index | None:
    """Return an index; None when it is missing or damaged.

    Raises:
        TransientIO, PermissionRefused: the operating system refused.
    """
    try:
        return read_index(path, bad_sectors=True)
    except IntegrityError:
        return None


def retold(path: Path, holders: Sequence[Holder], contents: Contents, limits: Limits) -> list[VersionRecord]:
    """Return a record for each of these revisions: the index's own where it is whole, else one of what is left and known.

    Of a damaged index only the name that a version orders as is taken, and only where the catalogue orders it so. The rest is
    the catalogue's, and the document's where it speaks of its library.
    """
    index = read_if_whole(path)
    if index is not None:
        told = {_key(one): one for one in index.versions}
        return [told[key] for one in holders if (key := (one.library_id, one.version, one.stored_at)) in told]
    left = _legible(path)
    return [made_anew(one, left.get((one.library_id, one.version, one.stored_at)), contents, limits) for one in holders]


def made_anew(one: Holder, left: VersionRecord | None, contents: Contents, limits: Limits) -> VersionRecord:
    """Return a record of a revision: what the catalogue says of it, and the document of its library; see ``retold``."""
    sort_as = left.sort_as if left is not None and _orders_so(one, left.sort_as) else ""
    return VersionRecord(
        one.library_id,
        one.version,
        one.content_sha256,
        one.stored_at,
        sort_as=sort_as,
        source=one.source,
        library=_facts(contents(one.content_sha256), limits),
        details=one.details,
    )


def _orders_so(one: Holder, sort_as: str) -> bool:
    order = order_of(sort_as or one.version)
    return (order.rank, order.key) == (one.order_rank, one.order_key)


def _facts(pieces: Iterable[bytes] | None, limits: Limits) -> Mapping[str, str | int | float]:
    """Return what a document says about its library; nothing when it cannot be read."""
    if pieces is None:
        return {}
    scanner = DocumentScanner(limits)
    try:
        for piece in pieces:
            scanner.feed(piece)
        return scanner.finish().library
    except StorageError:
        return {}


def _legible(path: Path) -> dict[_Key, VersionRecord]:
    """Return the records of a damaged index that can still be read. Each may be wrong."""
    found: dict[_Key, VersionRecord] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            record = record_from_json(orjson.loads(line)["version"])
            found[_key(record)] = record
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _key(record: VersionRecord) -> _Key:
    return (record.library_id, record.version, record.stored_at)
