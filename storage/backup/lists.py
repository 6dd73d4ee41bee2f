"""Lists: which segment lies where. A full backup writes all entries; an incremental one those that are new, and what went."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson
from backports import zstd

from storage.backup.manifest import Part
from storage.backup.packs import PackWriter
from storage.backup.repository import Ref, Repository, is_digest, ref_of
from strongroom.errors import BackupDamaged

PARTS_AT_MOST = 16
"""A chain that is longer is written anew as one list."""
_ENTRIES = 20_000
"""Entries of one item: some 3 MB compressed."""
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment of a backup: where its bytes and those of its index lie. Its name is its digest."""

    segment: Ref
    index: Ref

    @property
    def name(self) -> str:
        """The segment's digest."""
        return self.segment.sha256


class ListWriter:
    """Writes one part of a list, in items of bounded size. ``part`` once the packs are kept."""

    def __init__(self, packs: PackWriter, keys: str = "list") -> None:
        self._packs, self._keys = packs, keys
        self._count = 0
        self.segments = self.gone = 0

    def add(self, entries: Iterable[Entry], gone: Iterable[str]) -> None:
        """Add entries, and the names of segments that are no more."""
        for names in _parts(gone):
            self._add(orjson.dumps({"gone": name}) for name in names)
            self.gone += len(names)
        for part in _parts(entries):
            self._add(map(_line, part))
            self.segments += len(part)

    def _add(self, lines: Iterable[bytes]) -> None:
        add_item(self._packs, f"{self._keys} {self._count:06}", b"\n".join(lines) + b"\n")
        self._count += 1

    def part(self, as_of: datetime, refs: dict[str, Ref]) -> Part:
        """Return the part, given where the items lie."""
        mine = tuple(refs[key] for key in sorted(refs) if key.startswith(f"{self._keys} "))
        return Part(as_of, mine, self.segments, self.gone)


def add_item(packs: PackWriter, key: str, data: bytes) -> None:
    """Add lines, compressed."""
    packed = zstd.compress(data, _LEVEL)
    packs.add(key, packed, hashlib.sha256(packed).hexdigest())


def read_item(repository: Repository, ref: Ref, with_: bytes = b"") -> list[Any]:  # JSON values, one a line
    """Return the lines that ``add_item`` wrote; only those in which these bytes stand, if some are given.

    Raises:
        BackupDamaged: the pack is missing or damaged.
    """
    try:
        lines = [orjson.loads(line) for line in zstd.decompress(repository.item(ref)).splitlines() if with_ in line]
        if not all(isinstance(line, dict) and isinstance(line.get("gone", ""), str) for line in lines):
            raise ValueError("a line is something else")
    except (ValueError, zstd.ZstdError) as error:
        raise BackupDamaged(f"The pack {ref.pack} holds no list: {error}.", None, {"pack": ref.pack}) from error
    return lines


def read_lists(repository: Repository, parts: Sequence[Part]) -> dict[str, Entry]:
    """Return the entry of each segment of a backup.

    Raises:
        BackupDamaged: a part is missing or damaged.
    """
    entries: dict[str, Entry] = {}
    for part in parts:
        for ref in part.refs:
            for line in read_item(repository, ref):
                if "gone" in line:
                    entries.pop(line["gone"], None)
                else:
                    one = _entry(line)
                    entries.pop(one.name, None)
                    entries[one.name] = one
    return entries


def entries_in(repository: Repository, ref: Ref) -> Iterator[Entry]:
    """Yield the entries in an item of a list, whether a later item takes them away or not.

    Raises:
        BackupDamaged: as ``read_lists``.
    """
    yield from (_entry(line) for line in read_item(repository, ref) if "gone" not in line)


def find_entry(repository: Repository, parts: Sequence[Part], segment_sha256: str) -> Entry | None:
    """Return the entry of one segment, if a backup has it. Reads the list from its end, and keeps nothing of it in memory.

    Raises:
        BackupDamaged: as ``read_lists``.
    """
    for part in reversed(parts):
        for ref in reversed(part.refs):
            for line in reversed(read_item(repository, ref, segment_sha256.encode())):
                if line.get("gone") == segment_sha256:
                    return None
                if line.get("segment") == segment_sha256:
                    return _entry(line)
    return None


def _line(one: Entry) -> bytes:
    at, index = one.segment, one.index
    return orjson.dumps(
        {
            "segment": at.sha256,
            "pack": at.pack,
            "offset": at.offset,
            "size": at.size_bytes,
            "index": [index.pack if index.pack != at.pack else "", index.offset, index.size_bytes, index.sha256],
        }
    )


def _entry(line: dict[str, Any]) -> Entry:
    try:
        pack, offset, size, digest = line["index"]
        if not is_digest(line["segment"]):  # it becomes a path: who holds the target must not choose that
            raise ValueError(f"it names a segment {str(line['segment'])[:80]!r}, which is no digest")
        segment = ref_of(line["pack"], line["offset"], line["size"], line["segment"])
        return Entry(segment, ref_of(pack or line["pack"], offset, size, digest))
    except (ValueError, KeyError, TypeError) as error:
        raise BackupDamaged(f"A list at the target is damaged: {error}.") from error


def _parts(things: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(things)
    while part := list(islice(source, _ENTRIES)):
        yield part
