from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from faults.calendar import SEASONS, Season, daily_slots, hourly_slots

BACK_IN_BERLIN, ON_IN_BERLIN, BACK_ON_LORD_HOWE, ON_ON_LORD_HOWE = SEASONS


def end(season: Season) -> datetime:
    return season.begin + timedelta(days=10)


def on(season: Season, slots: set[datetime], day: date) -> list[datetime]:
    return sorted(at for at in slots if at.astimezone(ZoneInfo(season.zone)).date() == day)


def test_a_day_of_25_hours_has_25_half_hours_and_one_daily_slot_the_first_of_two() -> None:
    assert len(on(BACK_IN_BERLIN, hourly_slots(BACK_IN_BERLIN, end(BACK_IN_BERLIN)), date(2026, 10, 25))) == 25
    daily = on(BACK_IN_BERLIN, daily_slots(BACK_IN_BERLIN, end(BACK_IN_BERLIN)), date(2026, 10, 25))
    assert daily == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_a_day_of_23_hours_has_23_half_hours_and_its_daily_slot_at_the_end_of_the_gap() -> None:
    assert len(on(ON_IN_BERLIN, hourly_slots(ON_IN_BERLIN, end(ON_IN_BERLIN)), date(2027, 3, 28))) == 23
    daily = on(ON_IN_BERLIN, daily_slots(ON_IN_BERLIN, end(ON_IN_BERLIN)), date(2027, 3, 28))
    assert daily == [datetime(2027, 3, 28, 1, 0, tzinfo=UTC)]


def test_where_the_clock_changes_by_half_an_hour_each_day_has_one_daily_slot_too() -> None:
    for season in (BACK_ON_LORD_HOWE, ON_ON_LORD_HOWE):
        slots = daily_slots(season, end(season))
        days = {at.astimezone(ZoneInfo(season.zone)).date() for at in slots}
        assert len(slots) == len(days) == 10
    gap = on(ON_ON_LORD_HOWE, daily_slots(ON_ON_LORD_HOWE, end(ON_ON_LORD_HOWE)), date(2026, 10, 4))
    assert gap == [datetime(2026, 10, 3, 15, 30, tzinfo=UTC)]
