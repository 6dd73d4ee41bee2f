"""Store: documents go in, and once this returns they are durable, hashed, and named by the catalogue.

The order is the promise: segments and their indexes become durable, then the journal, then one commit. A crash before the commit
leaves garbage that no row names; a crash after it leaves stored documents that the rerun finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from models.backups import live_records
from models.commit import Outdated, commit_store
from models.database import Database
from models.history import already_there, current_versions, removed_revisions
from models.leases import LeaseLost
from models.names import real_names
from models.rows import NewSegment, NewVersion
from storage.allowance import Allowance, discard
from storage.codecs import Encoder
from storage.documents import Limits
from storage.events import Void, as_entry
from storage.index import VersionRecord
from storage.intake import Incoming
from storage.journal import append_journal
from storage.layout import DataFolder
from storage.outcome import Outcome
from storage.quotas import Quotas
from storage.segments import in_place
from storage.trash import finish_condemned
from storage.writing import Means, Writing
from strongroom.contracts import DocumentReceipt
from strongroom.errors import CatalogueBusy, QuotaExceeded

ATTEMPTS = 3
"""Each but the first was lost to a sweep that took what the one before relied on: more in a row are no accident."""

Record = Callable[[Connection, Sequence[DocumentReceipt]], None]
"""Called inside the commit, to write the caller's own rows (a job's outcome) together with the documents'."""


class Storing:
    """Stores batches into one data folder. Belongs to one process; calls may come from several threads."""

    def __init__(
        self,
        folder: DataFolder,
        database: Database,
        encoder: Encoder,
        limits: Limits,
        threads: ThreadPoolExecutor | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._database = database
        self._allowance = allowance or Allowance(Quotas())
        self._folder = folder
        self._journal = folder.journal
        # isal and hashlib let go of the interpreter's lock: a second thread is worth a second core.
        self._threads = threads or ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2)), "store")
        self._means = Means(folder, database, encoder, limits, self._threads)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def store(self, documents: Sequence[Incoming], record: Record | None = None) -> list[DocumentReceipt]:
        """Store documents with one durability barrier and one commit; return a receipt for each, in order.

        A document that cannot be stored gets a ``failed`` receipt and harms no other. On return every other one is durable.
        Run twice, the second answers ``unchanged``.

        Raises:
            Transient: what waiting can heal; nothing of the batch is stored then, and calling again is safe.
            LeaseLost, QuotaExceeded: ``record`` raised it; nothing of the batch is stored, and the disk does not say that it was.
            StorageError: likewise, for as long as the folder or the catalogue is as it is.
        """
        for _ in range(ATTEMPTS):
            outcomes = _begin(documents)
            writing = Writing(self._means)
            writing.write(outcomes)
            try:
                with suppress(Outdated):
                    return self._commit(outcomes, writing, record)
                with suppress(Outdated):
                    return self._commit_late(outcomes, writing, record)
            except LeaseLost:
                self._give_up(outcomes)
                raise
            except QuotaExceeded:
                self._give_up(outcomes)
                with self._database.write("discard") as connection:
                    discard(connection, self._folder, writing.batch.segments)
                raise
            self._void_renamed(outcomes)
            finish_condemned(self._folder, self._database, datetime.now(UTC))  # else the same bytes would be refused again
        raise CatalogueBusy("What the documents share with others is being swept, again and again.")

    def _commit(self, outcomes: Sequence[Outcome], writing: Writing, record: Record | None) -> list[DocumentReceipt]:
        sound = [one for one in outcomes if one.error is None]
        unrecorded = self._write_journal(sound, writing.batch.untold)
        versions = [one.new_version(recorded=one.stored_at not in unrecorded) for one in sound]
        with self._database.write() as connection:
            return self._add(connection, outcomes, writing.batch.segments, versions, record)

    def _write_journal(self, outcomes: Sequence[Outcome], untold: Sequence[VersionRecord]) -> set[datetime]:
        """Journal the versions that no index tells of, but not those that are there already; return when these were stored."""
        if not untold:
            return set()
        with self._database.read() as connection:
            there = already_there(connection, [(one.named.file_path, one.known.content_sha256) for one in outcomes])
        unchanged = {outcomes[index].stored_at for index in there}
        news = [record for record in untold if record.stored_at not in unchanged]
        if news:
            append_journal(self._journal, [{"version": record.as_json()} for record in news])
        return unchanged

    def _commit_late(self, outcomes: Sequence[Outcome], writing: Writing, record: Record | None) -> list[DocumentReceipt]:
        """Commit a store that another one of the same versions has overtaken.

        Only here a transaction is open while a file is written: while nobody else can commit, so that the new times are the
        last ones. Trying again until nobody comes in between was rejected: with three writers of one version it often failed.
        """
        sound = [one for one in outcomes if one.error is None]
        with self._database.write() as connection:
            if real_names(connection, {one.named.library_id for one in sound}):
                raise Outdated
            changes = _last_changes(connection, {one.named.file_path for one in sound})
            overtaken = _overtaken(sound, changes)
            void = _void(connection, overtaken)
            _put_behind(overtaken, changes)
            there = already_there(connection, [(one.named.file_path, one.known.content_sha256) for one in sound])
            news = [one.record() for index, one in enumerate(sound) if index not in there]
            if news:
                append_journal(self._journal, [*void, *({"version": record.as_json()} for record in news)])
            return self._add(
                connection, outcomes, writing.batch.segments, [one.new_version(recorded=True) for one in sound], record
            )

    def _void_renamed(self, outcomes: Sequence[Outcome]) -> None:
        """Have the disk say that what it was told under the old name of a library was never stored: it is stored anew."""
        sound = [one for one in outcomes if one.error is None]
        with self._database.read() as connection:
            names = real_names(connection, {one.named.library_id for one in sound})
        renamed = [one for one in sound if one.named.library_id in names]
        if renamed:
            self._give_up(renamed)

    def _give_up(self, outcomes: Sequence[Outcome]) -> None:
        """Have the disk say that these were never stored."""
        with self._database.read() as connection:
            void = _void(connection, [one for one in outcomes if one.error is None])
        append_journal(self._journal, void)

    def _add(
        self,
        connection: Connection,
        outcomes: Sequence[Outcome],
        segments: Sequence[NewSegment],
        versions: Sequence[NewVersion],
        record: Record | None,
    ) -> list[DocumentReceipt]:
        if not in_place(self._folder, segments):
            raise Outdated
        refused = self._allowance.refuse(connection, [one for one in outcomes if one.error is None])
        if refused:
            append_journal(self._journal, _void(connection, refused))
            raise Outdated  # once more, without them
        if not versions:
            discard(connection, self._folder, segments)
            segments = ()
        answers = commit_store(connection, segments, versions)
        for one, answer in zip((one for one in outcomes if one.error is None), answers, strict=True):
            one.answer = answer
        receipts = [one.receipt() for one in outcomes]
        if record is not None:
            record(connection, receipts)
        return receipts


_TICK = timedelta(microseconds=1)
"""What two revisions of a version are apart, at least."""

_EVER = datetime.min.replace(tzinfo=UTC)
"""Before all."""


def _begin(documents: Sequence[Incoming]) -> list[Outcome]:
    now = datetime.now(UTC)
    return [Outcome(one, one.stored_at or now + index * _TICK) for index, one in enumerate(documents)]


def _last_changes(connection: Connection, file_paths: Set[str]) -> dict[str, datetime]:
    """Return when the current revision of each version was stored, or a revision of it removed, if that was later."""
    times = {path: current.stored_at for path, current in current_versions(connection, file_paths).items()}
    for path, (_, removed_at) in removed_revisions(connection, file_paths).items():
        times[path] = max(removed_at, times.get(path, removed_at))
    return times


def _overtaken(outcomes: Sequence[Outcome], changed: Mapping[str, datetime]) -> list[Outcome]:
    """Return the documents of every version that was changed at a time that is not earlier than that of one of them."""
    paths = {one.named.file_path for one in outcomes if changed.get(one.named.file_path, _EVER) >= one.stored_at}
    return [one for one in outcomes if one.named.file_path in paths]


def _put_behind(overtaken: Sequence[Outcome], changed: Mapping[str, datetime]) -> None:
    """Give documents a time behind the changes of their versions; their order stays."""
    newest = max((changed[one.named.file_path] for one in overtaken), default=_EVER)
    first = max(datetime.now(UTC), newest + _TICK)
    for index, one in enumerate(overtaken):
        one.stored_at = first + index * _TICK


def _void(connection: Connection, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:  # JSON objects
    """Return the journal entries which say that what an index or the journal tells of these never came to be.

    Two stores may begin in the same microsecond: what the other one committed of the same bytes did come to be.
    """
    keys = [(one.known.content_sha256, one.named.version, one.stored_at) for one in outcomes]
    committed = live_records(connection, keys)
    return [as_entry(_voided(one)) for one, key in zip(outcomes, keys, strict=True) if key not in committed]


def _voided(one: Outcome) -> Void:
    return Void(one.named.library_id, one.named.version, one.stored_at, one.known.content_sha256)
