"""Scrub: everything stored is read again in time, the least recently read first, and what is damaged is repaired.

Batches of some 64 MiB are claimed in the catalogue, read from the disk, and recorded: a kill loses one batch at most, and any
number of workers share the work. Canaries are read by the same code; a scrub that does not report them proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from models.database import Database
from models.findings import Observation
from models.scrubbing import Due, DueSegment, claim_batch, measure_coverage, record_read, suspects
from storage.canary import Canary, clear, missed, plant
from storage.findings import keep_findings
from storage.fresh import fresh_sha256
from storage.layout import DataFolder
from storage.pace import Pace, step_back
from storage.progress import Progress, silent
from storage.repair import Repair
from storage.second_look import look_again
from storage.tree import Mode
from storage.verify import Verification
from strongroom import durable
from strongroom.contracts import Damage, Finding, Repaired
from strongroom.errors import IntegrityError

BATCH_BYTES = 64 << 20
CLAIM = timedelta(minutes=30)
"""How long a batch belongs to whoever claimed it. One that a dead worker claimed is read by another one after that."""
LATE = 0.8
"""What was read longer ago than this part of the period is read at once."""
EARLY = 0.1
"""What was read less long ago is left alone."""
HEADROOM = 2
"""Everything is read so many times in each period, when nothing goes wrong."""
SEEN_BY = "scrub"
MISSED = "canary_missed"
_THREADS = 2  # hashing lets go of the interpreter's lock; one reads while the other hashes

Read = Callable[[DataFolder, str], bool]


@dataclass(slots=True)
class Scrubbed:
    """What a scrub did, and what it found that remains."""

    segments: int = 0
    read_bytes: int = 0
    batches: int = 0
    canaries: int = 0
    bad_segments: list[str] = field(default_factory=list)
    repaired: list[Repaired] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Scrub:
    """Scrubs one data folder. Any number of processes may, at the same time."""

    def __init__(
        self,
        folder: DataFolder,
        database: Database,
        repair: Repair | None,
        mode: Mode = "none",
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take a folder. Without ``repair`` what is damaged is only reported."""
        self._folder, self._database, self._repair, self._mode = folder, database, repair, mode
        self._pace, self._clock = pace or Pace(), clock

    def run(
        self, period: timedelta, progress: Progress = silent, every: timedelta = timedelta(hours=1), by: str = "schedule"
    ) -> Scrubbed:
        """Read what is due when this is done ``every`` so often: suspects, what is new, what is late, and some of the rest.

        ``by`` is who asks for it, such as person:ada: what is repaired is told of them.

        Raises:
            IntegrityError: a canary was not reported as it should have been: what this scrub says is worth nothing.
            DiskFull, TransientIO, PermissionRefused: the operating system refused; what was read is recorded.
        """
        done = Scrubbed()
        began = self._clock()
        with self._database.read() as connection:
            total = measure_coverage(connection, began, period, began).size_bytes
        share = math.ceil(total * HEADROOM * (every / period))
        with durable.os_errors("cannot plant canaries"):
            canaries = plant(self._folder)
        try:
            with ThreadPoolExecutor(_THREADS, "scrub", step_back) as threads:
                self._read_canaries(threads, canaries, done)
                for batch in self._batches(began, period, share):
                    self._read_batch(threads, batch, done)
                    progress(done.read_bytes, max(total, done.read_bytes))
        finally:
            clear(canaries)
        self._see_to(done, by)
        return done

    def _batches(self, began: datetime, period: timedelta, share: int) -> Iterator[list[DueSegment]]:
        """Yield what is late until there is no more, then as much of the rest as belongs to this run."""
        while batch := self._claim(began - period * LATE, began, BATCH_BYTES):
            yield batch
        while share > 0 and (batch := self._claim(began - period * EARLY, began, min(share, BATCH_BYTES))):
            yield batch
            share -= sum(one.size_bytes for one in batch)

    def _claim(self, before: datetime, began: datetime, most_bytes: int) -> list[DueSegment]:
        now = self._clock()
        with self._database.write("scrub") as connection:
            return claim_batch(connection, most_bytes, Due(before, began), now, now + CLAIM)

    def _read_canaries(self, threads: ThreadPoolExecutor, canaries: Sequence[Canary], done: Scrubbed) -> None:
        bad = self._bad(threads, [(one.folder, one.name) for one in canaries])
        done.canaries = len(canaries)
        lost = missed(canaries, bad)
        message = f"Planted damage was not reported as it should have been: {', '.join(lost)}."
        seen = [Observation(MISSED, "scrub", "run/canaries", message)] if lost else []
        keep_findings(self._folder, self._database, f"{SEEN_BY}: canaries", seen, self._clock())
        if lost:
            raise IntegrityError(message, "Reading or comparing does not work here: no sweep can be trusted until it does.")

    def _read_batch(self, threads: ThreadPoolExecutor, batch: Sequence[DueSegment], done: Scrubbed) -> None:
        names = sorted(one.segment_sha256 for one in batch)  # the order of the disk
        bad = self._bad(threads, [(self._folder, name) for name in names])
        with self._database.write("scrub") as connection:
            record_read(connection, [name for name in names if name not in bad], sorted(bad), self._clock())
        done.segments += len(names)
        done.read_bytes += sum(one.size_bytes for one in batch)
        done.batches += 1
        done.bad_segments += sorted(bad)

    def _bad(self, threads: ThreadPoolExecutor, segments: Iterable[tuple[DataFolder, str]]) -> set[str]:
        """Return those that do not hash to their names, looked at twice: a bad read is no rot."""
        suspects = [one for one, whole in threads.map(self._look, segments) if not whole]
        return {one[1] for one, whole in threads.map(self._look, suspects) if not whole}

    def _look(self, segment: tuple[DataFolder, str]) -> tuple[tuple[DataFolder, str], bool]:
        folder, name = segment
        return segment, fresh_sha256(folder.segment(name), self._pace) == name

    def _see_to(self, done: Scrubbed, by: str) -> None:
        """Repair what was found, and look at it again: what remains is reported, what is whole is no suspect any more."""
        if done.bad_segments and self._repair is not None:
            done.repaired = self._repair.see_to(done.bad_segments, by=by)
        after = Verification(self._folder, self._database, self._mode, silent)
        with self._database.read() as connection:  # others may have been given some: what those found is not over either
            others = set(suspects(connection)) - set(done.bad_segments)
        good = [name for name in done.bad_segments if not after.blame(name)]
        for name in sorted(others):
            after.blame(name)
        if good:
            with self._database.write("scrub") as connection:
                record_read(connection, good, [], self._clock())
        done.damaged, done.findings = after.damaged, after.findings
        seen = [
            Observation(one.code, f"{one.library_id} {one.version} (revision {one.revision})", one.segment, one.message)
            for one in done.damaged
        ]
        seen += [Observation(one.code, "", one.path, one.message) for one in done.findings]
        keep_findings(self._folder, self._database, SEEN_BY, seen, self._clock())
        look_again(self._folder, self._database, self._mode, self._clock())
