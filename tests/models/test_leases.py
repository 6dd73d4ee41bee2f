"""models/leases.py: one holder at a time, and only the holder says how a job ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from models.database import Database
from models.leases import (
    LEASE,
    Fate,
    LeaseLost,
    end_job,
    expired_leases,
    give_back,
    postpone_job,
    renew_leases,
    take_leases,
    take_new,
)
from models.ledger import JobRow, Lease, NewJob, State, find_jobs, queue_jobs
from tests.support.catalogue import START


def _take(
    database: Database,
    *names: str,
    owner: str = "a",
    fates: Mapping[str, Fate] | None = None,
    limits: dict[str, int] | None = None,
) -> dict[str, JobRow]:
    def fate(row: JobRow) -> Fate:
        return (fates or {}).get(row.owner, "alive")

    with database.write() as connection:
        return take_leases(connection, [NewJob(name, "store", f"{name}.inbox") for name in names], owner, START, fate, limits)


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _end(database: Database, lease: Lease, state: State = "done", **more: Any) -> None:
    with database.write() as connection:
        end_job(connection, lease, state, START, **more)


def _write_and_end(database: Database, lease: Lease) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob("what-the-job-writes", "store")], START, START)
        end_job(connection, lease, "done", START)


def test_an_attempt_is_counted_before_anything_runs(database: Database) -> None:
    assert set(_take(database, "one", "two")) == {"one", "two"}
    row = _job(database, "one")
    assert (row.state, row.attempts, row.owner, row.token, row.payload, row.created_at) == (
        "running",
        1,
        "a",
        1,
        "one.inbox",
        START,
    )
    assert row.expires_at is not None


def test_a_job_that_a_living_holder_has_is_nobody_elses(database: Database) -> None:
    _take(database, "one")
    assert set(_take(database, "one", "two", owner="b")) == {"two"}
    assert _job(database, "one").owner == "a"


def test_a_dead_holders_job_is_taken_over_and_counted(database: Database) -> None:
    first = _take(database, "one")["one"]
    second = _take(database, "one", owner="b", fates={"a": "dead"})["one"]
    assert (second.owner, second.attempts, second.token) == ("b", 2, first.token + 1)


def test_a_stop_by_the_operator_counts_as_no_attempt(database: Database) -> None:
    _take(database, "one")
    assert _take(database, "one", owner="b", fates={"a": "stopped"})["one"].attempts == 1


def test_who_lost_the_lease_commits_nothing(database: Database) -> None:
    frozen = _take(database, "one")["one"]
    current = _take(database, "one", owner="b", fates={"a": "dead"})["one"]
    with pytest.raises(LeaseLost):
        _write_and_end(database, frozen.lease)
    with database.read() as connection:
        assert find_jobs(connection, ["what-the-job-writes"]) == {}
    assert _job(database, "one").state == "running"
    _end(database, current.lease)
    with pytest.raises(LeaseLost):
        _end(database, current.lease)


def test_who_lost_the_lease_postpones_nothing_and_gives_nothing_back(database: Database) -> None:
    frozen = _take(database, "one")["one"]
    _take(database, "one", owner="b", fates={"a": "dead"})
    with database.write() as connection:
        assert not postpone_job(connection, frozen.lease, START, {"code": "disk_full"})
        give_back(connection, [frozen.lease], START)
    row = _job(database, "one")
    assert (row.state, row.owner, row.attempts) == ("running", "b", 2)


@pytest.mark.parametrize("state", ["done", "failed", "quarantined", "cancelled"])
def test_a_job_that_has_ended_never_begins_again(database: Database, state: State) -> None:
    _end(database, _take(database, "one")["one"].lease, state)
    assert _take(database, "one", owner="b", fates={"a": "dead"}) == {}
    assert (_job(database, "one").attempts, _job(database, "one").ended) == (1, True)


def test_only_untried_jobs_are_taken_along(database: Database) -> None:
    _take(database, "one")
    with database.write() as connection:
        queue_jobs(connection, [NewJob("two", "store"), NewJob("three", "store")], START, START)
        tried = take_leases(connection, [NewJob("three", "store")], "a", START, lambda _row: "alive")["three"]
        postpone_job(connection, tried.lease, START, {"code": "busy"})
        queue_jobs(connection, [NewJob("again", "store")], START, START)
        sent_again = take_leases(connection, [NewJob("again", "store")], "a", START, lambda _row: "alive")["again"]
        give_back(connection, [sent_again.lease], START)
        jobs = [NewJob(name, "store") for name in ("one", "two", "three", "four", "again")]
        assert take_new(connection, jobs, "b", START) == {"two": Lease("two", 1), "four": Lease("four", 1)}
    assert [_job(database, name).owner for name in ("one", "two", "three", "four")] == ["a", "b", "", "b"]


def test_an_ending_keeps_the_outcome_and_the_error(database: Database) -> None:
    rows = _take(database, "one", "two")
    _end(database, rows["one"].lease, subject="/a/b 1.0", outcome={"stored": 1})
    _end(database, rows["two"].lease, "failed", error={"code": "not_json"})
    assert (_job(database, "one").outcome, _job(database, "one").subject) == ({"stored": 1}, "/a/b 1.0")
    assert _job(database, "two").error == {"code": "not_json"}


def test_a_full_disk_brings_a_job_no_nearer_to_quarantine(database: Database) -> None:
    row = _take(database, "one")["one"]
    with database.write() as connection:
        assert postpone_job(connection, row.lease, START, {"code": "disk_full"}, counted=False)
    assert (_job(database, "one").state, _job(database, "one").attempts) == ("parked", 0)
    assert _take(database, "one")["one"].attempts == 1


def test_what_was_given_back_is_due_at_once_and_untried(database: Database) -> None:
    row = _take(database, "one")["one"]
    with database.write() as connection:
        give_back(connection, [row.lease], START)
    assert (_job(database, "one").state, _job(database, "one").attempts, _job(database, "one").due_at) == ("queued", 0, START)


def test_a_renewal_moves_the_counter_of_what_is_held_and_records_progress(database: Database) -> None:
    _take(database, "one", "two")
    _take(database, "three", owner="b")
    with database.write() as connection:
        renew_leases(connection, ["a"], {"one": {"done": 1, "total": 3}, "three": {"done": 9}}, START + LEASE)
    assert [_job(database, name).renewals for name in ("one", "two", "three")] == [1, 1, 0]
    assert [_job(database, name).progress for name in ("one", "two", "three")] == [{"done": 1, "total": 3}, None, None]


def test_a_kind_above_its_limit_waits(database: Database) -> None:
    assert set(_take(database, "one", "two", limits={"store": 1})) == {"one"}
    waiting = _job(database, "two")
    assert (waiting.state, waiting.attempts, waiting.due_at, waiting.sent_at) == ("queued", 0, None, None)
    _end(database, _job(database, "one").lease)
    assert set(_take(database, "two", limits={"store": 1})) == {"two"}


def test_a_limit_of_another_kind_holds_nothing_up(database: Database) -> None:
    assert set(_take(database, "one", "two", limits={"verify": 1})) == {"one", "two"}


def test_postgresql_judges_leases_by_its_own_clock(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite's holders and reapers share one host: the renewal counter is watched there")
    _take(database, "one")
    with database.write() as connection:
        assert expired_leases(connection) == [], "START is years ago: the worker's clock must not count"
        connection.exec_driver_sql("UPDATE job SET expires_at = clock_timestamp() - interval '1 second'")
        assert expired_leases(connection) == ["one"]
        renew_leases(connection, ["a"], {}, START - timedelta(days=1))
        assert expired_leases(connection) == []
