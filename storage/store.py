"""Store: documents go in, and once this returns they are durable, hashed, and named by the catalogue.

The order is the promise: segments and their indexes become durable, then the journal, then one commit. A crash before the commit
leaves garbage that no row names; a crash after it leaves stored documents that the rerun finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from models.commit import Outdated, commit_store
from models.database import Database
from models.history import already_there
from storage.codecs import Encoder
from storage.documents import Limits
from storage.index import VersionRecord
from storage.intake import Incoming
from storage.journal import append_journal
from storage.layout import DataFolder
from storage.outcome import Outcome
from storage.writing import Means, Writing
from strongroom.contracts import DocumentReceipt
from strongroom.errors import CatalogueBusy

ATTEMPTS = 4
"""Each but the first was lost to another store of the same version that committed in between: more in a row are no accident."""

Record = Callable[[Connection, Sequence[DocumentReceipt]], None]
"""Called inside the commit, to write the caller's own rows (a job's outcome) together with the documents'."""


class Storing:
    """Stores batches into one data folder. Belongs to one process; calls may come from several threads."""

    def __init__(self, folder: DataFolder, database: Database, encoder: Encoder, limits: Limits) -> None:
        self._database = database
        self._journal = folder.journal
        # isal and hashlib let go of the interpreter's lock: a second thread is worth a second core.
        self._threads = ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2)), "store")
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
            StorageError: likewise, for as long as the folder or the catalogue is as it is.
        """
        behind = datetime.min.replace(tzinfo=UTC)
        for _ in range(ATTEMPTS):
            outcomes = _begin(documents, behind)
            writing = Writing(self._means)
            writing.write(outcomes)
            try:
                return self._commit(outcomes, writing, record)
            except Outdated as error:
                behind = error.behind or behind
        raise CatalogueBusy("Other stores of the same versions came in between, again and again.")

    def _commit(self, outcomes: Sequence[Outcome], writing: Writing, record: Record | None) -> list[DocumentReceipt]:
        sound = [one for one in outcomes if one.error is None]
        unrecorded = self._write_journal(sound, writing.batch.untold)
        versions = [one.new_version(recorded=one.stored_at not in unrecorded) for one in sound]
        with self._database.write() as connection:
            committed = commit_store(connection, writing.batch.segments, versions)
            answers = {one.stored_at: answer for one, answer in zip(sound, committed, strict=True)}
            receipts = [one.receipt(answers.get(one.stored_at)) for one in outcomes]
            if record is not None:
                record(connection, receipts)
        return receipts

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


def _begin(documents: Sequence[Incoming], behind: datetime) -> list[Outcome]:
    first = max(datetime.now(UTC), behind + timedelta(microseconds=1))
    return [Outcome(one, first + timedelta(microseconds=index)) for index, one in enumerate(documents)]
