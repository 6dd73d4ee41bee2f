"""Salvage: segments whose index is lost, when the catalogue is lost, too. Their bytes and what else remembers versions tell most.

An index made anew is durable before a row is committed, as a store's is; run again, nothing is left to do.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.cutting import CutUp, cut_up
from storage.documents import Limits
from storage.events import append_events
from storage.index import Index, VersionRecord
from storage.index_files import replace_index
from storage.quarantine import keep_damaged
from storage.remembered import Remembered
from storage.testimony import Testimony
from strongroom import durable
from strongroom.errors import IntegrityError

_TOLD = 5
"""Contents that are named when nobody knows which version they are."""


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    code: str
    cut: CutUp


class Salvage:
    """Makes indexes anew from segments and from what else is left. Ask when indexes and journal have been read."""

    def __init__(self, remembered: Remembered, now: datetime) -> None:
        self._remembered, self._folder, self._now = remembered, remembered.folder, now

    def run(self) -> Iterator[Index]:
        """Yield the indexes that were made anew; remember their records, and what is wrong still. Durable when yielded.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on.
        """
        if not self._remembered.unindexed:
            return
        with durable.os_errors("cannot make an index anew"):
            found = list(self._cut())
            records = self._records(found)
            mine = [[one for one in records if one.content_sha256 in _contents(each)] for each in found]
            elsewhere = {id(one) for one in records} - {id(one) for some in mine for one in some}
            if elsewhere:
                append_events(self._folder.journal, [one for one in records if id(one) in elsewhere])
            self._remembered.records += records
            named = {one.content_sha256 for one in self._remembered.records}
            for each, told in zip(found, mine, strict=True):
                # What nobody names is kept first: once there is an index again, nothing would tell the next run of it.
                self._tell(each, [one for one in _contents(each) if one not in named])
                yield self._write(each, told)

    def _cut(self) -> Iterator[_Found]:
        for name, code in sorted(self._remembered.unindexed.items()):
            path = self._folder.segment(name)
            try:
                yield _Found(name, code, cut_up(path, name, Limits()))
            except IntegrityError:
                said = "It has no whole index, and does not hash to its name: what it holds cannot be told."
                self._remembered.find(code, self._folder.relative(path), said)

    def _records(self, found: Sequence[_Found]) -> list[VersionRecord]:
        cuts = {cut.place.content_sha256: cut for each in found for cut in each.cut.cuts}
        testimony = Testimony(self._folder, self._remembered.records, self._remembered.events)
        testimony.hear(cuts)
        named = {one.content_sha256 for one in (*self._remembered.records, *testimony.records)}
        for each in found:
            nameless = [cut for cut in each.cut.cuts if cut.place.content_sha256 not in named]
            testimony.hear_documents(nameless, self._written(each.name))
        return testimony.records

    def _written(self, name: str) -> datetime:
        return datetime.fromtimestamp(self._folder.segment(name).stat().st_mtime, UTC)

    def _write(self, each: _Found, records: Sequence[VersionRecord]) -> Index:
        path, segment = self._folder.index(each.name), self._folder.segment(each.name)
        keep_damaged(self._folder, path, "The index was damaged, and the catalogue lost.", self._now)
        places = tuple(dict.fromkeys(cut.place for cut in each.cut.cuts))
        index = Index(each.name, segment.stat().st_size, places, tuple(records), (), self._written(each.name))
        replace_index(self._folder.tmp / f"{secrets.token_hex(16)}.index", path, index)
        return index

    def _tell(self, each: _Found, nameless: Sequence[str]) -> None:
        path = self._folder.segment(each.name)
        said = f"Its index was lost and is made anew from its bytes: {len(each.cut.cuts)} objects."
        if not nameless and not each.cut.left_bytes:
            self._remembered.find("index_made_anew", self._folder.relative(path), said)
            return
        # A sweep takes what nothing names: the bytes get a second name, which no program removes.
        kept: Path | None = keep_damaged(self._folder, path, "Nobody knows which versions some of it is.", self._now, in_use=True)
        if nameless:
            said += f" Nobody knows which versions {len(nameless)} of them are: {', '.join(sorted(nameless)[:_TOLD])}."
        if each.cut.left_bytes:
            said += f" {each.cut.left_bytes} bytes cannot be unpacked without it: they refer to other contents."
        self._remembered.find(each.code, self._folder.relative(path), f"{said} All of it is kept as {kept and kept.name}.")


def _contents(each: _Found) -> set[str]:
    return {cut.place.content_sha256 for cut in each.cut.cuts}
