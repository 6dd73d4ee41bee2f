"""Writing: checked documents become durable segments. What is stored already is not written again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from models.catalogue import known_places
from models.database import Database
from models.history import current_versions, erased_later
from models.names import real_names
from models.rows import Place
from storage.batch import SegmentBatch
from storage.codecs import Encoder
from storage.documents import Limits
from storage.intake import Checked, check_large, check_small, encode_small
from storage.layout import DataFolder
from storage.outcome import Outcome
from storage.read import is_whole
from storage.segments import Encoded, SegmentWriter
from strongroom.errors import InvalidRequest, PayloadDamaged

GROUP_BYTES = 4 << 20
GROUP_DOCUMENTS = 64
"""Plain bytes and documents of a group. Two groups are in memory at once: one is checked while the one before is encoded.

Nothing is encoded while the first group of a batch is checked, so it is small; below 48 documents the look-ups cost more.
"""

LEAST_DOCUMENTS = 16
"""Of a group while there are more: see ``grouped``."""

DOCUMENT_FAULTS = (InvalidRequest, PayloadDamaged)
"""Errors that are one document's own. Any other says that nothing can be stored now, and fails the batch."""


@dataclass(frozen=True, slots=True)
class Means:
    """What stores work with."""

    folder: DataFolder
    database: Database
    encoder: Encoder
    limits: Limits
    threads: ThreadPoolExecutor


class Writing:
    """One attempt to write the documents of a store. Nothing that it writes is in use before the commit."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._known: dict[str, Place] = {}
        self._coming: set[str] = set()
        self.batch = SegmentBatch(means.folder)

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Check every document and make the new ones durable; tell each outcome what became of it.

        Raises:
            StorageError: the data folder, the catalogue or the source refused; nothing of this attempt is in use.
        """
        before: _Begun | None = None
        try:
            for group in grouped(outcomes):
                begun = self._begin(group)
                if before is not None:
                    self._finish(before)
                before = begun
            if before is not None:
                self._finish(before)
            self.batch.finish()
        finally:
            self.batch.abort()

    def _begin(self, group: Sequence[Outcome]) -> _Begun:
        """Check the small documents of a group and have the new ones encoded.

        Checking holds the interpreter's lock, encoding lets go of it: so one group is checked while another is encoded.
        (Rejected: checking and encoding each side by side on a pool, slower than one thread by what the lock's hand-overs cost.)
        """
        for one in group:
            if one.incoming.claimed_bytes <= self._means.limits.whole_bytes:
                self._check(one)
        sound = self._look_up([one for one in group if one.checked is not None])
        new = {one.known.content_sha256: one.known for one in sound if not self._is_there(one)}
        self._coming |= new.keys()
        halves = [part for part in (list(new.values())[::2], list(new.values())[1::2]) if part]
        encoding = self._means.threads.map(partial(_encode_all, encoder=self._means.encoder), halves)
        return _Begun(group, sound, encoding)

    def _finish(self, begun: _Begun) -> None:
        """Write what was encoded; then stream the large documents of the group."""
        for part in begun.encoding:
            for encoded in part:
                self.batch.add(encoded)
        for one in begun.sound:
            self._tell(one)
        for one in begun.group:
            if one.checked is None and one.error is None:
                self._write_large(one)
        self.batch.rotate_if_full()

    def _check(self, outcome: Outcome) -> None:
        try:
            outcome.checked = check_small(outcome.incoming, self._means.limits)
        except DOCUMENT_FAULTS as error:
            outcome.fail(error)

    def _look_up(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Find out what the catalogue has of checked documents; return those that are to be stored.

        Damaged bytes do not count as stored: storing a document again is how it is healed. In one transaction: between the
        documents of a group its beginning alone costs as much as what is asked.
        """
        if not outcomes:
            return []
        with self._means.database.read() as connection:
            _resolve(connection, outcomes)
            _put_behind_erasures(connection, outcomes)
            _refuse(connection, outcomes)
            sound = [one for one in outcomes if one.error is None]
            found = known_places(connection, {one.known.content_sha256 for one in sound} - self._known.keys())
        if found:
            whole = self._means.threads.map(partial(is_whole, self._means.folder), found.values())
            self._known.update((content, place) for (content, place), fine in zip(found.items(), whole, strict=True) if fine)
        return sound

    def _write_large(self, outcome: Outcome) -> None:
        """Write a document into a segment of its own in the pass that checks it; keep the segment if it holds anything new."""
        writer = SegmentWriter(self._means.folder)
        try:
            outcome.checked = check_large(outcome.incoming, self._means.limits, self._means.encoder, writer)
            if not self._look_up([outcome]):
                return
            if self._length_of(outcome) is None:
                self.batch.add_own(writer, outcome.record())
                outcome.stored_bytes = self.batch.length_of(outcome.known.content_sha256) or 0
            else:
                self._tell(outcome)
        except DOCUMENT_FAULTS as error:
            outcome.fail(error)
        finally:
            writer.abort()

    def _tell(self, outcome: Outcome) -> None:
        self.batch.tell(outcome.record())
        outcome.stored_bytes = self._length_of(outcome) or 0
        outcome.let_go()

    def _is_there(self, outcome: Outcome) -> bool:
        """Whether a document's content is stored, or is being written in this attempt."""
        return outcome.known.content_sha256 in self._coming or self._length_of(outcome) is not None

    def _length_of(self, outcome: Outcome) -> int | None:
        """Return the stored bytes of a document whose content is stored, or written in this attempt."""
        content = outcome.known.content_sha256
        place = self._known.get(content)
        return self.batch.length_of(content) if place is None else place.length


@dataclass(frozen=True, slots=True)
class _Begun:
    """A group that has been checked. ``encoding`` yields the encoded documents of ``sound`` that are new, as they get ready."""

    group: Sequence[Outcome]
    sound: Sequence[Outcome]
    encoding: Iterator[list[Encoded]]


def _resolve(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Have documents that name an alias be of the library that it means."""
    names = real_names(connection, {one.named.library_id for one in outcomes})
    for one in outcomes if names else ():
        if one.named.library_id in names:
            one.rename(names[one.named.library_id])


def _put_behind_erasures(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Have documents be later than what was erased of their libraries: all that was told up to then never was.

    By whole days, so that their order stays.
    """
    erased = erased_later(connection, min(one.stored_at for one in outcomes))
    for one in outcomes if erased else ():
        at = erased.get(one.named.library_id)
        if at is not None and at >= one.stored_at:
            one.stored_at += timedelta(days=(at - one.stored_at).days + 1)


def _refuse(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Refuse documents that are not to be added beside other content, before anything of them is written."""
    careful = [one for one in outcomes if one.refuses_other]
    if not careful:
        return
    there = current_versions(connection, {one.named.file_path for one in careful})
    for one in careful:
        old = there.get(one.named.file_path)
        if old is not None and old.content_sha256 != one.known.content_sha256:
            one.refuse()


def _encode_all(documents: Sequence[Checked], encoder: Encoder) -> list[Encoded]:
    return [encode_small(one, encoder) for one in documents]


def grouped(outcomes: Sequence[Outcome]) -> Iterator[list[Outcome]]:
    """Split a batch into parts that fit in memory, the last ones ever smaller: nothing is checked while the last is encoded."""
    group: list[Outcome] = []
    size, left = 0, len(outcomes)
    for one in outcomes:
        full = len(group) >= min(GROUP_DOCUMENTS, max(LEAST_DOCUMENTS, left // 2))
        if group and (full or size + one.incoming.claimed_bytes > GROUP_BYTES):
            yield group
            left -= len(group)
            group, size = [], 0
        group.append(one)
        size += one.incoming.claimed_bytes
    if group:
        yield group
