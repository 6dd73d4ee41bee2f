"""models/prune.py: old rows go, portion by portion, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from config.cron import Cron
from models import prune
from models.database import Database
from models.ledger import ACTIVE, ENDED, State
from models.listing import newest_jobs
from models.prune import PROTECTED, Ended, end_of_history, ended_before, remove_jobs, remove_slots
from models.schedule import Plan, claim_due, last_slots
from models.tables import Job, table_of
from tests.support.catalogue import START

DAY = timedelta(days=1)
NOW = START + 100 * DAY


def add(database: Database, ages_days: list[float], state: State = "done", prefix: str = "job") -> None:
    """Enter jobs that ended so many days ago."""
    rows = [
        {"job_id": f"{prefix}-{number}", "kind": "store", "subject": "", "state": state, "priority": 0, "asked_by": "producer"}
        | {"attempts": 1, "owner": "", "payload": "", "created_at": START, "finished_at": NOW - age * DAY, "queue": ""}
        for number, age in enumerate(ages_days)
    ]
    with database.write() as connection:
        connection.execute(insert(table_of(Job)), rows)


def end(database: Database, days: int = 90, jobs: int = 1_000_000) -> float:
    """Return how many days ago the history ends."""
    with database.read() as connection:
        return (NOW - end_of_history(connection, NOW, days, jobs)) / DAY


def names(database: Database) -> set[str]:
    with database.read() as connection:
        return {row.job_id for row in newest_jobs(connection, limit=100_000)}


def test_history_ends_where_the_stricter_rule_says(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert end(database) == 90
    add(database, [float(age) for age in range(1, 51)])
    assert end(database) == 90
    assert end(database, days=30) == 30
    for step in (1, 7, 10, 25_000):
        monkeypatch.setattr(prune, "_STEP", step)
        assert end(database, jobs=10) == 11
        assert end(database, jobs=49) == 50
        assert end(database, jobs=50) == 90


def test_jobs_of_the_last_hours_stay_whatever_the_policy(database: Database) -> None:
    add(database, [0.01, 0.02, 0.03])
    assert end(database, jobs=1) == PROTECTED / DAY


def test_the_oldest_come_first_in_portions_that_lose_none_of_the_same_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "PORTION", 3)
    add(database, [5.0] * 7 + [9.0, 1.0])
    seen: list[Ended] = []
    with database.read() as connection:
        while portion := ended_before(connection, NOW - 2 * DAY, seen[-1] if seen else None):
            assert len(portion) <= 3
            seen += portion
    assert [one.job_id for one in seen] == ["job-7", *(f"job-{number}" for number in range(7))]


def test_only_jobs_that_have_ended_by_then_are_removed(database: Database) -> None:
    add(database, [5.0, 1.0])
    for state in ACTIVE:
        add(database, [5.0], state, state)  # set going again by hand
    for state in ENDED - {"done"}:
        add(database, [5.0], state, state)
    with database.write() as connection:
        assert remove_jobs(connection, sorted(names(database)), NOW - 2 * DAY) == 4
    assert names(database) == {"job-1", "queued-0", "running-0", "retrying-0", "parked-0"}


def test_old_slots_go_but_each_schedule_keeps_its_last(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "PORTION", 4)
    often = Plan("often", "verify", "strongroom.verify", "long", {}, Cron("0 0 * * *"))
    seldom = replace(often, name="seldom", times=Cron("0 0 2 11 *"))
    for days in (0, 10, 50):
        for plan in (often, seldom):
            with database.write() as connection:
                claim_due(connection, plan, START + days * DAY, "a")
    before = START + 40 * DAY
    removed: list[int] = []
    while not removed or removed[-1]:
        with database.write() as connection:
            removed.append(remove_slots(connection, before))
    assert sum(removed) == 39
    assert max(removed) == 4
    with database.read() as connection:
        assert {slot.slot_at for slot in last_slots(connection, "often", 100)} == {START + day * DAY for day in range(40, 51)}
        assert [slot.slot_at for slot in last_slots(connection, "seldom", 100)] == [START + DAY]
