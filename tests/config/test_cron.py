"""config/cron.py: the instants that an expression names, above all where the clock is changed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.cron import Cron, check_expression

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def local_times(expression: str, zone: str, day: str, count: int) -> list[str]:
    """Return the local times, with their offsets, of the first slots from midnight of a day on."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    return [at.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for at in islice(Cron(expression, zone).after(begin), count)]


@pytest.mark.parametrize(
    ("zone", "day", "expression", "expected"),
    [
        (BERLIN, "2026-03-29", "30 2 * * *", ["29 03:00+0200", "30 02:30+0200"]),
        (BERLIN, "2026-03-29", "59 1 * * *", ["29 01:59+0100", "30 01:59+0200"]),
        (BERLIN, "2026-03-29", "0,30 2,3 * * *", ["29 03:00+0200", "29 03:30+0200", "30 02:00+0200"]),
        (BERLIN, "2026-10-25", "30 2 * * *", ["25 02:30+0200", "26 02:30+0100"]),
        (BERLIN, "2026-10-25", "0 3 * * *", ["25 03:00+0100", "26 03:00+0100"]),
        (NEW_YORK, "2026-03-08", "15 2 * * *", ["08 03:00-0400", "09 02:15-0400"]),
        (NEW_YORK, "2026-11-01", "30 1 * * *", ["01 01:30-0400", "02 01:30-0500"]),
        (NEW_YORK, "2026-11-01", "0 2 * * *", ["01 02:00-0500", "02 02:00-0500"]),
        (LORD_HOWE, "2026-10-04", "15 2 * * *", ["04 02:30+1100", "05 02:15+1100"]),
        (LORD_HOWE, "2026-04-05", "45 1 * * *", ["05 01:45+1100", "06 01:45+1030"]),
        (LORD_HOWE, "2026-04-05", "15 2 * * *", ["05 02:15+1030", "06 02:15+1030"]),
    ],
)
def test_a_time_of_the_day_comes_once_a_day_though_the_clock_is_changed(
    zone: str, day: str, expression: str, expected: list[str]
) -> None:
    assert local_times(expression, zone, day, len(expected)) == expected


@pytest.mark.parametrize(
    ("zone", "day", "expression", "expected"),
    [
        (BERLIN, "2026-03-29", "0 */2 * * *", ["29 00:00+0100", "29 04:00+0200"]),
        (BERLIN, "2026-10-25", "*/30 2 * * *", ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]),
        (LORD_HOWE, "2026-04-05", "0 */3 * * *", ["05 00:00+1100", "05 03:00+1030", "05 06:00+1030"]),
        (LORD_HOWE, "2026-10-04", "0 */3 * * *", ["04 00:00+1030", "04 03:00+1100", "04 06:00+1100"]),
        (LORD_HOWE, "2026-10-04", "45 * * * *", ["04 00:45+1030", "04 01:45+1030", "04 02:45+1100"]),
    ],
)
def test_what_follows_the_clock_goes_on_through_the_change(zone: str, day: str, expression: str, expected: list[str]) -> None:
    assert local_times(expression, zone, day, len(expected)) == expected


def _matching(
    minutes: set[int], hours: set[int], zone: ZoneInfo, begin: datetime, end: datetime, *, daily: bool
) -> list[datetime]:
    """Find slots by looking at every minute of the world's clock, and for a daily one at every minute of the wall's."""
    count = int((end - begin) / timedelta(minutes=1))
    world = [begin + timedelta(minutes=number) for number in range(count + 1)]
    local = {at: at.astimezone(zone).replace(tzinfo=None) for at in world}
    if not daily:
        return [at for at in world[1:] if local[at].minute in minutes and local[at].hour in hours]
    walls = [local[world[0]] + timedelta(minutes=number) for number in range(count + 200)]
    wanted = [wall for wall in walls if wall.minute in minutes and wall.hour in hours]
    seen = list(local.values())
    firsts = {world[next(i for i, one in enumerate(seen) if one >= wall)] for wall in wanted if any(one >= wall for one in seen)}
    return sorted(firsts - {world[0]})


CHANGES = {
    BERLIN: ("2026-03-29T01:00", "2026-10-25T01:00"),
    NEW_YORK: ("2026-03-08T07:00", "2026-11-01T06:00"),
    LORD_HOWE: ("2026-04-04T15:00", "2026-10-03T15:30"),
    "America/Santiago": ("2026-04-05T03:00", "2026-09-06T04:00"),  # at midnight
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),  # by two hours
    "Asia/Kolkata": ("2026-03-29T01:00", "2026-10-25T01:00"),  # never
}


def _field(values: frozenset[int] | None) -> str:
    return "*" if values is None else ",".join(map(str, sorted(values)))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(sorted(CHANGES)),
    spring=st.booleans(),
    minutes=st.none() | st.frozensets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.none() | st.frozensets(st.integers(0, 4), min_size=1, max_size=4),
    begin_min=st.integers(-300, 100),
)
@example(zone=LORD_HOWE, spring=True, minutes=frozenset({0}), hours=None, begin_min=-200)
@example(zone=BERLIN, spring=False, minutes=frozenset({30}), hours=frozenset({2}), begin_min=10)
def test_slots_are_those_that_looking_at_every_minute_finds(
    zone: str, spring: bool, minutes: frozenset[int] | None, hours: frozenset[int] | None, begin_min: int
) -> None:
    change = datetime.fromisoformat(CHANGES[zone][0 if spring else 1]).replace(tzinfo=UTC)
    begin, end = change + timedelta(minutes=begin_min), change + timedelta(hours=30)
    daily = minutes is not None and hours is not None
    expected = _matching(
        set(minutes or range(60)), set(hours or range(24)), ZoneInfo(zone), change - timedelta(hours=30), end, daily=daily
    )
    found = Cron(f"{_field(minutes)} {_field(hours)} * * *", zone).newest(begin, end, 10_000)
    assert found == [at for at in expected if begin < at <= end]


@settings(max_examples=40)
@given(begin_min=st.integers(0, 4 * 1440), cut=st.floats(0, 1), at_most=st.integers(1, 5))
def test_cutting_a_stretch_of_time_in_two_loses_and_doubles_nothing(begin_min: int, cut: float, at_most: int) -> None:
    start = datetime(2026, 3, 27, tzinfo=UTC) + timedelta(minutes=begin_min)
    end = start + timedelta(days=3)
    middle = start + (end - start) * cut
    for expression in ("30 2 * * *", "*/20 * * * *", "0 3 * * 0"):
        cron = Cron(expression, BERLIN)
        whole = cron.newest(start, end, 10_000)
        assert cron.newest(start, middle, 10_000) + cron.newest(middle, end, 10_000) == whole
        assert cron.newest(start, end, at_most) == whole[-at_most:]


def test_a_jump_by_centuries_costs_no_more_than_what_is_returned() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    began = time.process_time()
    for expression in ("* * * * *", "30 2 * * *", "0 0 29 2 *"):
        found = Cron(expression, BERLIN).newest(now, now.replace(year=2526), 101)
        assert len(found) == 101
        assert found[-1] > datetime(2520, 1, 1, tzinfo=UTC)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("wrong", ["30 2 * *", "* * * * * *", "61 2 * * *", "@daily", "0 0 30 2 *", "a b c d e", "0 0 * * 9"])
def test_what_is_no_expression_is_refused_and_what_is_needed_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match="minute, hour, day of the month"):
        check_expression(wrong)


@pytest.mark.parametrize("wrong", ["Nowhere/Atall", "/etc/passwd", "Europe", "", "../UTC"])
def test_what_is_no_time_zone_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        Cron("30 2 * * *", wrong)


def test_blanks_do_not_make_another_expression() -> None:
    assert check_expression("  30   2 * *\t* ") == "30 2 * * *"
    assert check_expression("  ") == ""
