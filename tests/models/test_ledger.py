"""models/ledger.py: who runs a job, how often it was tried, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from models.database import Database
from models.ledger import (
    JobRow,
    NewJob,
    State,
    begin_attempts,
    begin_new,
    end_job,
    find_jobs,
    list_jobs,
    postpone_job,
    queue_again,
)
from tests.support.catalogue import START

PATIENCE = timedelta(seconds=60)


def _begin(database: Database, *names: str, owner: str = "a", alive: Iterable[str] = ("a", "b"), seconds: float = 0) -> set[str]:
    jobs = [NewJob(name, "store", f"{name}.inbox") for name in names]
    with database.write() as connection:
        return set(begin_attempts(connection, jobs, owner, START + timedelta(seconds=seconds), set(alive).__contains__))


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _end(database: Database, name: str, state: State = "done", **more: Any) -> None:
    with database.write() as connection:
        end_job(connection, name, state, START, **more)


def _postpone(database: Database, name: str, seconds: float, *, counted: bool = True) -> None:
    with database.write() as connection:
        postpone_job(connection, name, START + timedelta(seconds=seconds), {"code": "disk_full"}, counted=counted)


def _lost(database: Database, seconds: float, alive: Iterable[str] = ("a", "b")) -> list[str]:
    with database.write() as connection:
        rows = queue_again(connection, START + timedelta(seconds=seconds), PATIENCE, set(alive).__contains__)
    return sorted(row.job_id for row in rows)


def test_an_attempt_is_counted_before_anything_runs(database: Database) -> None:
    assert _begin(database, "one", "two") == {"one", "two"}
    row = _job(database, "one")
    assert (row.state, row.attempts, row.owner, row.payload, row.created_at) == ("running", 1, "a", "one.inbox", START)


def test_a_job_that_a_living_process_runs_is_nobody_elses(database: Database) -> None:
    _begin(database, "one")
    assert _begin(database, "one", "two", owner="b") == {"two"}
    assert _job(database, "one").owner == "a"


def test_a_job_whose_process_is_gone_is_taken_over_and_counted(database: Database) -> None:
    _begin(database, "one")
    assert _begin(database, "one", owner="b", alive=["b"]) == {"one"}
    row = _job(database, "one")
    assert (row.owner, row.attempts) == ("b", 2)


@pytest.mark.parametrize("state", ["done", "failed", "quarantined", "cancelled"])
def test_a_job_that_has_ended_never_begins_again(database: Database, state: State) -> None:
    _begin(database, "one")
    _end(database, "one", state)
    assert _begin(database, "one", owner="b", alive=[]) == set()
    assert _job(database, "one").attempts == 1
    assert _job(database, "one").ended


def test_only_unheard_jobs_are_taken_along(database: Database) -> None:
    _begin(database, "one")
    with database.write() as connection:
        assert begin_new(connection, [NewJob("one", "store"), NewJob("two", "store")], "b", START) == {"two"}
    assert _job(database, "one").owner == "a"


def test_an_ending_keeps_the_outcome_and_the_error(database: Database) -> None:
    _begin(database, "one", "two")
    _end(database, "one", subject="/a/b 1.0", outcome={"stored": 1})
    _end(database, "two", "failed", error={"code": "not_json"})
    assert (_job(database, "one").outcome, _job(database, "one").subject) == ({"stored": 1}, "/a/b 1.0")
    assert _job(database, "one").error is None
    assert _job(database, "two").error == {"code": "not_json"}


def test_a_postponed_job_is_sent_again_when_its_time_has_come(database: Database) -> None:
    _begin(database, "one")
    _postpone(database, "one", 10)
    assert _job(database, "one").state == "retrying"
    assert _lost(database, 9) == []
    assert _lost(database, 10) == ["one"]
    assert _lost(database, 11) == [], "its message may wait in a long queue"
    assert _lost(database, 71) == ["one"]


def test_a_full_disk_brings_a_job_no_nearer_to_quarantine(database: Database) -> None:
    _begin(database, "one")
    _postpone(database, "one", 10, counted=False)
    assert (_job(database, "one").state, _job(database, "one").attempts) == ("parked", 0)
    assert _begin(database, "one", seconds=20) == {"one"}
    assert _job(database, "one").attempts == 1


def test_running_jobs_of_dead_processes_are_sent_again_those_of_the_living_are_not(database: Database) -> None:
    _begin(database, "one")
    _begin(database, "two", owner="b")
    assert _lost(database, 0, alive=["a"]) == ["two"]
    assert _job(database, "two").state == "queued"


def test_jobs_are_listed_newest_first_by_state(database: Database) -> None:
    for seconds, name in enumerate(("one", "two", "three")):
        _begin(database, name, seconds=seconds)
    _end(database, "two", "failed")
    with database.read() as connection:
        assert [row.job_id for row in list_jobs(connection)] == ["three", "two", "one"]
        assert [row.job_id for row in list_jobs(connection, ["failed"])] == ["two"]
        assert [row.job_id for row in list_jobs(connection, limit=1)] == ["three"]


def test_unknown_jobs_are_not_found(database: Database) -> None:
    with database.read() as connection:
        assert find_jobs(connection, ["none"]) == {}
        assert find_jobs(connection, []) == {}
