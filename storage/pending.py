"""The note of a change that is under way: what the journal was told though the catalogue may never have agreed.

The journal is written before the commit, so a crash in between leaves it ahead of the catalogue, and a rebuild would remove what
nobody removed. The note, durable before the journal is touched, names the revisions: whoever comes next has the journal say of
these what the catalogue says.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from models.database import Database
from models.removal import Gone, removed_ones
from models.revisions import RevisionRow, find_revisions
from storage.events import Event, Removed, Restored, append_events
from storage.layout import DataFolder
from strongroom import durable
from strongroom.locks import locked

NOTE, LOCK = "removal.pending", "removal.lock"
MOMENT = timedelta(microseconds=1)
HEALED_BY = "recovery"


@contextmanager
def changing(folder: DataFolder, database: Database, now: datetime) -> Iterator[None]:
    """Be the only one who removes, restores or purges while entered. First heals what a crash left half done.

    Raises:
        TransientIO: somebody else has been at it for longer than anybody waits.
        DiskFull, PermissionRefused: the operating system refused.
    """
    with durable.os_errors("cannot change what is stored"), locked(folder.metadata / LOCK):
        heal(folder, database, now)
        yield


@contextmanager
def noted(folder: DataFolder, database: Database, version_ids: Iterable[str], now: datetime) -> Iterator[None]:
    """Keep the note while entered. When the block raises, the journal is corrected at once, or by whoever comes next."""
    _write(folder, {"at": now, "version_ids": sorted(version_ids)})
    try:
        yield
    except Exception:
        with suppress(Exception):  # the first error counts; the note stays, and the next one heals
            heal(folder, database, now)
        raise
    (folder.metadata / NOTE).unlink()


def heal(folder: DataFolder, database: Database, now: datetime) -> int:
    """Have the journal say again what the catalogue says of the revisions in the note; return how many entries that took."""
    note = folder.metadata / NOTE
    try:
        told = orjson.loads(note.read_bytes())
    except FileNotFoundError:
        return 0
    at = max(now, datetime.fromisoformat(told["at"]) + MOMENT)
    with database.read() as connection:
        stored = find_revisions(connection, told["version_ids"])
        removed = removed_ones(connection, told["version_ids"])
    events: list[Event] = [*(as_restored(one, at, HEALED_BY) for one in stored), *(as_removed(one, at) for one in removed)]
    if events:
        append_events(folder.journal, events)
    note.unlink()
    return len(events)


def as_restored(one: RevisionRow | Gone, at: datetime, by: str, why: str = "", plan_id: str = "") -> Restored:
    """Return the journal's word for a revision that is stored (again)."""
    return Restored(one.library_id, one.version, one.stored_at, one.revision, at, by, why, plan_id)


def as_removed(one: Gone, at: datetime) -> Removed:
    """Return the journal's word for a revision that is removed."""
    told = (one.removed_by, one.why, one.plan_id, one.content_sha256)
    return Removed(one.library_id, one.version, one.stored_at, one.revision, at, *told)


def _write(folder: DataFolder, told: dict[str, object]) -> None:
    part: Path = folder.tmp / f"{secrets.token_hex(8)}.part"
    try:
        with part.open("wb") as file:
            durable.step("note: write")
            file.write(orjson.dumps(told))
            file.flush()
            durable.fsync_file(file.fileno(), "note")
        durable.rename(part, folder.metadata / NOTE, "note")
        durable.fsync_folder(folder.metadata, "note")
    finally:
        part.unlink(missing_ok=True)
