"""tasks/space.py: what runs out becomes a finding before jobs wait, and is over when it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from models.findings import OpenFinding, open_findings
from storage.engine import Options
from storage.governor import Governor, Space
from storage.quotas import parse_quotas
from storage.spare import SPARE, SPARE_BYTES
from strongroom.errors import DiskFull
from tasks.space import watch_space
from tests.support.desk import Desk, document, failing

TOTAL = 1 << 40
Open = Callable[..., Desk]


def _look(desk: Desk, free_share: float, now: datetime | None = None) -> list[str]:
    desk.engine.governor = Governor(desk.root, 0, lambda _path: Space(TOTAL, int(TOTAL * free_share)))
    watch_space(desk.services, now or datetime.now(UTC))
    return [one.code for one in _open(desk)]


def _open(desk: Desk) -> list[OpenFinding]:
    with desk.engine.database.read() as connection:
        return open_findings(connection)


def test_a_disk_that_fills_up_is_one_finding_at_a_time_until_there_is_space_again(desk: Desk) -> None:
    assert [_look(desk, free) for free in (0.5, 0.14, 0.04, 0.06, 0.1, 0.16, 0.5)] == [
        [],
        ["space_low"],
        ["space_critical"],
        ["space_critical"],
        ["space_low"],
        ["space_low"],
        [],
    ]


def test_the_finding_says_what_helps(desk: Desk) -> None:
    _look(desk, 0.14)
    assert "86% used" in _open(desk)[0].message
    assert "strongroom cleanup" in _open(desk)[0].message


def test_what_lasts_costs_no_write_a_minute(desk: Desk) -> None:
    now = datetime.now(UTC)
    _look(desk, 0.14, now)
    first = _open(desk)[0].last_seen
    _look(desk, 0.14, now + timedelta(minutes=1))
    assert _open(desk)[0].last_seen == first
    _look(desk, 0.14, now + timedelta(hours=2))
    assert _open(desk)[0].last_seen > first


def test_what_a_sweep_needs_on_a_full_disk_is_set_aside_when_the_disk_fills_up_and_not_before(desk: Desk) -> None:
    spare = desk.engine.folder.metadata / SPARE
    _look(desk, 0.5)
    assert not spare.exists()
    _look(desk, 0.14)
    assert spare.stat().st_size == SPARE_BYTES
    spare.unlink()
    _look(desk, 0.0)
    assert not spare.exists(), "the last space was taken"


def test_a_full_quota_is_a_finding_of_its_library(open_desk: Open) -> None:
    roomy = open_desk()
    roomy.stage("job-one-0001", document())
    roomy.run("job-one-0001")
    size = roomy.revisions()[0].place.length
    desk = open_desk(name="test:2", options=Options(quotas=parse_quotas({"/a/b": size, "total": size * 100 // 90})))
    _look(desk, 0.5)
    assert [(one.code, one.subject) for one in _open(desk)] == [("quota_near", ""), ("quota_full", "/a/b")]
    assert _look(roomy, 0.5) == []


def test_a_ledger_that_cannot_be_written_is_a_clear_error_and_the_next_look_tells_all(desk: Desk) -> None:
    with failing("findings: commit", DiskFull("no space")), pytest.raises(DiskFull):
        _look(desk, 0.04)
    assert _open(desk) == []
    assert _look(desk, 0.04) == ["space_critical"]
