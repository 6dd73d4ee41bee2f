"""storage/simulation.py: the future is the last 30 days again, and the policy is applied to each day of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from storage.ordering import order_of
from storage.retention import Candidate, Policy, Revision
from storage.simulation import Day, begin, simulate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _library(*days_ago: float, size: int = 100) -> list[Candidate]:
    """Return versions that were stored so many days ago, 1.0 first."""
    found = []
    for number, ago in enumerate(days_ago):
        order = order_of(f"1.{number}")
        stored = (Revision(1, NOW - timedelta(days=ago), size),)
        latest = number == len(days_ago) - 1
        found.append(Candidate("/a/b", f"1.{number}", (order.rank, order.key), stored, latest=latest))
    return found


def _future(versions: list[Candidate], policy: Policy | None, days: int = 90) -> list[Day]:
    calendar = begin(NOW, days)
    simulate(calendar, versions, policy, NOW)
    return calendar


def test_uploads_come_again_on_the_same_days_of_each_30() -> None:
    days = _future(_library(20.5, 5.5), None)
    assert [number for number, day in enumerate(days, 1) if day.stored] == [10, 25, 40, 55, 70, 85]
    assert (days[0].day, days[-1].day) == (date(2026, 11, 23), date(2027, 2, 20))
    assert (days[-1].kept, days[-1].kept_bytes, days[-1].removed) == (8, 800, 0)


def test_a_library_that_nobody_stores_into_changes_on_the_first_day_only() -> None:
    days = _future(_library(400, 300, 200, 100), Policy(keep_last=2))
    assert [day.removed for day in days] == [2] + [0] * 89
    assert days[0].going == ["/a/b 1.1", "/a/b 1.0"]
    assert {day.kept for day in days} == {2}


def test_the_number_of_versions_stays_where_the_policy_holds_it() -> None:
    days = _future(_library(*(number + 0.5 for number in range(29, -1, -1))), Policy(keep_last=10))
    assert all(day.kept == 10 for day in days)
    assert sum(day.removed for day in days) == 20 + 90
    assert all(day.stored == 1 for day in days)


def test_new_versions_are_the_latest_in_their_turn() -> None:
    days = _future(_library(3.5, 2.5, 1.5), Policy(keep_last=1))
    assert all(day.kept == 1 for day in days), "an old latest would stay for good"


def test_older_revisions_of_what_is_stored_again_and_again_go() -> None:
    order = order_of("live-tree")
    stored = tuple(Revision(number, NOW - timedelta(days=ago), 10) for number, ago in enumerate((9.5, 6.5, 3.5), 1))
    one = Candidate("/a/b", "live-tree", (order.rank, order.key), stored, latest=True)
    days = _future([one], Policy(keep_revisions=1), 30)
    assert days[-1].kept_bytes == 20, "one revision of it, one of what comes"


def test_a_library_of_ten_thousand_versions_is_no_matter_of_minutes() -> None:
    days = _future(_library(*(1000 - number / 11 for number in range(10_000))), Policy(keep_last=100, within=timedelta(days=9)))
    assert days[0].removed > 9000
