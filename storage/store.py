"""Store: documents go in, and once this returns they are durable, hashed, and named by the catalogue.

The order is the promise: segments and their indexes become durable, then the journal, then one commit. A crash before the commit
leaves garbage that no row names; a crash after it leaves stored documents that the rerun finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from models.catalogue import known_places
from models.commit import Outdated, commit_store, current_versions
from models.database import Database
from models.rows import Committed, NewVersion, Place
from storage.batch import SegmentBatch
from storage.codecs import Encoder
from storage.documents import Limits
from storage.index import VersionRecord
from storage.intake import Checked, Incoming, check_large, check_small, encode_small
from storage.journal import append_journal
from storage.layout import DataFolder
from storage.segments import Encoded, SegmentWriter
from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import StorageError, VersionExists
from strongroom.result import Problem

GROUP_BYTES = 8 << 20
GROUP_DOCUMENTS = 128
"""What is held in memory at once: plain bytes, documents."""

Record = Callable[[Connection, Sequence[DocumentReceipt]], None]
"""Called inside the commit, to write the caller's own rows (a job's outcome) together with the documents'."""


@dataclass(slots=True)
class _Attempt:
    """One run of a store over its documents, by their index."""

    now: datetime
    reuse: bool
    batch: SegmentBatch
    known: dict[str, Place] = field(default_factory=dict)
    checked: dict[int, Checked] = field(default_factory=dict)
    failed: dict[int, StorageError] = field(default_factory=dict)
    untold: set[int] = field(default_factory=set)
    """Documents whose version no index tells of, since their content lies elsewhere: the journal must."""


class Storing:
    """Stores batches into one data folder. Belongs to one process; calls may come from several threads."""

    def __init__(self, folder: DataFolder, database: Database, encoder: Encoder, limits: Limits) -> None:
        self._folder = folder
        self._database = database
        self._encoder = encoder
        self._limits = limits
        # isal and hashlib let go of the interpreter's lock: a second thread is worth a second core.
        self._threads = ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2)), "store")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def store(self, documents: Sequence[Incoming], record: Record | None = None) -> list[DocumentReceipt]:
        """Store documents with one durability barrier and one commit; return a receipt for each, in order.

        A document that cannot be stored gets a ``failed`` receipt and harms no other. On return every other one is durable.
        Run twice, the second answers ``unchanged``.

        Raises:
            Transient: what waiting can heal; nothing of the batch is stored then, and calling again is safe.
        """
        attempt = self._attempt(documents, reuse=True)
        try:
            return self._commit(attempt, documents, record)
        except Outdated:
            return self._commit(self._attempt(documents, reuse=False), documents, record)

    def _attempt(self, documents: Sequence[Incoming], *, reuse: bool) -> _Attempt:
        attempt = _Attempt(datetime.now(UTC), reuse, SegmentBatch(self._folder))
        try:
            for group in _groups(documents):
                self._take_group(attempt, group)
                attempt.batch.rotate_if_full()
            attempt.batch.finish()
        finally:
            attempt.batch.abort()
        return attempt

    def _take_group(self, attempt: _Attempt, group: Mapping[int, Incoming]) -> None:
        """Check the small documents of a group side by side, write the new ones; then stream the large ones."""
        small = {index: one for index, one in group.items() if one.claimed_bytes <= self._limits.whole_bytes}
        outcomes = dict(zip(small, self._threads.map(self._check, small.values()), strict=True))
        for index, outcome in outcomes.items():
            if isinstance(outcome, StorageError):
                attempt.failed[index] = outcome
            elif outcome is not None:
                attempt.checked[index] = outcome
        self._drop_refused(attempt, group)
        self._write_small(attempt, [index for index in small if index in attempt.checked])
        for index in group:
            if index not in attempt.checked and index not in attempt.failed:
                self._write_large(attempt, index, group[index])

    def _check(self, incoming: Incoming) -> Checked | StorageError | None:
        try:
            return check_small(incoming, self._limits)
        except StorageError as error:
            if error.retryable:
                raise
            return error

    def _drop_refused(self, attempt: _Attempt, indexes: Mapping[int, Incoming]) -> None:
        """Fail documents that are not to be added beside other content, before anything of them is written."""
        careful = [index for index in indexes if index in attempt.checked and _refuses(attempt.checked[index])]
        if not careful:
            return
        with self._database.read() as connection:
            there = current_versions(connection, {attempt.checked[index].named.file_path for index in careful})
        for index in careful:
            checked = attempt.checked[index]
            old = there.get(checked.named.file_path)
            if old is not None and old.content_sha256 != checked.content_sha256:
                attempt.failed[index] = _version_exists(checked)
                del attempt.checked[index]

    def _write_small(self, attempt: _Attempt, indexes: Sequence[int]) -> None:
        self._look_up(attempt, {attempt.checked[index].content_sha256 for index in indexes})
        new = {}
        for index in indexes:
            content = attempt.checked[index].content_sha256
            if content not in attempt.known and attempt.batch.length_of(content) is None:
                new[content] = attempt.checked[index]
        for encoded in self._threads.map(self._encode, new.values()):
            attempt.batch.add(encoded)
        for index in indexes:
            self._tell(attempt, index)

    def _encode(self, checked: Checked) -> Encoded:
        return encode_small(checked, self._encoder)

    def _look_up(self, attempt: _Attempt, contents: set[str]) -> None:
        if attempt.reuse and contents:
            with self._database.read() as connection:
                attempt.known.update(known_places(connection, contents - attempt.known.keys()))

    def _tell(self, attempt: _Attempt, index: int) -> None:
        checked = attempt.checked[index]
        if not attempt.batch.tell(_version_record(checked, attempt.now)):
            attempt.untold.add(index)
        attempt.checked[index] = replace(checked, plain=None)

    def _write_large(self, attempt: _Attempt, index: int, incoming: Incoming) -> None:
        writer = SegmentWriter(self._folder)
        try:
            checked = check_large(incoming, self._limits, self._encoder, writer)
            attempt.checked[index] = checked
            self._drop_refused(attempt, {index: incoming})
            self._look_up(attempt, {checked.content_sha256})
            if index in attempt.failed:
                return
            if checked.content_sha256 in attempt.known or attempt.batch.length_of(checked.content_sha256) is not None:
                self._tell(attempt, index)
            else:
                attempt.batch.add_own(writer, _version_record(checked, attempt.now))
        except StorageError as error:
            if error.retryable:
                raise
            attempt.failed[index] = error
        finally:
            writer.abort()

    def _commit(self, attempt: _Attempt, documents: Sequence[Incoming], record: Record | None) -> list[DocumentReceipt]:
        self._write_journal(attempt)
        order = sorted(attempt.checked)
        versions = [self._new_version(attempt, index) for index in order]
        with self._database.write() as connection:
            answers = dict(zip(order, commit_store(connection, attempt.batch.segments, versions), strict=True))
            receipts = [_receipt(attempt, index, one, answers.get(index)) for index, one in enumerate(documents)]
            if record is not None:
                record(connection, receipts)
        return receipts

    def _write_journal(self, attempt: _Attempt) -> None:
        """Journal the versions that no index tells of. One that is there already needs no line: it stays untold."""
        if attempt.untold and attempt.reuse:
            paths = {index: attempt.checked[index].named.file_path for index in attempt.untold}
            with self._database.read() as connection:
                there = current_versions(connection, paths.values())
            unchanged = {
                index
                for index, path in paths.items()
                if path in there and there[path].content_sha256 == attempt.checked[index].content_sha256
            }
        else:
            unchanged = set()
        told = sorted(attempt.untold - unchanged)
        if told:
            records = (_version_record(attempt.checked[index], attempt.now) for index in told)
            append_journal(self._folder.journal, [{"version": record.as_json()} for record in records])
        attempt.untold = unchanged

    def _new_version(self, attempt: _Attempt, index: int) -> NewVersion:
        checked = attempt.checked[index]
        known = attempt.known.get(checked.content_sha256)
        stored_bytes = known.length if known else attempt.batch.length_of(checked.content_sha256)
        assert stored_bytes is not None
        named, options = checked.named, checked.incoming.options
        return NewVersion(
            named.library_id,
            named.version,
            named.order_rank,
            named.order_key,
            named.file_path,
            checked.content_sha256,
            checked.size_bytes,
            stored_bytes,
            attempt.now,
            refuse_other=_refuses(checked),
            source=options.source or "",
            library=named.identity.library,
            details=options.metadata,
            recorded=index not in attempt.untold,
        )


def _groups(documents: Sequence[Incoming]) -> Iterator[dict[int, Incoming]]:
    """Split a batch into parts that fit in memory."""
    group: dict[int, Incoming] = {}
    size = 0
    for index, incoming in enumerate(documents):
        if group and (len(group) >= GROUP_DOCUMENTS or size + incoming.claimed_bytes > GROUP_BYTES):
            yield group
            group, size = {}, 0
        group[index] = incoming
        size += incoming.claimed_bytes
    if group:
        yield group


def _refuses(checked: Checked) -> bool:
    return checked.incoming.options.if_exists == "refuse"


def _version_exists(checked: Checked) -> VersionExists:
    named = checked.named
    return VersionExists(f"{named.library_id} {named.version} is stored with other content.")


def _version_record(checked: Checked, now: datetime) -> VersionRecord:
    named, options = checked.named, checked.incoming.options
    return VersionRecord(
        named.library_id,
        named.version,
        checked.content_sha256,
        now,
        sort_as=options.sort_as or "",
        refuse_other=_refuses(checked),
        source=options.source or "",
        library=named.identity.library,
        details=options.metadata,
    )


def _receipt(attempt: _Attempt, index: int, incoming: Incoming, answer: Committed | None) -> DocumentReceipt:
    checked = attempt.checked.get(index)
    error = attempt.failed.get(index)
    if checked is not None and answer is not None and answer.status == "refused":
        error = _version_exists(checked)
    if checked is None or answer is None or error is not None:
        assert error is not None
        return DocumentReceipt(name=incoming.name, status="failed", error=ErrorInfo.of(Problem.of(error)))
    known = attempt.known.get(checked.content_sha256)
    return DocumentReceipt(
        name=incoming.name,
        status="unchanged" if answer.status == "unchanged" else "stored",
        library_id=checked.named.library_id,
        version=checked.named.version,
        revision=answer.revision,
        content_sha256=checked.content_sha256,
        size_bytes=checked.size_bytes,
        stored_bytes=known.length if known else attempt.batch.length_of(checked.content_sha256),
    )
