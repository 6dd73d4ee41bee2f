"""models/schedule.py: each due slot is claimed once, whatever the clock does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, update

from config.cron import Cron
from models.database import Database
from models.leases import end_job, take_leases
from models.ledger import NewJob, queue_jobs
from models.schedule import (
    LATE,
    LOOK,
    MISSED_AT_MOST,
    UNSEEN,
    Gauge,
    Plan,
    claim_due,
    count_slots,
    find_schedules,
    is_due,
    last_slots,
    measure_schedules,
    slot_job_id,
)
from models.tables import Schedule, table_of
from tests.support.crash import start_child, wait_for

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOURLY = Plan("hourly", "verify", "strongroom.verify", "long", {}, Cron("0 * * * *"))


def claim(database: Database, now: datetime, plan: Plan = HOURLY, by: str = "a") -> list[tuple[str, str]]:
    """Claim what is due and enter its jobs; return the time of day and the state of each slot."""
    with database.write() as connection:
        due = is_due(connection, [plan], now)
        slots = claim_due(connection, plan, now, by)
        assert due or not slots, "the look that takes no lock must not overlook anything"
        assert not is_due(connection, [plan], now), "what was claimed is due no longer"
        queue_jobs(connection, [NewJob(slot.job_id, plan.kind) for slot in slots if slot.job_id], now, now)
    assert all((slot.claimed_at, slot.claimed_by) == (now, by) for slot in slots)
    return [(f"{slot.slot_at:%d %H:%M}", slot.state) for slot in slots]


def end(database: Database, slot_at: datetime, plan: Plan = HOURLY) -> None:
    """Have a worker do a slot's job."""
    with database.write() as connection:
        job = NewJob(slot_job_id(plan.name, slot_at), plan.kind)
        row = take_leases(connection, [job], "worker", slot_at, lambda _row: "dead")[job.job_id]
        end_job(connection, row.lease, "done", slot_at)


def written(database: Database, plan: Plan = HOURLY) -> dict[str, str]:
    """Return the state of every slot that has a row."""
    with database.read() as connection:
        return {f"{slot.slot_at:%d %H:%M}": slot.state for slot in reversed(last_slots(connection, plan.name, 1000))}


def test_a_schedule_begins_when_it_is_first_seen(database: Database) -> None:
    assert claim(database, NOON + MINUTE) == []
    assert claim(database, NOON + 59 * MINUTE) == []
    assert claim(database, NOON + HOUR) == [("01 13:00", "ran")]
    assert claim(database, NOON + HOUR) == []
    assert written(database) == {"01 13:00": "ran"}


def test_a_slot_says_whether_it_was_claimed_in_time(database: Database) -> None:
    claim(database, NOON)
    assert claim(database, NOON + HOUR + LATE) == [("01 13:00", "ran")]
    end(database, NOON + HOUR)
    assert claim(database, NOON + 2 * HOUR + LATE + timedelta(seconds=1)) == [("01 14:00", "late")]


def test_of_several_due_slots_only_the_newest_runs_and_the_others_are_missed(database: Database) -> None:
    claim(database, NOON)
    assert claim(database, NOON + 3 * HOUR) == [("01 13:00", "missed"), ("01 14:00", "missed"), ("01 15:00", "ran")]


def test_nothing_starts_while_the_last_job_has_not_ended(database: Database) -> None:
    claim(database, NOON)
    assert claim(database, NOON + HOUR) == [("01 13:00", "ran")]
    assert claim(database, NOON + 2 * HOUR) == [("01 14:00", "overlapped")]
    assert claim(database, NOON + 3 * HOUR) == [("01 15:00", "overlapped")]
    end(database, NOON + HOUR)
    assert claim(database, NOON + 4 * HOUR) == [("01 16:00", "ran")]
    assert claim(database, NOON + 6 * HOUR) == [("01 17:00", "missed"), ("01 18:00", "overlapped")]


def test_a_clock_that_goes_back_starts_nothing_twice(database: Database) -> None:
    claim(database, NOON)
    for number in (1, 2, 3):
        claim(database, NOON + number * HOUR)
        end(database, NOON + number * HOUR)
    for back in (timedelta(seconds=30), 2 * HOUR, 3 * HOUR):
        assert claim(database, NOON + 3 * HOUR - back) == []
        assert claim(database, NOON + 3 * HOUR) == []
    claim(database, NOON - 365 * DAY)
    again = claim(database, NOON + 3 * HOUR)
    assert {state for _, state in again} == {"missed"}, "the clock says that nobody looked for a year; the newest had its effect"
    assert [written(database)[f"01 {hour}:00"] for hour in (13, 14, 15)] == ["ran"] * 3


def test_a_clock_that_was_ahead_for_a_while_makes_nothing_be_passed_over_afterwards(database: Database) -> None:
    claim(database, NOON)
    ahead = [("01 13:00", "missed"), ("01 14:00", "missed"), ("01 15:00", "ran")]
    assert claim(database, NOON + 3 * HOUR) == ahead
    end(database, NOON + 3 * HOUR)
    assert claim(database, NOON) == []
    assert claim(database, NOON + HOUR) == [("01 13:00", "ran")], "it had no effect while the clock was wrong"
    end(database, NOON + HOUR)
    assert claim(database, NOON + 2 * HOUR) == [("01 14:00", "ran")]
    end(database, NOON + 2 * HOUR)
    assert claim(database, NOON + 3 * HOUR) == [], "that one had its effect"
    assert claim(database, NOON + 4 * HOUR) == [("01 16:00", "ran")]


def test_a_jump_by_years_writes_few_rows(database: Database) -> None:
    plan = replace(HOURLY, times=Cron("* * * * *"))
    claim(database, NOON, plan)
    slots = claim(database, NOON.replace(year=2056), plan)
    assert [state for _, state in slots] == ["missed"] * MISSED_AT_MOST + ["ran"]
    assert slots[-1][0] == "01 12:00"


def test_another_expression_or_zone_begins_now_and_so_does_one_that_was_off(database: Database) -> None:
    claim(database, NOON)
    half_past = replace(HOURLY, times=Cron("30 * * * *"))
    assert claim(database, NOON + 2 * HOUR + 40 * MINUTE, half_past) == []
    assert claim(database, NOON + 3 * HOUR + 30 * MINUTE, half_past) == [("01 15:30", "ran")]
    end(database, NOON + 3 * HOUR + 30 * MINUTE)
    in_kolkata = replace(HOURLY, times=Cron("30 * * * *", "Asia/Kolkata"))
    assert claim(database, NOON + 5 * HOUR, in_kolkata) == []
    assert claim(database, NOON + 6 * HOUR, in_kolkata) == [("01 18:00", "ran")]
    assert claim(database, NOON + 7 * HOUR, replace(HOURLY, times=None)) == []
    assert claim(database, NOON + 3 * DAY, in_kolkata) == []
    assert list(written(database)) == ["01 15:30", "01 18:00"]


def test_what_the_jobs_are_told_is_written_down_and_a_change_of_it_makes_nothing_be_passed_over(database: Database) -> None:
    """A service that was started anew with other policies: see workers/schedule_view.py."""
    strict = replace(HOURLY, arguments={"policies": {"*": {"keep_last": 1}}})
    for plan, now, slots in (
        (HOURLY, NOON - MINUTE, []),
        (strict, NOON, [("01 12:00", "ran")]),
        (HOURLY, NOON + timedelta(seconds=5), []),
    ):
        assert claim(database, now, plan) == slots
        with database.read() as connection:
            assert find_schedules(connection)["hourly"].arguments == plan.arguments
            assert not is_due(connection, [plan], now + timedelta(seconds=5))


@pytest.mark.parametrize("other", [Cron("30 4 * * *"), None])
def test_beats_that_were_given_different_settings_lose_no_slot(database: Database, other: Cron | None) -> None:
    """One was not restarted after the settings were changed: they take turns, each sees what the other has written."""
    claim(database, NOON - MINUTE)
    found: list[tuple[str, str]] = []
    for seconds in range(0, 180, 5):
        plan = HOURLY if seconds % 2 else replace(HOURLY, times=other)
        found += claim(database, NOON - MINUTE + timedelta(seconds=seconds), plan)
    assert found == [("01 12:00", "ran")]


def test_the_row_of_one_that_is_off_says_so_and_that_somebody_looked(database: Database) -> None:
    for now in (NOON, NOON + DAY):
        assert claim(database, now, replace(HOURLY, times=None)) == []
        with database.read() as connection:
            row = find_schedules(connection)["hourly"]
        assert (row.expression, row.time_zone, row.seen_until) == ("", "", now)


def test_a_look_that_finds_nothing_is_written_down_now_and_then(database: Database) -> None:
    claim(database, NOON)
    for after, seen in ((LOOK - timedelta(seconds=1), NOON), (LOOK, NOON + LOOK)):
        claim(database, NOON + after)
        with database.read() as connection:
            assert find_schedules(connection)["hourly"].seen_until == seen
    claim(database, NOON + LOOK - UNSEEN + timedelta(seconds=1))
    with database.read() as connection:
        assert find_schedules(connection)["hourly"].seen_until == NOON + LOOK, "two clocks need not agree to the second"


def test_a_backup_at_night_runs_once_in_the_nights_when_the_clock_is_changed(database: Database) -> None:
    for zone, expression, day in (
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00"),
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00"),
        ("America/New_York", "30 1 * * *", "2026-10-31T12:00"),
        ("Australia/Lord_Howe", "10 2 * * *", "2026-10-03T03:00"),
        ("Australia/Lord_Howe", "40 1 * * *", "2026-04-04T03:00"),
    ):
        plan = replace(HOURLY, name=f"{zone[-5:]}{day[:7]}", times=Cron(expression, zone))
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
        states = [state for minutes in range(0, 1441, 10) for _, state in claim(database, begin + minutes * MINUTE, plan)]
        assert states == ["ran"], (zone, day)


def test_counts_and_gauges_tell_what_became_of_the_slots(database: Database) -> None:
    for now in (NOON, NOON + HOUR, NOON + 3 * HOUR):
        claim(database, now)
    with database.read() as connection:
        assert count_slots(connection, NOON) == {"hourly": {"ran": 1, "missed": 1, "overlapped": 1}}
        assert count_slots(connection, NOON + 2 * HOUR + MINUTE) == {"hourly": {"overlapped": 1}}
        gauges = measure_schedules(connection, ["hourly", "never"], Cron, NOON + 3 * HOUR + MINUTE)
    counts = {"ran": 1, "late": 0, "missed": 1, "overlapped": 1}
    assert gauges == [Gauge("hourly", counts, NOON + 3 * HOUR, NOON + 4 * HOUR)]


def test_a_look_that_lost_its_comparison_claims_nothing(database: Database) -> None:
    claim(database, NOON)
    with database.write() as connection:
        slots = claim_due(connection, replace(HOURLY, times=Overtaken(connection)), NOON + HOUR, "late")
    assert slots == []
    assert written(database) == {}


class Overtaken:
    """Times that are asked for just when another process, by some miracle, is faster."""

    expression, time_zone = "0 * * * *", "UTC"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def following(self, instant: datetime) -> datetime | None:
        return Cron(self.expression).following(instant)

    def newest(self, after: datetime, until: datetime, at_most: int) -> list[datetime]:
        self._connection.execute(update(table_of(Schedule)).values(seen_until=until))
        return Cron(self.expression).newest(after, until, at_most)


def test_of_processes_that_look_at_the_same_time_one_claims(database: Database) -> None:
    claim(database, NOON)
    database.close()  # what is open must not cross a fork

    def look(name: str) -> None:
        own = Database(database.url)
        for number in range(1, 25):
            claim_only(own, NOON + number * HOUR, name)
        own.close()

    children = [start_child(partial(look, name)) for name in ("a", "b", "c")]
    assert [wait_for(child) for child in children] == [0, 0, 0]
    with database.read() as connection:
        slots = last_slots(connection, "hourly", 1000)
        assert find_schedules(connection)["hourly"].counts == {"ran": 1, "overlapped": 23}
    assert len(slots) == 24, "a second claim would have broken the primary key, or been counted"


def claim_only(database: Database, now: datetime, by: str) -> None:
    with database.write() as connection:
        slots = claim_due(connection, HOURLY, now, by)
        queue_jobs(connection, [NewJob(slot.job_id, "verify") for slot in slots if slot.job_id], now, now)


@pytest.mark.parametrize("schedule", ["integrity-sweep", "a"])
def test_a_slots_job_has_an_id_that_may_name_a_file(schedule: str) -> None:
    assert slot_job_id(schedule, NOON) == f"{schedule}-20261101T120000Z"
