"""A worker's process with its ledger in PostgreSQL: jobs are done once, and the database's own clock judges leases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.due import running_jobs
from models.leases import take_leases
from models.ledger import NewJob, park_job
from models.listing import count_active
from storage.engine import Engine, Options
from tasks.jobs import run_job
from tasks.verify import VERIFY
from tests.support.catalogue import START
from tests.support.desk import Desk, document, observed
from tests.support.postgresql import empty_postgresql

JOB = "job-00000001"
OVER = "UPDATE job SET expires_at = clock_timestamp() - interval '1 second'"


@pytest.fixture
def open_desk(postgresql_url: str, tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    empty_postgresql(postgresql_url)
    options = Options(database_url=postgresql_url)
    Engine(tmp_path / "data", options).create().close()
    desks: list[Desk] = []

    def open_one() -> Desk:
        desks.append(Desk(tmp_path / "data", options=options))
        return desks[-1]

    yield open_one
    for desk in desks:
        desk.close()


def test_a_store_and_its_end_are_one_commit(open_desk: Callable[[], Desk]) -> None:
    desk = open_desk()
    desk.stage(JOB, document())
    row = desk.run(JOB)
    assert (row.state, row.attempts, row.token) == ("done", 1, 1)
    assert desk.engine.read("/a/b") == document()
    assert desk.run(JOB) == row


def test_a_file_whose_message_was_lost_is_sent_once(open_desk: Callable[[], Desk]) -> None:
    one, other = open_desk(), open_desk()
    os.utime(one.stage(JOB, document()), (0, 0))
    assert one.reconcile() + other.reconcile() == 1
    assert one.deliver() + other.deliver() == 1
    assert one.job(JOB).state == "done"


def test_the_databases_clock_says_that_a_lease_is_over(open_desk: Callable[[], Desk]) -> None:
    holder, watcher = open_desk(), open_desk()
    with holder.services.presence.at_work() as owner:
        with holder.engine.database.write() as connection:
            take_leases(connection, [NewJob("one", "store")], owner, START, lambda _row: "alive")
        for watcher.now_s in (0, 4, 8, 12, 16):
            assert _gone(watcher) == {}, "this process's clock does not count"
        _let_the_lease_run_out(holder)
        assert _gone(watcher) == {"one": "dead"}


def test_who_is_held_up_by_another_writer_is_given_the_time_of_a_renewal(
    open_desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.watch.PROBE_S", 0.02)
    holder, watcher, writer = open_desk(), open_desk(), open_desk()
    with holder.services.presence.at_work() as owner:
        with holder.engine.database.write() as connection:
            take_leases(connection, [NewJob("one", "store")], owner, START, lambda _row: "alive")
        for watcher.now_s in (0, 4):
            assert _gone(watcher) == {}
        with writer.engine.database.write() as connection:
            connection.exec_driver_sql(OVER)
            watcher.now_s = 8
            assert _gone(watcher) == {}
            assert not watcher.engine.database.can_write(0.02), "nothing held it up: this checks nothing"
        for watcher.now_s in (10, 12):
            assert _gone(watcher) == {}, "it waited like everybody, and may not have come to write yet"
        watcher.now_s = 14
        assert _gone(watcher) == {"one": "dead"}


def test_a_frozen_worker_that_wakes_commits_nothing(open_desk: Callable[[], Desk]) -> None:
    one, other = open_desk(), open_desk()
    one.stage(JOB, document())
    done: list[str] = []

    def freeze(step: str) -> None:
        if step == "segment: flush" and not done:
            done.append(step)
            for other.now_s in (0, 4):
                assert other.reconcile() == 0
            _let_the_lease_run_out(other)
            assert other.reconcile() == 1
            other.deliver()
            done.append(other.job(JOB).state)

    with observed(freeze):
        row = one.run(JOB)
    assert done == ["segment: flush", "done"]
    assert (row.state, row.attempts, row.owner.split(":")[0]) == ("done", 2, "test")
    assert len(one.revisions()) == 1


def _let_the_lease_run_out(desk: Desk) -> None:
    with desk.engine.database.write() as connection:
        connection.exec_driver_sql(OVER)


def _gone(desk: Desk) -> dict[str, str]:
    with desk.engine.database.read() as connection:
        rows = running_jobs(connection)
    return dict(desk.watch.gone(rows))


def test_what_postgresql_cannot_hold_is_written_out_in_the_row(open_desk: Callable[[], Desk]) -> None:
    """A message that could not be recorded would come again for ever, and a store that failed would be tried again."""
    desk = open_desk()
    run_job(VERIFY, desk.services, {"library_id": "/a\0b"}, "verify-0001")
    desk.stage(JOB, b"no", names=["a\0b.json"])
    rows = [desk.job("verify-0001"), desk.run(JOB)]
    assert [(row.state, row.subject) for row in rows] == [("failed", "/a\\x00b"), ("failed", "a\\x00b.json")]


def test_an_error_that_holds_a_nul_keeps_nobody_from_counting_what_is_parked(open_desk: Callable[[], Desk]) -> None:
    desk = open_desk()
    with desk.engine.database.write() as connection:
        for name, code in (("newer", "message_too_new"), ("full", "disk_full")):
            park_job(connection, NewJob(name, "store"), {"code": code, "message": "a\0b"}, START, START)
        assert count_active(connection) == 1
