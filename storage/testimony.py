"""What else remembers versions when an index is lost: the tree, indexes in the trash, removals, and the documents themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from storage.cutting import Cut
from storage.events import Event, Removed, Void
from storage.generation import METADATA
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from storage.naming import Names
from storage.paths import check_identifier
from storage.treesync import GENERATIONS
from strongroom.errors import IntegrityError, InvalidIdentifier

_Key = tuple[str, str, datetime]
_TICK = timedelta(microseconds=1)
_DIGEST = re.compile("[0-9a-f]{64}")


class Testimony:
    """Collects records that nobody else has told. Each source is asked only for what those before it do not know."""

    def __init__(self, folder: DataFolder, records: Iterable[VersionRecord], events: Sequence[Event]) -> None:
        self._folder, self._events = folder, events
        self._names = Names(events)
        self._told = {self._key(one) for one in records}
        self._aliases = {one.alias for one in self._names.aliases()}
        self.records: list[VersionRecord] = []

    def hear(self, cuts: Mapping[str, Cut]) -> None:
        """Ask all sources; ``cuts`` are the contents that were found without a name."""
        for record in self._in_trash():
            self._take(record)
        for record in self._in_tree(cuts):
            self._take(record)
        for event in self._events:
            if isinstance(event, Removed) and event.content_sha256 in cuts:
                self._take(VersionRecord(event.library_id, event.version, event.content_sha256, event.stored_at))

    def hear_documents(self, cuts: Sequence[Cut], at: datetime) -> None:
        """Take a document's own word for which version it is, where nothing else tells of that version.

        Not where two say the same: nobody could tell which one is the newer. ``at`` is when they count as stored.
        """
        void = {one.content_sha256 for one in self._events if isinstance(one, Void)}
        known = {(library_id, version) for library_id, version, _ in self._told}
        known |= {(self._names.today(one.library_id, one.at), one.version) for one in self._events if isinstance(one, Removed)}
        named: dict[tuple[str, str], list[Cut]] = defaultdict(list)
        for cut in cuts:
            library_id, version = cut.identity.library_id, cut.identity.version
            if library_id and version and cut.place.content_sha256 not in void:
                named[library_id, version].append(cut)
        for number, ((library_id, version), mine) in enumerate(sorted(named.items())):
            if len(mine) == 1 and (library_id, version) not in known and library_id not in self._aliases:
                with suppress(InvalidIdentifier):
                    check_identifier(library_id, "library id")
                    check_identifier(version, "version")
                    facts, content = mine[0].identity.library, mine[0].place.content_sha256
                    self._take(VersionRecord(library_id, version, content, at + number * _TICK, library=facts))

    def _take(self, record: VersionRecord) -> None:
        key = self._key(record)
        if key not in self._told:
            self._told.add(key)
            self.records.append(record)

    def _key(self, record: VersionRecord) -> _Key:
        return (self._names.today(record.library_id, record.stored_at), record.version, record.stored_at)

    def _in_trash(self) -> Iterator[VersionRecord]:
        for path in sorted(self._folder.trash.glob("swept-*.index")):
            with suppress(IntegrityError):
                yield from read_index(path, path.stem[-64:]).versions

    def _in_tree(self, cuts: Mapping[str, Cut]) -> Iterator[VersionRecord]:
        """Yield what the tree shows and showed: all but the name that a version ordered as, if it had one."""
        for path in sorted(self._folder.documentation.glob(f"*/{GENERATIONS}/*/{METADATA}")):
            with suppress(OSError, ValueError, KeyError, TypeError, InvalidIdentifier):
                yield _told_by(orjson.loads(path.read_bytes()), cuts)


def _told_by(metadata: Mapping[str, Any], cuts: Mapping[str, Cut]) -> VersionRecord:  # any JSON: others can write there
    content, source, details = metadata["content_sha256"], metadata["download_source"] or "", metadata["metadata"] or {}
    texts = (metadata["library_id"], metadata["version"], source)
    if not (_DIGEST.fullmatch(content) and all(isinstance(one, str) for one in texts) and isinstance(details, dict)):
        raise ValueError("nobody wrote such a thing")
    return VersionRecord(
        check_identifier(texts[0], "library id"),
        check_identifier(texts[1], "version"),
        content,
        datetime.fromisoformat(metadata["created_at"]).astimezone(UTC),
        source=source,
        library=cuts[content].identity.library if content in cuts else {},
        details=details,
    )
