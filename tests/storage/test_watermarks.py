"""storage/watermarks.py: when space is low, and how long it lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.engine import Engine
from storage.governor import Governor, Space
from storage.watermarks import Level, SpaceReport, Watermarks, daily_bytes, report_space, what_helps
from tests.support.archive import document, large_body

TOTAL = 1_000_000


def _report(
    free_bytes: int, bytes_per_day: float | None = None, before: Level = "fine", reserve_bytes: int = 10_000
) -> SpaceReport:
    governor = Governor(Path(), reserve_bytes, lambda _path: Space(TOTAL, free_bytes))
    return report_space(governor, Watermarks(), bytes_per_day, before=before)


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [(900_000, "fine"), (150_001, "fine"), (150_000, "low"), (50_001, "low"), (50_000, "critical"), (0, "critical")],
)
def test_the_level_follows_from_what_is_used(free_bytes: int, level: str) -> None:
    assert _report(free_bytes).level == level


def test_a_disk_that_is_full_soon_is_low_however_much_is_free() -> None:
    assert _report(510_000, 500_000 / 7.1).level == "fine"
    assert _report(510_000, 500_000 / 6.9).level == "low"
    assert _report(510_000, 500_000 * 5.0).level == "critical"
    assert _report(510_000, 500_000 * 5.0).left == timedelta(hours=4.8)


def test_while_the_reserve_is_being_used_it_is_critical(  # jobs wait then
) -> None:
    assert _report(300_000, reserve_bytes=300_000).level == "critical"


def test_what_was_told_is_over_only_when_it_is_clearly_better() -> None:
    assert [_report(free, before="low").level for free in (160_000, 169_000, 171_000)] == ["low", "low", "fine"]
    assert [_report(free, before="critical").level for free in (60_000, 69_000, 71_000)] == ["critical", "critical", "low"]
    assert _report(60_000, before="low").level == "low"


def test_the_words_say_how_full_it_is_and_for_how_long_it_lasts() -> None:
    assert _report(900_000).words() == "10% used, 900.0 kB of 1.0 MB free"
    assert _report(510_000, 50_000).words() == "49% used, 510.0 kB of 1.0 MB free; full in 10 days at 50.0 kB a day"
    assert _report(510_000, 2_000_000).words().endswith("full in 6 h at 2.0 MB a day")
    assert "jobs wait" in _report(9_000).words()
    assert _report(510_000, 1).left is None, "that is in thousands of years"


def test_the_rate_is_what_was_stored_during_the_last_day(engine: Engine) -> None:
    now = datetime.now(UTC)
    assert daily_bytes(engine.database, now) == 0
    engine.store([document("/a", "1", large_body(5000))])
    assert daily_bytes(engine.database, now) == sum(path.stat().st_size for path in engine.folder.segments.glob("??/*[!x]"))
    assert daily_bytes(engine.database, now + timedelta(days=2)) == 0


def test_what_helps_is_the_trash_if_there_is_any(engine: Engine) -> None:
    assert what_helps(engine.folder).startswith("strongroom cleanup (")
    (engine.folder.trash / "swept-20261122T000000000000-aa.segment").touch()
    assert what_helps(engine.folder) == "STRONGROOM_GRACE_HOURS=1 strongroom cleanup sweep"
