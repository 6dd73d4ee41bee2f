"""Cron expressions in a time zone, and the instants that they name. The one module that imports cronsim."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = "five fields: minute, hour, day of the month, month, day of the week"
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_FAR = timedelta(days=400)
_DAY = timedelta(days=1)
_TICK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression of five fields, as Debian's cron reads it, in a time zone of the IANA database.

    Debian's rules where the clock is changed: what names an hour and a minute comes once a day, at the first of two such times,
    and at the end of the gap where there is none. What follows the clock (``*`` or ``*/n`` as minute or hour) comes at every
    instant whose local time it names.
    """

    expression: str
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        check_time_zone(self.time_zone)
        if check_expression(self.expression) == "":
            raise ValueError(f"it is empty: a cron expression has {_FIELDS}")

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the instants later than this one in their order, in UTC."""
        minute, hour, *_ = self.expression.split()
        steps = _by_the_clock if minute.startswith("*") or hour.startswith("*") else _by_the_day
        previous = instant.astimezone(UTC)
        for at in steps(self.expression, instant, ZoneInfo(self.time_zone)):
            if at > previous:
                previous = at
                yield at

    def following(self, instant: datetime) -> datetime | None:
        """Return the first instant later than this one; None when there is none for decades."""
        return next(self.after(instant), None)

    def newest(self, after: datetime, until: datetime, at_most: int) -> list[datetime]:
        """Return the last ``at_most`` instants that are later than ``after`` and not later than ``until``, in their order.

        The work grows with what is returned, not with the time between: a clock may jump by decades.
        """
        span = timedelta(hours=1)
        while True:
            begin = max(after, until - min(span, until - after))
            found = deque(takewhile(lambda at: at <= until, self.after(begin)), maxlen=at_most)
            if len(found) == at_most or begin == after:
                return list(found)
            span *= 2


def check_expression(expression: str) -> str:
    """Return the expression with single blanks; an empty one stands for never.

    Raises:
        ValueError: it is no cron expression, or names no time that ever comes.
    """
    fields = expression.split()
    text = " ".join(fields)
    if len(fields) not in {0, 5}:
        raise ValueError(f"it is no cron expression ({len(fields)} fields); it needs {_FIELDS}")
    try:
        if text and next(CronSim(text, _SOME_DAY), None) is None:
            raise ValueError(f"it is a time that never comes; a cron expression has {_FIELDS}")
    except CronSimError as error:
        raise ValueError(f"it is no cron expression ({error}); it needs {_FIELDS}") from None
    return text


def check_time_zone(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: the IANA database has no such zone.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # an absolute path; a folder of zones; no such zone
        raise ValueError("it is no time zone such as UTC or Europe/Berlin") from None
    return name


def _by_the_day(expression: str, instant: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Cronsim's own way with times that vanish or come twice. From within the second of two it begins at the first."""
    return (at.astimezone(UTC) for at in CronSim(expression, instant.astimezone(zone)))


def _by_the_clock(expression: str, instant: datetime, zone: tzinfo) -> Iterator[datetime]:
    """One stretch of constant offset after the other.

    Cronsim's own way steps by whole hours: where the clock is changed by half an hour (Australia/Lord_Howe) it passes over some.
    """
    begin = instant.astimezone(UTC)
    offset = _offset(zone, begin)
    while True:
        end = _next_change(zone, begin, offset)
        for wall in CronSim(expression, (begin + offset).replace(tzinfo=None)):
            at = wall.replace(tzinfo=UTC) - offset
            if at >= end:
                break
            yield at
        else:
            return
        begin, offset = end - _TICK, _offset(zone, end)


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _next_change(zone: tzinfo, begin: datetime, offset: timedelta) -> datetime:
    """Return the first second after ``begin`` at which the offset is another, or a far one up to which there is none.

    No zone changes its clock and changes it back within a day.
    """
    same = begin.replace(microsecond=0)
    other = same + _TICK
    while _offset(zone, other) == offset:
        if other - begin > _FAR:
            return other
        same, other = other, other + _DAY
    while other - same > _TICK:
        middle = same + ((other - same) / 2 // _TICK) * _TICK
        same, other = (middle, other) if _offset(zone, middle) == offset else (same, middle)
    return other
