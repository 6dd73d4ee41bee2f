"""Rebuild: a catalogue that is lost, damaged or out of step is made anew from the disk alone.

On SQLite the new one is written into a file beside the old one and takes its place by one rename, so that a crash at any moment
leaves one of the two. On PostgreSQL the tables are emptied and filled in one transaction.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from models import rebuild as rows
from models.database import Database
from models.migrate import upgrade
from storage.filling import Filling
from storage.layout import DataFolder
from storage.remembered import Progress
from storage.switch import Switch
from strongroom.contracts import Finding
from strongroom.errors import CatalogueBusy, StorageError

_TOLD = 100
"""Versions that are named one by one when a rebuild would forget them."""
_HARMLESS = frozenset({"history_lost", "index_made_anew"})


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the new catalogue holds. ``versions`` counts current ones; ``before`` is where the old catalogue lies now."""

    libraries: int
    versions: int
    revisions: int
    segments: int
    objects: int
    findings: tuple[Finding, ...]
    before: Path | None

    @property
    def lacking(self) -> bool:
        """Whether something may be lacking that was there before: a person has to look."""
        return any(one.code not in _HARMLESS for one in self.findings)


def rebuild(folder: DataFolder, database_url: str, now: datetime, progress: Progress = lambda _done, _total: None) -> Rebuilt:
    """Make the catalogue anew from segments, indexes and journal. Nobody else may use the folder meanwhile: hold its lock.

    What the disk does not know is kept where the old catalogue can be read: jobs, schedules, the audit trail, when segments came
    and were checked, how often versions were read. Damaged indexes, segments that are not there and whatever else cannot be read
    are findings, and do not stop it. On return it is durable.
    Run twice, the second makes the same again.

    Raises:
        DataFolderError: it is no data folder of this release.
        StorageError: the disk or the database refused; the catalogue is as it was.
    """
    folder.check()
    with _uncollected():
        if make_url(database_url).get_backend_name() == "sqlite":
            return _on_sqlite(folder, database_url, now, progress)
        return _on_postgresql(folder, database_url, now, progress)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector away: it looked at all records again and again for a quarter of the time, and none is in a cycle."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _on_postgresql(folder: DataFolder, database_url: str, now: datetime, progress: Progress) -> Rebuilt:
    database = Database(database_url)
    try:
        upgrade(database)
        with database.write("rebuild") as connection:
            learnt = rows.what_was_learnt(connection)
            rows.empty_catalogue(connection)
            work = Filling(folder, connection, now, learnt)
            work.run(progress)
        return _outcome(work, None)
    finally:
        database.close()


def _on_sqlite(folder: DataFolder, database_url: str, now: datetime, progress: Progress) -> Rebuilt:
    switch = Switch(Path(make_url(database_url).database or ""))
    switch.clear()
    database = Database(f"sqlite:///{switch.new}", unfinished=True)  # the switch syncs it
    try:
        upgrade(database)
        with database.write("rebuild") as connection:
            work = Filling(folder, connection, now)
            readable = _keep_the_rest(work, switch.old)
            work.run(progress)
    except BaseException:
        database.close()
        switch.clear()
        raise
    database.close()
    try:
        if readable:
            _say_what_is_forgotten(work, switch)
            switch.refuse_while_in_use()
        return _outcome(work, switch.over(now))
    finally:
        switch.clear()


def _keep_the_rest(work: Filling, old: Path) -> bool:
    """Take along what only the old catalogue knows; return whether it could be read."""
    if not old.exists():
        return False
    database = Database(f"sqlite:///{old}")
    try:
        if rows.has_no_tables(database):  # whoever looked for the lost one has made it
            database.close()
            old.unlink()
            return False
        upgrade(database)
        with work.connection.begin_nested():
            rows.copy_the_rest(database, work.connection)
        with database.read() as connection:
            work.learnt = rows.what_was_learnt(connection)
    except CatalogueBusy:
        raise
    except StorageError as error:
        message = f"The history of jobs, the schedules and the audit trail could not be kept: {error.message}"
        work.remembered.find("history_lost", old.name, message)
        return False
    finally:
        database.close()
    return True


def _say_what_is_forgotten(work: Filling, switch: Switch) -> None:
    """Name what the old catalogue knew and the disk does not tell any more: the old one is kept, nothing is thrown away."""
    # Opened as it was written: SQLite would sync it otherwise, and a sync that failed is told once, to whoever asks first.
    after = Database(f"sqlite:///{switch.new}", unfinished=True)
    try:
        known = {(library, version, content) for library, version, _, content in rows.known_revisions(after)}
    finally:
        after.close()
    before = Database(f"sqlite:///{switch.old}")
    try:
        lost = [one for one in rows.known_revisions(before) if (one[0], one[1], one[3]) not in known]
    except StorageError:
        return
    finally:
        before.close()
    for library, version, revision, _ in lost[:_TOLD]:
        message = f"{library} {version} (revision {revision}) was in the old catalogue, and the disk tells nothing of it."
        work.remembered.find("untold", f"{library} {version}", message)
    if len(lost) > _TOLD:
        work.remembered.find("untold", "metadata", f"And {len(lost) - _TOLD} more revisions that the disk tells nothing of.")


def _outcome(work: Filling, before: Path | None) -> Rebuilt:
    libraries = list(work.replayed.told())
    versions = sum(sum(1 for _ in one.current()) for one in libraries)
    revisions = sum(1 for one in libraries for revision, _ in one.revisions() if revision.removed is None)
    findings = tuple(work.remembered.findings)
    return Rebuilt(len(libraries), versions, revisions, work.segments, work.objects, findings, before)
