"""The catalogue's rows of libraries and versions, from what was replayed and where contents lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection

from models import rebuild as rows
from models.bulk import Row
from models.curation import AuditRow
from models.tables import new_version_id
from storage.events import Event, Removed, Restored, Silent
from storage.index import VersionRecord
from storage.layout import DataFolder
from storage.paths import encode_component, tree_path
from storage.remembered import Remembered
from storage.replayed import Library, Replayed, Revision, Version
from storage.trail import audit_row
from storage.treecheck import is_in_tree
from storage.treenames import is_linked

Sizes = Mapping[str, tuple[int, int]]
"""Plain and stored bytes of each content that has a place."""


class ReplayedRows:
    """Makes rows, library by library."""

    def __init__(self, folder: DataFolder, replayed: Replayed, sizes: Sizes, now: datetime) -> None:
        self._folder, self._replayed, self._sizes, self._now = folder, replayed, sizes, now

    def add(self, connection: Connection, remembered: Remembered) -> None:
        """Add everything to an empty catalogue; versions whose bytes nothing holds become findings, too."""
        rows.LIBRARIES.add(connection, (self._library(one) for one in self._replayed.told()))
        for library in self._replayed.told():
            rows.VERSIONS.add(connection, self._versions(library, remembered))
            rows.REMOVED.add(connection, self._removed(library))
        pins, labels = self._replayed.pins.values(), self._replayed.labels.values()
        rows.PINS.add(connection, ((one.library_id, one.version, one.at, one.by, one.why) for one in pins))
        labelled = ((one.library_id, one.label, one.version, one.at, one.by, one.why) for one in labels)
        rows.LABELS.add(connection, labelled)
        rows.ALIASES.add(connection, ((*astuple(one), is_linked(self._folder, one)) for one in self._replayed.aliases))

    def _library(self, one: Library) -> Row:
        plain, stored, count = 0, 0, 0
        for revision in one.current():
            sizes = self._sizes.get(revision.record.content_sha256, (0, 0))
            plain, stored, count = plain + sizes[0], stored + sizes[1], count + 1
        latest = (one.latest, *one.newest, one.held, one.held_at)
        return rows.library_row(one.library_id, (one.created_at, one.updated_at), (count, plain, stored), latest, one.facts)

    def _versions(self, library: Library, remembered: Remembered) -> Iterator[Row]:
        # What was just restored has no tree yet: looking for each version took a tenth of the time.
        any_shown = os.path.isdir(self._folder.documentation / encode_component(library.library_id))  # noqa: PTH112 - that raises EIO
        for revision, current in library.revisions():
            if revision.removed is not None:
                continue
            record = revision.record
            if record.content_sha256 not in self._sizes:
                message = f"{record.library_id} {record.version} (revision {revision.number}) has no place in any segment."
                remembered.find("row_without_bytes", f"{record.library_id} {record.version}", message)
            # Of an older revision nothing needs to be shown.
            shown = not current or (any_shown and self._is_shown(record, latest=record.version == library.latest))
            yield self._version(revision, current=current, in_tree=shown)

    def _is_shown(self, record: VersionRecord, *, latest: bool) -> bool:
        return is_in_tree(self._folder, tree_path(record.library_id, record.version), record.content_sha256, latest=latest)

    def _version(self, revision: Revision, *, current: bool, in_tree: bool) -> Row:
        record, (rank, key, _) = revision.record, revision.order
        path, sizes = tree_path(record.library_id, record.version), self._sizes.get(record.content_sha256, (0, 0))
        named = (new_version_id(record.stored_at), record.library_id, record.version, revision.number, current, rank, key, path)
        return (*named, *sizes, record.content_sha256, record.stored_at, record.source, dict(record.details), in_tree)

    def _removed(self, library: Library) -> Iterator[Row]:
        """Yield what can be restored, and the numbers that are kept of what cannot."""
        for version in library.versions.values():
            for one in version.revisions:
                if one.removed is not None and self._may_come_back(one):
                    # The tree may show it still: then it is to be hidden.
                    in_tree = one.was_current and version.current is None
                    row = self._version(one, current=one.was_current, in_tree=in_tree)
                    yield (*row, *_removal(one.removed), None)
                elif one.removed is not None and _is_kept(one, version):
                    yield self._number(one, one.removed)

    def _may_come_back(self, one: Revision) -> bool:
        return one.purged is None and not one.hollow and one.record.content_sha256 in self._sizes

    def _number(self, one: Revision, removed: Removed) -> Row:
        """Return the row that keeps a number from being given again; what nobody said of is purged as of now."""
        library_id, version, content = removed.library_id, removed.version, removed.content_sha256 or one.record.content_sha256
        named = (new_version_id(removed.stored_at), library_id, version, one.number, False, 0, "", tree_path(library_id, version))
        nothing_else: Row = (0, 0, content, removed.stored_at, "", {}, False)
        return (*named, *nothing_else, *_removal(removed), one.purged or self._now)


def _is_kept(one: Revision, version: Version) -> bool:
    """Whether the catalogue still had the number of what can come back no more: the highest one, when it was purged last."""
    return not one.forgotten if one.purged is not None else one.number == version.reserved


def audit_trail(events: Iterable[Event]) -> Iterator[AuditRow]:
    """Yield what the journal tells of who did what: a row for each event, and one a version for what was removed together."""
    for at_once, group in groupby(events, key=_done_at_once):
        if at_once is None:
            yield from (audit_row(one) for one in group if not isinstance(one, Silent))
            continue
        by_version: dict[tuple[str, str], list[Removed | Restored]] = {}
        for one in group:
            assert isinstance(one, Removed | Restored)
            by_version.setdefault((one.library_id, one.version), []).append(one)
        for (library_id, version), of in by_version.items():
            last = of[-1]
            details = {"plan_id": last.plan_id, "revisions": [one.revision for one in of]}
            yield AuditRow(last.at, last.by, last.key, library_id, version, last.why, details)


def _done_at_once(event: Event) -> tuple[str, datetime, str] | None:
    return (event.key, event.at, event.plan_id) if isinstance(event, Removed | Restored) else None


def _removal(event: Removed) -> Row:
    return (event.at, event.by, event.why, event.plan_id)
