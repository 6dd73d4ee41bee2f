"""What the disk remembers: every index and the journal, and what of them cannot be read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.events import Event, parse_entry
from storage.index import Index, VersionRecord, read_index
from storage.journal import damaged_lines, read_journal
from storage.layout import DataFolder
from strongroom import durable
from strongroom.contracts import Finding
from strongroom.errors import IntegrityError, TransientIO

Progress = Callable[[int, int], None]
"""Told now and then how many of how many have been read."""

_NAME = re.compile("[0-9a-f]{64}")
_TOLD_LINES = 20
_LASTS = (
    "Look at the disk, then again. If it stays so: move that file away and keep it; what it told is taken from its segment, the "
    "journal and the tree then."
)


@dataclass(slots=True)
class Remembered:
    """What was read so far. ``gone`` are whole indexes whose segment is not there.

    ``unindexed`` are segments whose index is not whole, and the code of the finding that this is, unless it can be made anew.
    """

    folder: DataFolder
    findings: list[Finding] = field(default_factory=list)
    records: list[VersionRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    gone: list[Index] = field(default_factory=list)
    unindexed: dict[str, str] = field(default_factory=dict)

    def find(self, code: str, path: str, message: str) -> None:
        """Remember something that is wrong."""
        self.findings.append(Finding(code=code, path=path, message=message))

    def indexes(self, progress: Progress) -> Iterator[Index]:
        """Yield the index of each segment, whole, and keep the records of its versions.

        Raises:
            TransientIO, PermissionRefused: the operating system refused.
        """
        segments, indexes = self._names()
        self.unindexed.update(dict.fromkeys(segments.keys() - indexes, "index_missing"))
        for number, name in enumerate(sorted(indexes)):
            progress(number, len(indexes))
            index = self._read(name, alone=name not in segments)
            if index is None:
                continue
            self.records += index.versions
            if self._is_there(index, segments.get(name)):
                yield index
            else:
                self.gone.append(index)
        progress(len(indexes), len(indexes))

    def read_journal(self) -> None:
        """Read the journal: its version records, and its other entries in their order.

        Raises:
            TransientIO, PermissionRefused: the operating system refused.
        """
        path = self.folder.relative(self.folder.journal)
        with durable.os_errors("cannot read the journal"):
            for entry in read_journal(self.folder.journal):
                event = self._parse(entry, path)
                if isinstance(event, VersionRecord):
                    self.records.append(event)
                elif event is not None:
                    self.events.append(event)
            damaged = damaged_lines(self.folder.journal)
        if damaged:
            lines = ", ".join(map(str, damaged[:_TOLD_LINES]))
            self.find("journal_damaged", path, f"{len(damaged)} lines do not hash to their digest: {lines}.")

    def _parse(self, entry: Mapping[str, Any], path: str) -> Event | VersionRecord | None:
        try:
            return parse_entry(entry)
        except (KeyError, TypeError, ValueError) as error:
            self.find("journal_damaged", path, f"An entry of the kind {', '.join(entry)} tells nothing: {error!r}.")
            return None

    def _names(self) -> tuple[dict[str, int], set[str]]:
        """Return the sizes of the segments that are there, and the names of those that have an index."""
        segments: dict[str, int] = {}
        indexes: set[str] = set()
        with durable.os_errors("cannot read the segments"), os.scandir(self.folder.segments) as folders:
            for folder in folders:
                if not folder.is_dir():
                    continue
                with os.scandir(folder.path) as entries:
                    for entry in entries:
                        stem, _, suffix = entry.name.partition(".")
                        if not _NAME.fullmatch(stem) or stem[:2] != folder.name:
                            continue
                        if suffix == "index":
                            indexes.add(stem)
                        elif not suffix:
                            segments[stem] = entry.stat(follow_symlinks=False).st_size
        return segments, indexes

    def _read(self, name: str, *, alone: bool) -> Index | None:
        try:
            return read_index(self.folder.index(name))
        except IntegrityError as error:
            code = str(error.context.get("damage", "index_damaged"))
            if alone or error.context.get("newer"):  # that one is whole: nothing is to take its place
                self.find(code, self.folder.relative(self.folder.index(name)), error.message)
            else:
                self.unindexed[name] = code
            return None
        except TransientIO as error:  # whoever made it anew, or went on without it, would let go of what only it may tell
            said = f"{self.folder.relative(self.folder.index(name))}: {error.message}."
            raise TransientIO(said, _LASTS, {"path": str(self.folder.index(name))}) from error

    def _is_there(self, index: Index, size_bytes: int | None) -> bool:
        if size_bytes == index.size_bytes:
            return True
        path = self.folder.relative(self.folder.segment(index.segment_sha256))
        if size_bytes is None:
            self.find("missing", path, "The segment is not there; its index is.")
            return False
        code = "truncated" if size_bytes < index.size_bytes else "wrong_size"
        self.find(code, path, f"The segment has {size_bytes} bytes, and should have {index.size_bytes}.")
        return True
