"""models/interventions.py: what a person changes goes by the ledger's rules, and fences off whoever held a lease before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import update

from models.database import Database
from models.due import is_due
from models.interventions import DISCARDED, begin_anew, cancel_jobs, discard_jobs, failed_ids, make_due
from models.leases import LeaseLost, end_job, postpone_job, take_leases
from models.ledger import JobRow, Lease, NewJob, State, find_jobs, park_job, queue_jobs
from models.tables import Job, table_of
from tests.support.catalogue import START

LATER = START + timedelta(seconds=10)
ERROR = {"code": "document_too_large", "message": "It is too large.", "hint": "Split it."}
CANCELLED = {"code": "cancelled", "message": "Somebody cancelled it.", "hint": "Begin it anew."}
ENDED: tuple[State, ...] = ("done", "failed", "quarantined", "cancelled")
ACTIVE: tuple[State, ...] = ("queued", "running", "retrying", "parked")


def _enter(database: Database, state: State, name: str = "one", payload: str = "one.inbox") -> JobRow:
    """Enter a job and bring it into a state."""
    job = NewJob(name, "store", payload, asked_by="person", queue="short", priority=6)
    with database.write() as connection:
        if state == "queued":
            queue_jobs(connection, [job], START, START)
        elif state == "parked":
            park_job(connection, job, ERROR, START, LATER)
        elif state == "cancelled":
            cancel_jobs(connection, [], [job], CANCELLED, START)
        else:
            lease = take_leases(connection, [job], "a:1:w:lock:1", START, lambda _row: "dead")[name].lease
            if state == "retrying":
                postpone_job(connection, lease, LATER, ERROR)
            elif state != "running":
                end_job(connection, lease, state, START, outcome={"stored": 2}, error=None if state == "done" else ERROR)
    return _job(database, name)


def _job(database: Database, name: str = "one") -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _begin_anew(database: Database, *names: str) -> list[str]:
    with database.write() as connection:
        return list(begin_anew(connection, names, LATER))


def _cancel(database: Database, *names: str, new: Sequence[NewJob] = ()) -> list[str]:
    with database.write() as connection:
        return sorted(cancel_jobs(connection, names, new, CANCELLED, LATER))


@pytest.mark.parametrize("state", ["failed", "quarantined", "cancelled"])
def test_a_job_that_is_begun_anew_stands_as_if_nobody_had_tried_it(database: Database, state: State) -> None:
    before = _enter(database, state)
    with database.write() as connection:
        connection.execute(update(table_of(Job)).values(suspects={"at": 0, "deaths": [9]}))
    assert _begin_anew(database, "one", "unknown") == ["one"]
    row = _job(database)
    assert row.suspects is None, "it is cured: no document of it is held for poison"
    assert (row.state, row.attempts, row.sends, row.owner, row.outcome) == ("queued", 0, 0, "", None)
    assert (row.started_at, row.finished_at, row.progress, row.expires_at) == (None, None, None, None)
    assert (row.asked_by, row.priority, row.payload) == ("person", 6, "one.inbox")
    assert row.error == before.error, "it is shown until the job has ended again"
    assert row.token > before.token


@pytest.mark.parametrize("state", [*ACTIVE, "done"])
def test_nothing_else_is_begun_anew(database: Database, state: State) -> None:
    before = _enter(database, state)
    assert _begin_anew(database, "one") == []
    assert _job(database) == before


def test_a_job_begun_anew_is_sent_after_its_head_start_and_no_sooner(database: Database) -> None:
    _enter(database, "queued")
    _enter(database, "failed")
    assert _job(database).sent_at is not None
    _begin_anew(database, "one")
    with database.read() as connection:
        assert not is_due(connection, LATER - timedelta(seconds=1))
        assert is_due(connection, LATER)


def test_once_its_file_is_back_it_is_sent_at_once_unless_somebody_has_taken_it_up(database: Database) -> None:
    _enter(database, "failed")
    _enter(database, "failed", "two")
    _begin_anew(database, "one", "two")
    with database.write() as connection:
        take_leases(connection, [NewJob("two", "store")], "b", START, lambda _row: "dead")
        make_due(connection, ["one", "two"], START)
    assert (_job(database).due_at, _job(database, "two").due_at) == (START, None)


@pytest.mark.parametrize("state", ACTIVE)
def test_a_job_that_has_not_ended_is_cancelled(database: Database, state: State) -> None:
    before = _enter(database, state)
    assert _cancel(database, "one", "unknown") == ["one"]
    row = _job(database)
    assert (row.state, row.finished_at, row.due_at, row.owner, row.error) == ("cancelled", LATER, None, "", CANCELLED)
    assert row.token > before.token


@pytest.mark.parametrize("state", ENDED)
def test_a_job_that_has_ended_is_not_cancelled(database: Database, state: State) -> None:
    before = _enter(database, state)
    assert _cancel(database, "one") == []
    assert _job(database) == before


def _write_and_end(database: Database, lease: Lease) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob("what-the-job-writes", "store")], START, START)
        end_job(connection, lease, "done", START)


def test_the_holder_of_a_cancelled_job_can_commit_nothing(database: Database) -> None:
    lease = _enter(database, "running").lease
    _cancel(database, "one")
    with pytest.raises(LeaseLost):
        _write_and_end(database, lease)
    with database.read() as connection:
        assert list(find_jobs(connection, ["one", "what-the-job-writes"])) == ["one"]


def test_the_holder_of_a_job_that_was_cancelled_and_begun_anew_can_commit_nothing(database: Database) -> None:
    lease = _enter(database, "running").lease
    _cancel(database, "one")
    _begin_anew(database, "one")
    with database.write() as connection:
        take_leases(connection, [NewJob("one", "store")], "b", START, lambda _row: "dead")
    with pytest.raises(LeaseLost):
        _write_and_end(database, lease)


def test_an_accepted_job_that_the_ledger_never_heard_of_is_entered_as_cancelled(database: Database) -> None:
    new = NewJob("new", "store", "new.inbox", "a.json", queue="long", accepted_at=START)
    assert _cancel(database, new=[new]) == ["new"]
    row = _job(database, "new")
    assert (row.state, row.payload, row.subject, row.queue, row.created_at) == ("cancelled", "new.inbox", "a.json", "long", START)


@pytest.mark.parametrize("state", ["failed", "quarantined", "cancelled"])
def test_a_discarded_job_says_by_whom_and_when_and_is_never_begun_anew(database: Database, state: State) -> None:
    before = _enter(database, state)
    with database.write() as connection:
        assert list(discard_jobs(connection, ["one", "unknown"], "ann@here", LATER)) == ["one"]
    row = _job(database)
    assert row.outcome == {**(before.outcome or {}), DISCARDED: {"by": "ann@here", "at": LATER.isoformat()}}
    assert (row.state, row.error) == (before.state, before.error)
    assert _begin_anew(database, "one") == []


def test_discarded_twice_the_first_record_stays(database: Database) -> None:
    _enter(database, "failed")
    for name in ("ann", "bob"):
        with database.write() as connection:
            assert list(discard_jobs(connection, ["one"], name, LATER)) == ["one"]
    assert (_job(database).outcome or {})[DISCARDED]["by"] == "ann"


@pytest.mark.parametrize("state", [*ACTIVE, "done"])
def test_nothing_else_is_discarded(database: Database, state: State) -> None:
    before = _enter(database, state)
    with database.write() as connection:
        assert discard_jobs(connection, ["one"], "ann", LATER) == {}
    assert _job(database) == before


def test_a_message_that_was_kept_in_the_row_is_discarded_with_it(database: Database) -> None:
    _enter(database, "failed", payload='{"text": "secret"}')
    with database.write() as connection:
        discard_jobs(connection, ["one"], "ann", LATER)
    assert "secret" not in _job(database).payload


def test_failed_jobs_are_found_oldest_first_without_those_that_were_discarded_or_cancelled(database: Database) -> None:
    for name in ("b", "a", "c"):
        _enter(database, "failed", name)
    _enter(database, "quarantined", "d")
    _enter(database, "cancelled", "e")
    _enter(database, "done", "f")
    with database.write() as connection:
        discard_jobs(connection, ["c"], "ann", LATER)
        assert sorted(failed_ids(connection)) == ["a", "b", "d"]
        assert sorted(failed_ids(connection, "store")) == ["a", "b", "d"]
        assert failed_ids(connection, "verify") == []
