"""storage/backup/restore.py: what must be durable before what, and a restore that goes on after it died late."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from threading import Event, current_thread, main_thread
from unittest import mock

import pytest

from storage.backup.choice import find_manifest
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.backup.stage import STAGE
from storage.engine import Engine, Options
from strongroom.errors import DataFolderError, TransientIO
from tests.support.backups import NOW, back_up, filled, told
from tests.support.crash import crash_at, observed, steps_of
from tests.support.synced import Synced, syncs_seen


@pytest.fixture
def before(engine: Engine, repository: Repository) -> dict[str, list[str]]:
    """What a folder tells of which there is a backup."""
    told_before = told(filled(engine))
    back_up(engine, repository)
    return told_before


@pytest.mark.usefixtures("before")
def test_every_file_is_durable_before_the_first_is_moved_up(repository: Repository, scratch: Path) -> None:
    lost: list[Path] = []
    counts: list[int] = []
    moved = Event()

    def hold() -> None:
        """Have what is synced by a thread come late: whoever does not wait for it is further by then."""
        if current_thread() is not main_thread() and not held:
            held.append(moved.wait(0.2))

    held: list[bool] = []

    def look(step: str) -> None:
        if step == "restore: rename" and not counts:
            moved.set()
            lost.extend(seen.lost(scratch / "to" / STAGE / "segments", scratch / "to" / STAGE / "metadata" / "journal"))
            counts.append(len(list((scratch / "to" / STAGE / "segments").glob("*/*"))))

    with syncs_seen(hold) as seen, observed(look):
        Restore(repository, find_manifest(repository, "latest")).run(scratch / "to", NOW)
    assert counts[0] > 4
    assert held == [False]
    assert lost == []


@pytest.mark.usefixtures("before")
def test_where_it_restores_to_and_the_journal_are_durable_before_a_database_is_filled(
    repository: Repository, scratch: Path
) -> None:
    stage = scratch / "to" / STAGE
    lost: list[list[Path]] = []

    def look(step: str) -> None:
        if step == "rebuild: commit":
            lost.append(seen.lost(stage / "metadata" / "journal", stage / "tmp" / "restored-to"))

    with syncs_seen() as seen, observed(look):
        Restore(repository, find_manifest(repository, "latest"), database_url=elsewhere(scratch)).run(scratch / "to", NOW)
    assert lost == [[]]


def test_one_that_died_while_it_moved_things_up_goes_on_though_its_database_is_full(
    repository: Repository, scratch: Path, before: dict[str, list[str]]
) -> None:
    work = Restore(repository, find_manifest(repository, "latest"), database_url=elsewhere(scratch))
    last = len(steps_of(lambda: work.run(scratch / "first", NOW))) - 1
    (scratch / "elsewhere.db").unlink()
    with crash_at(last):
        work.run(scratch / "to", NOW)
    assert not (scratch / "to" / "strongroom.json").exists()
    with pytest.raises(DataFolderError, match="holds documents"):
        work.run(scratch / "other", NOW)
    work.run(scratch / "to", NOW)
    assert not (scratch / "to" / "tmp" / "restored-to").exists()
    with Engine(scratch / "to", Options(database_url=elsewhere(scratch))).open() as there:
        assert told(there) == before


@pytest.mark.usefixtures("before")
def test_a_file_that_could_not_be_synced_is_written_anew_by_the_rerun(repository: Repository, scratch: Path) -> None:
    """Linux tells of a failed write once, and keeps the bytes in memory as if they were on the disk: the next sync lies."""
    lying: set[int] = set()
    real = os.fsync

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not lying and stat.S_ISREG(status.st_mode) and current_thread() is not main_thread():
            lying.add(status.st_ino)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    work = Restore(repository, find_manifest(repository, "latest"))
    with mock.patch.object(os, "fsync", sync), pytest.raises(TransientIO):
        work.run(scratch / "to", NOW)
    assert lying
    left = [path for path in (scratch / "to").rglob("*") if path.is_file()]
    assert len(left) > 4
    assert lying.isdisjoint(path.stat().st_ino for path in left)
    work.run(scratch / "to", NOW)


def test_what_is_written_behind_a_sync_counts_as_lost(scratch: Path) -> None:
    kept, lost = scratch / "kept", scratch / "lost"
    with syncs_seen() as seen:
        for path in (kept, lost):
            with path.open("wb") as file:
                file.write(b"1")
                file.flush()
                seen.fsync(file.fileno())
        lost.write_bytes(b"22")
        assert seen.lost(kept, lost) == [lost]
        assert isinstance(seen, Synced)


def elsewhere(scratch: Path) -> str:
    """Return the URL of a database that is no part of the folder."""
    return f"sqlite:///{scratch / 'elsewhere.db'}"
