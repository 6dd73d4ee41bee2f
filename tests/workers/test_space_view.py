"""workers/space_view.py: doctor's lines and the metrics about space and quotas."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.settings import Settings
from models.database import Database
from tests.support.alike import store_versions
from workers.metrics import quotas, space
from workers.prepare import make_engine
from workers.scene import Onlooker
from workers.space_view import judge_quotas, judge_space, space_fields, view_space


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path / "data", quotas={"/a/*": 10, "total": "1GB"})
    with make_engine(Settings(data_dir=made.data_dir)) as engine:
        store_versions(engine.create(), "/a/b", 1)
        store_versions(engine, "/c/d", 1, seed=2)
    return made


def _gauges(settings: Settings) -> dict[str, float]:
    scene = Onlooker(settings).look()
    families = [*space(scene), *quotas(scene)]
    return {"".join([one.name, *one.labels.values()]): one.value for family in families for one in family.samples}


def test_a_disk_beyond_a_watermark_is_a_note_then_a_trouble_with_the_command_that_helps(settings: Settings) -> None:
    for low, critical, state in ((100, 100, "fine"), (1, 100, "note"), (1, 1, "trouble")):
        marked = settings.model_copy(update={"space_low_percent": low, "space_critical_percent": critical})
        told = judge_space(marked, None, datetime.now(UTC))
        assert (told[0], bool(told[2])) == (state, state != "fine"), told
    assert "strongroom cleanup" in told[2]


def test_while_the_reserve_is_being_used_it_is_a_trouble(settings: Settings) -> None:
    state, words, _ = judge_space(settings.model_copy(update={"reserve_bytes": 1 << 60}), None, datetime.now(UTC))
    assert state == "trouble"
    assert "jobs wait" in words


def test_a_full_quota_is_named(settings: Settings) -> None:
    database = Database(settings.catalogue_url)
    state, words, mend = judge_quotas(settings, database)
    assert (state, mend) == ("trouble", "strongroom quota")
    assert words.startswith("/a/b ")
    assert judge_quotas(settings.model_copy(update={"quotas": {}}), database) == ("fine", "none is set", "")
    assert judge_quotas(settings.model_copy(update={"quotas": {"*": "1GB"}}), database) == ("fine", "all have room", "")
    database.close()


def test_without_a_catalogue_nothing_is_made_and_the_disk_is_told_of_all_the_same(tmp_path: Path) -> None:
    database = Database(Settings(data_dir=tmp_path).catalogue_url)
    report = view_space(Settings(data_dir=tmp_path), database, datetime.now(UTC))
    assert report.bytes_per_day is None
    assert space_fields(report)["hours_until_full"] is None
    assert list(tmp_path.iterdir()) == []


def test_the_metrics_tell_of_the_disk_and_of_those_libraries_that_are_near_their_quota(settings: Settings) -> None:
    gauges = _gauges(settings)
    assert 0 < gauges["strongroom_disk_free_bytes"] < gauges["strongroom_disk_size_bytes"]
    assert gauges["strongroom_quota_limit_bytes/a/b"] == 10
    assert "strongroom_quota_limit_bytes/c/d" not in gauges
    assert gauges["strongroom_quota_used_bytes"] > gauges["strongroom_quota_used_bytes/a/b"] > 10
    assert (gauges["strongroom_quota_libraries_near"], gauges["strongroom_quota_libraries_full"]) == (1, 1)
    assert not any("quota" in name for name in _gauges(settings.model_copy(update={"quotas": {}})))
