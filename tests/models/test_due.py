"""models/due.py: what is to be sent, and that it is sent once."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.database import Database
from models.due import (
    AT_ONCE,
    PATIENCE,
    SAFETY,
    SETTLED,
    Waiting,
    count_waiting,
    is_due,
    running_jobs,
    take_back,
    take_due,
    take_lost,
    take_waiting,
    waiting_with_room,
)
from models.leases import Fate, postpone_job, renew_leases, take_leases
from models.ledger import JobRow, NewJob, find_jobs, queue_jobs
from tests.support.catalogue import START


def _run(database: Database, *names: str, owner: str = "a") -> dict[str, JobRow]:
    with database.write() as connection:
        return take_leases(connection, [NewJob(name, "store", queue="short") for name in names], owner, START, lambda _: "alive")


def _queue(database: Database, *names: str, due_at: datetime) -> None:
    with database.write() as connection:
        queue_jobs(connection, [NewJob(name, "store", queue="short") for name in names], START, due_at)


def _job(database: Database, name: str) -> JobRow:
    with database.read() as connection:
        return find_jobs(connection, [name])[name]


def _due(database: Database, after: timedelta) -> list[str]:
    with database.write() as connection:
        expected = is_due(connection, START + after)
        rows = take_due(connection, START + after)
    assert bool(rows) == expected
    return [row.job_id for row in rows]


def _lost(database: Database, after: timedelta, count: int, queue: str = "short") -> list[str]:
    with database.write() as connection:
        return [row.job_id for row in take_lost(connection, START + after, queue, count)]


def _take_back(database: Database, rows: list[JobRow], fate: Fate = "dead") -> list[str]:
    with database.write() as connection:
        return [row.job_id for row in take_back(connection, rows, lambda _row: fate, START)]


def test_a_dead_holders_job_is_due_at_once_and_its_token_is_worth_nothing(database: Database) -> None:
    rows = _run(database, "one", "two")
    with database.read() as connection:
        assert {row.job_id for row in running_jobs(connection)} == {"one", "two"}
    assert _take_back(database, [rows["one"]]) == ["one"]
    row = _job(database, "one")
    assert (row.state, row.owner, row.attempts, row.token) == ("queued", "", 1, rows["one"].token + 1)
    assert _due(database, timedelta(0)) == ["one"]


def test_a_lease_is_taken_back_once(database: Database) -> None:
    rows = list(_run(database, "one").values())
    assert _take_back(database, rows) == ["one"]
    assert _take_back(database, rows) == []
    _run(database, "one", owner="b")
    assert _take_back(database, rows) == [], "somebody else holds it now"


def test_a_lease_that_was_renewed_meanwhile_is_not_taken_back(database: Database) -> None:
    rows = list(_run(database, "one").values())
    with database.write() as connection:
        renew_leases(connection, ["a"], {}, START)
    assert _take_back(database, rows) == []
    assert _job(database, "one").state == "running"


def test_what_was_stopped_by_its_operator_was_not_tried(database: Database) -> None:
    _take_back(database, list(_run(database, "one").values()), "stopped")
    assert _job(database, "one").attempts == 0


def test_a_job_is_sent_again_when_its_time_has_come_and_then_ever_more_rarely(database: Database) -> None:
    row = _run(database, "one")["one"]
    with database.write() as connection:
        postpone_job(connection, row.lease, START + timedelta(seconds=10), {"code": "busy"})
    assert _due(database, timedelta(seconds=9)) == []
    assert _due(database, timedelta(seconds=10)) == ["one"]
    assert _due(database, timedelta(seconds=10)) == [], "one reconciler sends it"
    assert _due(database, timedelta(seconds=9) + PATIENCE) == []
    assert _due(database, timedelta(seconds=10) + PATIENCE) == ["one"]
    assert _due(database, timedelta(seconds=10) + 2 * PATIENCE) == []
    assert _due(database, timedelta(seconds=10) + 3 * PATIENCE) == ["one"]


def test_a_job_that_nobody_has_begun_may_wait_in_a_long_queue(database: Database) -> None:
    _queue(database, "one", due_at=START)
    assert _due(database, timedelta(0)) == ["one"]
    assert _due(database, SAFETY - timedelta(seconds=1)) == []
    assert _due(database, SAFETY) == ["one"]


def test_what_waits_is_counted_by_queue_once_its_message_must_be_there(database: Database) -> None:
    _queue(database, "one", "two", due_at=START + timedelta(hours=1))
    _run(database, "three")
    with database.read() as connection:
        assert count_waiting(connection, START) == {"short": Waiting(active_stores=3)}
        assert count_waiting(connection, START + SETTLED) == {"short": Waiting(active_stores=3, queued=2)}


def test_lost_messages_are_sent_again_those_longest_under_way_first(database: Database) -> None:
    _queue(database, "one", "two", "three", due_at=START + timedelta(hours=1))
    assert _lost(database, SETTLED - timedelta(seconds=1), 2) == []
    assert _lost(database, SETTLED, 2, "long") == []
    assert _lost(database, SETTLED, 2) == ["one", "three"]
    assert _lost(database, SETTLED, 2) == ["two"]


def test_a_job_that_backs_off_is_not_taken_for_lost(database: Database) -> None:
    row = _run(database, "one")["one"]
    with database.write() as connection:
        postpone_job(connection, row.lease, START + timedelta(hours=1), {"code": "busy"})
    assert _lost(database, timedelta(minutes=1), 1) == []


def test_a_time_that_a_wrong_clock_wrote_holds_nothing_up(database: Database) -> None:
    _queue(database, "one", due_at=START + timedelta(days=3650))
    _queue(database, "two", due_at=START + SAFETY)
    assert _due(database, timedelta(0)) == ["one"]
    assert _due(database, timedelta(hours=-1)) == ["one", "two"], "the clock was set back by an hour"


def test_a_message_that_a_wrong_clock_sent_may_be_lost_as_well(database: Database) -> None:
    _queue(database, "one", due_at=START)
    assert _lost(database, timedelta(seconds=-1), 1) == []
    with database.read() as connection:
        assert count_waiting(connection, START - timedelta(minutes=5))["short"].queued == 1
    assert _lost(database, timedelta(minutes=-5), 1) == ["one"]


def test_a_flood_is_sent_in_portions_oldest_first(database: Database) -> None:
    names = [f"job-{number:05d}" for number in range(AT_ONCE + 1)]
    _queue(database, *names, due_at=START)
    assert _due(database, timedelta(0)) == names[:AT_ONCE]
    assert _due(database, timedelta(0)) == names[AT_ONCE:]


def _room(database: Database, **limits: int) -> list[str]:
    with database.read() as connection:
        return waiting_with_room(connection, limits)


def test_what_waits_for_room_is_taken_when_there_is_some_and_never_sent_before(database: Database) -> None:
    names = [f"job-{number}" for number in range(5)]
    with database.write() as connection:
        for priority, name in zip((5, 5, 5, 0, 5), names, strict=True):
            take_leases(connection, [NewJob(name, "verify", priority=priority)], "a", START, lambda _: "alive", {"verify": 1})
    assert [_job(database, name).state for name in names] == ["running", *["queued"] * 4]
    assert _due(database, timedelta(days=1)) == []
    assert _lost(database, timedelta(days=1), 10, queue="") == [], "it has no message to lose"
    assert _room(database, verify=1) == []
    assert _room(database, verify=3) == ["job-3", "job-1"], "the most urgent first"
    with database.write() as connection:
        assert [row.job_id for row in take_waiting(connection, ["job-3", "job-0"], START)] == ["job-3"]
    assert _room(database, verify=2) == [], "its message is on its way, and will take that room"
    assert _room(database) == ["job-1", "job-2", "job-4"], "without a limit there is room for all"
