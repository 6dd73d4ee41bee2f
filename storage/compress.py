"""Compress: what was encoded fast on arrival is encoded well, and old versions refer to newer ones.

For each library: new segments are durable and read back before one commit lets go of the old places. What nobody names then is
condemned and goes to the trash at once. A crash leaves garbage, or finished work; the next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models.database import Database
from models.parts import in_parts
from models.recompress import Shown, Stored, library_bytes, library_contents, library_names
from models.sweeping import condemn_dead, look_at
from storage.carry import carry_over
from storage.compact import Compaction
from storage.encodings import Kept
from storage.layout import DataFolder
from storage.recode import Recoding
from storage.rewrite import Rewrite
from storage.shelve import shelve
from storage.trash import finish_condemned
from storage.tree import Tree
from strongroom import durable
from strongroom.errors import IntegrityError, NotFound, TransientIO
from strongroom.locks import locked_if_free

LOCK = "compress.lock"
_SOON = timedelta(minutes=1)

Progress = Callable[[int, int], None]
"""Told how many plain bytes of how many have been looked at."""


@dataclass(slots=True)
class Compressed:
    """What a run did. ``damaged`` names libraries in which something could not be read; the rest of them is done."""

    libraries: int = 0
    contents: int = 0
    rewritten: int = 0
    trashed_bytes: int = 0
    cpu_s: float = 0.0
    damaged: list[str] = field(default_factory=list)


class Compress:
    """Compresses one data folder. One at a time; stores, reads and sweeps go on beside it."""

    def __init__(self, folder: DataFolder, database: Database, tree: Tree, shown: Shown, kept: Kept) -> None:
        """Take a folder. ``kept`` is how the versions are encoded that the tree shows, and each library's latest."""
        self._folder = folder
        self._database = database
        self._tree = tree
        self._shown = shown
        self._kept = kept

    def run(self, now: datetime, library_id: str | None = None, progress: Progress = lambda _done, _total: None) -> Compressed:
        """Compress a library, or all of them. Run again, it does only what is new.

        Raises:
            NotFound: no such library.
            TransientIO: another process is at it.
            DiskFull, PermissionRefused: the operating system refused; what was committed stays, nothing is lost.
        """
        begun, done = time.process_time(), Compressed()
        with durable.os_errors("cannot compress"), locked_if_free(self._folder.metadata / LOCK) as mine:
            if not mine:
                raise TransientIO("Another process is compressing.", "It is tried again; or wait until that one has ended.")
            with self._database.read() as connection:
                names = library_names(connection) if library_id is None else [library_id]
                total = library_bytes(connection, library_id)
            if not total:
                if library_id is not None:
                    raise NotFound(f"{library_id} is not stored.")
                return done
            self._run(done, names, now, progress, total)
        done.cpu_s = time.process_time() - begun
        return done

    def _run(self, done: Compressed, names: list[str], now: datetime, progress: Progress, total: int) -> None:
        left: set[str] = set()
        at = 0
        while names:
            for name in names:
                emptied, size = self._library(done, name, now)
                left |= emptied
                at += size
                progress(at, max(at, total))
                self._let_go(done, left, now, compact=False)
            with self._database.read() as connection:
                names = library_names(connection, names[-1]) if len(names) > 1 else []
        self._let_go(done, left, now, compact=True)
        self._tree.catch_up()
        shelve(self._folder)

    def _library(self, done: Compressed, library_id: str, now: datetime) -> tuple[set[str], int]:
        """Compress one library; return the segments that old encodings were in, and its plain bytes."""
        with self._database.read() as connection:
            contents = library_contents(connection, library_id, self._shown)
        batch = Rewrite(self._folder, self._database, self._shown)
        recoding = Recoding(self._folder, self._database, self._kept, batch)
        emptied: set[str] = set()
        done.libraries += 1
        try:
            for one in contents:
                self._take(done, recoding, one, library_id)
                if batch.is_full:
                    let_go = self._commit(done, batch, now)
                    recoding.committed(done=bool(let_go))
                    emptied |= let_go
            emptied |= self._commit(done, batch, now)
        except IntegrityError:
            _note_damage(done, library_id)
        finally:
            batch.abort()
        return emptied, sum(one.place.size_bytes for one in contents)

    def _take(self, done: Compressed, recoding: Recoding, one: Stored, library_id: str) -> None:
        done.contents += 1
        try:
            recoding.take(one)
        except IntegrityError:
            _note_damage(done, library_id)

    def _commit(self, done: Compressed, batch: Rewrite, now: datetime) -> set[str]:
        count = len(batch)
        emptied = batch.commit(now)
        done.rewritten += count if emptied else 0
        return emptied

    def _let_go(self, done: Compressed, names: set[str], now: datetime, *, compact: bool) -> None:
        """Condemn those of these segments of which nothing is needed, and move them to the trash; forget them.

        Not after an hour, as a sweep does: what was stored lately is just what is compressed first, and a store that counts
        on one of these looks again when it commits.
        """
        later = now + _SOON
        compaction = Compaction(self._folder, self._database, later)
        for part in in_parts(sorted(names)):
            with self._database.read() as connection:
                looked = look_at(connection, part, later)
            dead = [one.segment_sha256 for one in looked if not one.live_bytes]
            if dead:
                free = carry_over(self._folder, self._database, dead).free
                with self._database.write("compress") as connection:
                    condemn_dead(connection, free, later)
            if compact:
                compaction.take(looked, now)
            names -= set(dead)
        if compact:
            compaction.finish(now)
        done.trashed_bytes += finish_condemned(self._folder, self._database, now)


def _note_damage(done: Compressed, library_id: str) -> None:
    if library_id not in done.damaged:
        done.damaged.append(library_id)
