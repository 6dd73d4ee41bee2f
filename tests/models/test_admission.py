"""models/admission.py: what running jobs are promised, who waits for room, what libraries take."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from models.admission import parked_jobs, promised_bytes, used_by_library, used_bytes, wake_jobs
from models.database import Database
from models.leases import end_job, postpone_job, renew_leases, take_leases
from models.ledger import JobRow, NewJob, find_jobs
from tests.support.catalogue import START, commit, segment, version

LATER = START + timedelta(minutes=5)


def _run(database: Database, name: str, needs_bytes: int) -> JobRow:
    with database.write() as connection:
        job = NewJob(name, "store", needs_bytes=needs_bytes)
        return take_leases(connection, [job], "me", START, lambda _row: "dead")[name]


def _promised(database: Database) -> int:
    with database.read() as connection:
        return promised_bytes(connection)


def test_only_running_jobs_are_promised_space(database: Database) -> None:
    first = _run(database, "one", 100)
    _run(database, "two", 20)
    _run(database, "needs nothing", 0)
    assert _promised(database) == 120
    with database.write() as connection:
        end_job(connection, first.lease, "done", START)
    assert _promised(database) == 20


def test_a_job_that_says_how_far_it_has_come_is_promised_the_rest(database: Database) -> None:
    _run(database, "one", 100)
    for done, rest in ((25, 75), (100, 0), (110, 0)):
        with database.write() as connection:
            renew_leases(connection, ["me"], {"one": {"done": done, "total": 100}}, START)
        assert _promised(database) == rest


def test_a_later_attempt_needs_what_is_predicted_then(database: Database) -> None:
    _run(database, "one", 100)
    assert _run(database, "one", 40).needs_bytes == 40
    assert _promised(database) == 40


def test_parked_jobs_are_due_at_once_when_they_are_woken_and_no_others(database: Database) -> None:
    for name, counted in (("parked", False), ("retrying", True)):
        row = _run(database, name, 5)
        with database.write() as connection:
            assert postpone_job(connection, row.lease, LATER, {"code": "disk_full"}, counted=counted)
    with database.write() as connection:
        assert [row.job_id for row in parked_jobs(connection)] == ["parked"]
        assert wake_jobs(connection, ["parked", "retrying", "unknown"], START) == 1
        assert wake_jobs(connection, ["parked"], START) == 0
        due = {name: row.due_at for name, row in find_jobs(connection, ["parked", "retrying"]).items()}
    assert due == {"parked": START, "retrying": LATER}


def test_older_revisions_count_and_what_is_shared_counts_for_each(database: Database) -> None:
    commit(database, [segment("s", "x", "y")], version("/a", "1", "x"), version("/b", "1", "x"))
    commit(database, [], version("/a", "1", "y", seconds=1, stored_bytes=30))
    with database.read() as connection:
        assert used_by_library(connection) == {"/a": 280, "/b": 250}
        assert (used_bytes(connection, "/a"), used_bytes(connection, "/nowhere"), used_bytes(connection)) == (280, 0, 530)


def test_what_a_library_takes_is_answered_by_an_index_alone(database: Database) -> None:
    if not database.is_sqlite:
        return  # PostgreSQL's planner goes by the number of rows
    for where in ("WHERE library_id = '/a'", ""):
        with database.read() as connection:
            rows = connection.execute(text(f"EXPLAIN QUERY PLAN SELECT sum(compressed_size_bytes) FROM version {where}"))
            assert "COVERING INDEX version_usage" in " ".join(str(row) for row in rows)
