"""storage/accesses.py: reads are counted without a write each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.chronicle import list_revisions
from models.database import Database
from storage import accesses
from storage.accesses import Accesses
from storage.engine import Engine
from storage.sync_manager import SyncStorageManager
from strongroom.errors import StorageError
from tests.support.archive import body, document
from tests.support.crash import steps_of


@pytest.fixture
def stored(engine: Engine) -> Engine:
    for version in ("1.0", "2.0"):
        engine.store([document("/a/b", version, body(v=version))])
    return engine


def counts(engine: Engine) -> dict[str, int]:
    with engine.database.read() as connection:
        return {one.version: one.access_count for one in list_revisions(connection, "/a/b")}


def flush(engine: Engine) -> int:
    with engine.database.write() as connection:
        return engine.accesses.flush_access(connection)


def test_reads_are_added_up_and_written_once(stored: Engine) -> None:
    started = datetime.now(UTC)

    def read() -> None:
        for _ in range(20):
            stored.read("/a/b", "1.0")
        assert b"".join(stored.stream("/a/b"))

    assert steps_of(read) == [], "a read writes nothing"
    assert counts(stored) == {"1.0": 0, "2.0": 0}
    assert (flush(stored), counts(stored)) == (2, {"1.0": 20, "2.0": 1})
    stored.read("/a/b", "1.0")
    assert (flush(stored), flush(stored), counts(stored)) == (1, 0, {"1.0": 21, "2.0": 1})
    with stored.database.read() as connection:
        last = max(one.last_accessed or started for one in list_revisions(connection, "/a/b"))
    assert started < last < started + timedelta(minutes=5)


def test_no_read_of_many_threads_is_lost(stored: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: stored.accesses.note(stored.find("/a/b").version_id), range(400)))
    flush(stored)
    assert counts(stored)["2.0"] == 400


def test_what_cannot_be_written_is_noted_still(stored: Engine, scratch: Path) -> None:
    stored.read("/a/b", "2.0")
    with pytest.raises(StorageError), Database(f"sqlite:///{scratch / 'without tables.db'}").write() as connection:
        stored.accesses.flush_access(connection)
    stored.read("/a/b", "2.0")
    flush(stored)
    assert counts(stored)["2.0"] == 2


def test_what_is_noted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesses, "LIMIT", 3)
    noted = Accesses()
    for name in "abcdeab":
        noted.note(name)
    assert len(noted) == 3


def test_a_manager_writes_its_counts_when_it_is_closed(stored: Engine) -> None:
    with SyncStorageManager(stored.folder.root) as manager:
        manager.get_documentation("/a/b")
        assert counts(stored)["2.0"] == 0
    assert counts(stored)["2.0"] == 1
