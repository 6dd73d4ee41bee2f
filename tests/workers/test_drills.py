"""How it stands with drills, and who is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.settings import Settings
from models.database import Database
from models.drills import DrillRow, add_drill
from models.findings import open_findings
from workers.alarm import Watchman
from workers.alarm_view import view_alarms
from workers.checkup import check_drills
from workers.drills import observe_drills, standing

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def row(verdict: str, at: datetime = NOW) -> DrillRow:
    return DrillRow("d", "b", at, verdict, 1.5, 60.0, 3, {"problems": ["a pack is missing"] if verdict == "failed" else []})


@pytest.mark.parametrize(
    ("last", "days", "verdict"),
    [
        (None, 8, "never"),
        (row("fresh"), 8, "fresh"),
        (row("fresh", NOW - 9 * DAY), 8, "stale"),
        (row("fresh", NOW - 9 * DAY), 0, "fresh"),
        (row("failed", NOW - 9 * DAY), 8, "failed"),
        (row("stale"), 8, "stale"),
        (row("never"), 8, "never"),
    ],
)
def test_a_drill_counts_for_so_many_days(last: DrillRow | None, days: int, verdict: str) -> None:
    assert standing(last, days, NOW) == verdict


def test_what_fails_and_what_does_not_happen_is_told() -> None:
    def codes(drills: list[DrillRow], backup: datetime | None) -> list[str]:
        return [one.code for one in observe_drills(drills, backup, NOW - 9 * DAY, 8, NOW)]

    assert codes([], None) == [], "that there is no backup is told already"
    assert codes([], NOW) == ["drill_late"]
    assert codes([row("fresh", NOW - 9 * DAY)], NOW) == ["drill_late"]
    assert codes([row("failed")], NOW) == ["drill_failed"]
    assert codes([row("fresh")], NOW) == []


def test_a_drill_that_failed_is_an_alarm_and_a_trouble_until_one_is_well(data: Path) -> None:
    settings = Settings(data_dir=data)
    watchman, database = Watchman(settings), Database(settings.catalogue_url)

    def look() -> tuple[list[str], str, str]:
        watchman.look(NOW)
        with database.read() as connection:
            facts = view_alarms(connection, settings, NOW)
            return [one.code for one in open_findings(connection)], facts.drill_verdict, check_drills(facts).state

    assert look() == ([], "never", "note")
    with database.write() as connection:
        add_drill(connection, row("failed"))
    assert look() == (["drill_failed"], "failed", "trouble")
    with database.write() as connection:
        add_drill(connection, DrillRow("e", "b", NOW + DAY / 24, "fresh", 1.5, 60.0, 3, {}))
    assert look() == ([], "fresh", "fine")
    watchman.stop()
    database.close()
