"""models/backup_rows.py: rows of an older or a newer release find their place, and numbers go on behind them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import insert, select, text

from models.backup_rows import count_on, in_order, load_rows
from models.database import Database
from models.tables import Schedule, Slot, table_of
from models.upkeep_tables import Audit

AUDIT = {"audit_id": 41, "at": "2026-01-02T03:04:05+00:00", "by": "person:ada", "action": "pinned", "library_id": "/a"}


def test_columns_that_an_older_release_did_not_know_get_their_defaults_and_those_of_a_newer_one_are_passed_over(
    database: Database,
) -> None:
    with database.write() as connection:
        assert load_rows(connection, "audit", [{**AUDIT, "mood": "of a later release"}]) == 1
        found = connection.execute(text("SELECT audit_id, version, why FROM audit")).one()
    assert tuple(found) == (41, "", "")


def test_tables_of_a_newer_release_and_those_that_the_disk_tells_are_passed_over(database: Database) -> None:
    with database.write() as connection:
        assert load_rows(connection, "moods", [{"mood": "good"}]) == 0
        assert load_rows(connection, "version", [{"version_id": "x"}]) == 0
    assert in_order({"slot", "moods", "schedule"}) == ["schedule", "slot", "moods"]


def test_a_row_that_comes_again_takes_the_place_of_the_one_before(database: Database) -> None:
    with database.write() as connection:
        load_rows(connection, "audit", [AUDIT])
        load_rows(connection, "audit", [{**AUDIT, "action": "unpinned"}])
        assert connection.execute(text("SELECT audit_id, action FROM audit")).all() == [(41, "unpinned")]


def test_a_row_of_two_keys_that_comes_again_takes_the_place_of_that_one_alone(database: Database) -> None:
    at = "2026-01-02T03:04:05+00:00"
    schedule = {"name": "s", "seen_until": at, "expression": "", "time_zone": "", "last_job_id": "", "counts": {"ran": 1}}
    rest = {"state": "ran", "job_id": "", "claimed_at": at, "claimed_by": ""}
    slots = [{"schedule": "s", "slot_at": at.replace("03:", f"{hour:02}:"), **rest} for hour in range(24)]
    with database.write() as connection:
        load_rows(connection, "schedule", [schedule])
        assert load_rows(connection, "slot", slots) == 24
        assert load_rows(connection, "slot", [{**slots[7], "state": "missed"}]) == 1
        found = connection.execute(text("SELECT state, count(*) FROM slot GROUP BY state ORDER BY state")).all()
        assert [tuple(row) for row in found] == [("missed", 1), ("ran", 23)]
        times = list(connection.scalars(select(table_of(Slot).c.slot_at).order_by(table_of(Slot).c.slot_at)))
        assert times == [datetime(2026, 1, 2, hour, 4, 5, tzinfo=UTC) for hour in range(24)]
        assert connection.scalar(select(table_of(Schedule).c.counts)) == {"ran": 1}


def test_numbers_go_on_behind_what_was_loaded(database: Database) -> None:
    row = {name: AUDIT[name] for name in ("by", "action", "library_id")}
    with database.write() as connection:
        load_rows(connection, "audit", [AUDIT])
        count_on(connection)
        connection.execute(insert(table_of(Audit)), {**row, "at": datetime(2026, 1, 3, tzinfo=UTC)})
        assert connection.scalar(text("SELECT max(audit_id) FROM audit")) == 42
