"""Sweep: the bytes that nothing names any more go to the trash, and from there when their grace period is over.

In this order: the trash is emptied, which needs no free space; removed versions whose grace period is over are given up; segments
of which nothing is needed are condemned in one transaction that looks again, and moved to the trash in another that also forgets
them. A commit refuses a condemned segment, and looks in its own transaction whether the files of a new one are in their place:
there is one writer at a time, so nothing that a version relies on is moved away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models.database import Database
from models.sweeping import (
    Looked,
    Overdue,
    condemn_dead,
    count_segments,
    known_segments,
    look_at,
    next_segments,
    purge,
    to_purge,
)
from storage.carry import carry_over
from storage.compact import Compaction
from storage.events import Purged, append_events
from storage.layout import DataFolder
from storage.pending import changing
from storage.spare import keep_spare, use_spare
from storage.trash import empty_trash, finish_condemned, throw_away
from storage.untold import only_copies
from strongroom import durable
from strongroom.errors import DiskFull
from strongroom.locks import locked_if_free

GRACE = timedelta(hours=168)
"""How long what was removed can come back, and after that how long its bytes stay in the trash."""
LEAST_GRACE = timedelta(hours=1)
LONGEST_STORE = timedelta(hours=1)
"""What is younger may belong to a store that has not committed yet."""
ABANDONED = timedelta(days=1)
"""A segment without a row that is older belongs to a store that died. Its job has been done anew since, or the catalogue is an
older copy: storage/untold.py tells these apart."""
PORTION = 500
"""Rows or files of one transaction."""
LOCK = "sweep.lock"

Progress = Callable[[int, int], None]
"""Told how many segments of how many have been looked at."""


@dataclass(slots=True)
class Swept:
    """What a sweep did. Sizes are bytes of segments and indexes."""

    purged: int = 0
    condemned: int = 0
    abandoned: int = 0
    compacted: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    trashed_bytes: int = 0
    left: int = 0
    """Segments that stay though nothing needs them: their index cannot be read, and may have told of what lives elsewhere."""
    untold: int = 0
    """Segments that stay though the catalogue does not know them: only they hold something, and a rebuild brings it back."""
    under_way: bool = False
    """Another sweep is at it: this one did nothing."""


class Sweep:
    """Sweeps one data folder. Any number of processes may: one at a time does."""

    def __init__(self, folder: DataFolder, database: Database, grace: timedelta = GRACE) -> None:
        """Take a folder. A grace period below an hour is one of an hour: readers need some."""
        self._folder = folder
        self._database = database
        self._grace = max(grace, LEAST_GRACE)

    def run(self, now: datetime, progress: Progress = lambda _done, _total: None) -> Swept:
        """Sweep once. Run twice, or cut short anywhere, it goes on where it was; no version becomes unreadable by it.

        On a full disk it uses the room that an earlier sweep set aside.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; what needed no space is done.
        """
        swept = Swept()
        with durable.os_errors("cannot sweep"), locked_if_free(self._folder.metadata / LOCK) as mine:
            if not mine:
                return Swept(under_way=True)
            swept.deleted, swept.deleted_bytes = empty_trash(self._folder, now, self._grace)
            keep_spare(self._folder)
            try:
                self._run(swept, now, progress)
            except DiskFull:
                if not use_spare(self._folder):
                    raise
                self._run(swept, now, progress)
            keep_spare(self._folder)
        return swept

    def _run(self, swept: Swept, now: datetime, progress: Progress) -> None:
        self._finish(swept, now)
        self._purge(swept, now)
        self._throw_away_abandoned(swept, now)
        self._sweep_segments(swept, now, progress)

    def _purge(self, swept: Swept, now: datetime) -> None:
        with changing(self._folder, self._database, now):
            while True:
                with self._database.read() as connection:
                    revisions = to_purge(connection, now - self._grace, PORTION)
                if revisions:
                    self._give_up(revisions, now)
                swept.purged += len(revisions)
                if len(revisions) < PORTION:
                    return

    def _give_up(self, revisions: Sequence[Overdue], now: datetime) -> None:
        """Purge revisions, told in the journal before: else a rebuild could restore what shares its content with others.

        A crash in between needs no note: the next sweep gives up the same, and whoever restores it first says so behind this.
        """
        told = (Purged(one.library_id, one.version, one.stored_at, one.revision, now) for one in revisions)
        append_events(self._folder.journal, told)
        with self._database.write("purge") as connection:
            purge(connection, revisions, now)

    def _sweep_segments(self, swept: Swept, now: datetime, progress: Progress) -> None:
        compaction = Compaction(self._folder, self._database, now - LONGEST_STORE)
        with self._database.read() as connection:
            total = count_segments(connection)
        done, after = 0, ""
        while True:
            with self._database.read() as connection:
                names = next_segments(connection, after)
                looked = look_at(connection, names, now - LONGEST_STORE) if names else []
            if not names:
                break
            done, after = done + len(names), names[-1]
            self._condemn([one for one in looked if not one.live_bytes], swept, now)
            swept.compacted += compaction.take(looked, now)
            self._finish(swept, now)
            progress(done, max(done, total))
        swept.compacted += compaction.finish(now)
        self._finish(swept, now)

    def _condemn(self, dead: Sequence[Looked], swept: Swept, now: datetime) -> None:
        if not dead:
            return
        carried = carry_over(self._folder, self._database, [one.segment_sha256 for one in dead])
        swept.left += len(carried.unreadable)
        with self._database.write("sweep") as connection:
            condemned = condemn_dead(connection, carried.free, now - LONGEST_STORE)
        swept.condemned += len(condemned)

    def _finish(self, swept: Swept, now: datetime) -> None:
        swept.trashed_bytes += finish_condemned(self._folder, self._database, now)

    def _throw_away_abandoned(self, swept: Swept, now: datetime) -> None:
        for folder in sorted(self._folder.segments.iterdir()):
            names = {path.name.removesuffix(".index") for path in _older(folder, now - ABANDONED)}
            with self._database.read() as connection:
                strange = names - known_segments(connection, names)
            if strange:
                self._throw_away(sorted(strange), swept, now)

    def _throw_away(self, names: Sequence[str], swept: Swept, now: datetime) -> None:
        carried = carry_over(self._folder, self._database, [name for name in names if self._folder.index(name).exists()])
        untold = only_copies(self._folder, self._database, carried.free)
        free = set(names) - set(carried.unreadable) - untold
        swept.left += len(carried.unreadable)
        swept.untold += len(untold)
        with self._database.write("sweep") as connection:
            known = known_segments(connection, free)
            for name in sorted(free - known):
                files = [path for path in (self._folder.segment(name), self._folder.index(name)) if path.exists()]
                if files and all(_is_older(path, now - ABANDONED) for path in files):
                    swept.trashed_bytes += sum(path.stat().st_size for path in files)
                    throw_away(self._folder, name, now)
                    swept.abandoned += 1


def _older(folder: Path, than: datetime) -> Iterator[Path]:
    for path in folder.iterdir():
        if _is_older(path, than):
            yield path


def _is_older(path: Path, than: datetime) -> bool:
    try:
        return path.stat().st_mtime < than.timestamp()
    except FileNotFoundError:
        return False
