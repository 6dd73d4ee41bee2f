"""When a schedule's slots are, found the slow way: every minute is looked at. Not by the code that is on trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Season:
    """Ten days in which a zone changes its clock, and a daily time that the change touches."""

    zone: str
    start: str
    daily: tuple[int, int]

    @property
    def begin(self) -> datetime:
        """The first instant."""
        return datetime.fromisoformat(self.start)

    @property
    def daily_expression(self) -> str:
        """The daily time as a cron expression."""
        return f"{self.daily[1]} {self.daily[0]} * * *"


HOURLY_MINUTE = 30
HOURLY_EXPRESSION = f"{HOURLY_MINUTE} * * * *"

SEASONS = (
    Season("Europe/Berlin", "2026-10-20T00:00:00+00:00", (2, 30)),  # 02:30 comes twice on the 25th
    Season("Europe/Berlin", "2027-03-23T00:00:00+00:00", (2, 30)),  # and never on the 28th
    Season("Australia/Lord_Howe", "2026-04-01T00:00:00+00:00", (1, 45)),  # back by half an hour on the 5th: twice
    Season("Australia/Lord_Howe", "2026-10-01T00:00:00+00:00", (2, 15)),  # on by half an hour on the 4th: never
)


def hourly_slots(season: Season, until: datetime) -> set[datetime]:
    """Return every instant, later than the begin, at which the zone's clocks show the half hour: on the long day once more."""
    return {at for at, local in _minutes(season, until) if local.minute == HOURLY_MINUTE}


def daily_slots(season: Season, until: datetime) -> set[datetime]:
    """Return one instant a day: the first at which the clocks show the time, or the end of the gap in which it would be."""
    found: dict[date, datetime] = {}
    for at, local in _minutes(season, until):
        if (local.hour, local.minute) >= season.daily:
            found.setdefault(local.date(), at)
    first = season.begin.astimezone(ZoneInfo(season.zone))
    if (first.hour, first.minute) >= season.daily:
        found.pop(first.date(), None)  # that day's was over before the begin
    return set(found.values())


def _minutes(season: Season, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    zone = ZoneInfo(season.zone)
    at = season.begin + _MINUTE
    while at <= until:
        yield at, at.astimezone(zone)
        at += _MINUTE
