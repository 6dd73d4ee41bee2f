"""models/fence.py: behind a fence nothing is written that the check forbids; other threads and databases write as ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection

from models.database import Database
from models.fence import fenced
from models.leases import LeaseLost, require_lease, take_leases
from models.ledger import Lease, NewJob, find_jobs, queue_jobs
from models.migrate import upgrade
from tests.support.catalogue import START


def _write(database: Database, name: str) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob(name, "store")], START, START)


def _known(database: Database, *names: str) -> list[str]:
    with database.read() as connection:
        return sorted(find_jobs(connection, names))


def _refuse(_connection: Connection) -> None:
    raise LeaseLost("one")


def test_nothing_is_written_behind_a_closed_fence_and_everything_after_it(database: Database) -> None:
    with fenced(database.engine, _refuse), pytest.raises(LeaseLost):
        _write(database, "two")
    assert _known(database, "two") == []
    _write(database, "two")
    assert _known(database, "two") == ["two"]


def test_reading_needs_no_lease(database: Database) -> None:
    _write(database, "one")
    with fenced(database.engine, _refuse):
        assert _known(database, "one") == ["one"]


def test_who_holds_the_lease_passes_until_another_one_does(database: Database) -> None:
    for owner, token in (("a", 1), ("b", 2)):
        with database.write() as connection:
            take_leases(connection, [NewJob("one", "verify")], owner, START, lambda _row: "dead")
        with fenced(database.engine, lambda connection: require_lease(connection, Lease("one", 1))):
            if token == 1:
                _write(database, "two")
            else:
                with pytest.raises(LeaseLost):
                    _write(database, "three")
    assert _known(database, "two", "three") == ["two"]


def test_the_fence_is_for_its_own_thread_and_database(database: Database, scratch: Path) -> None:
    other = Database(f"sqlite:///{scratch / 'other.db'}")
    upgrade(other)
    with fenced(database.engine, _refuse):
        _write(other, "two")
        heartbeat = threading.Thread(target=_write, args=(database, "two"))
        heartbeat.start()
        heartbeat.join()
    assert (_known(other, "two"), _known(database, "two")) == (["two"], ["two"])
    other.close()
