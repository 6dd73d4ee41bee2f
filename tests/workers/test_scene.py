from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from config.settings import Settings
from models.database import Database
from tests.support.job_rows import add_jobs
from workers.liveness import give_sign, give_work_sign
from workers.prepare import prepare
from workers.processes import birth_of
from workers.scene import Onlooker
from workers.seldom import Seldom
from workers.service_state import FlowerState, PartState, ServiceState, write_state
from workers.web import FRESH_S, Window, health_fields


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path / "data")
    prepare(made)
    return made


def accepted(settings: Settings, job: str, age_s: float) -> None:
    file = settings.data_dir / "inbox" / f"{job}.inbox"
    file.touch()
    then = file.stat().st_mtime - age_s
    os.utime(file, (then, then))


def test_what_waits_longest_is_told_even_when_no_worker_has_entered_it(settings: Settings) -> None:
    onlooker = Onlooker(settings)
    assert onlooker.look().oldest_waiting_s == 0
    accepted(settings, "unknown", 3600)
    accepted(settings, "on-its-way", 1)
    (settings.data_dir / "inbox" / "begun.1234.part").touch()
    scene = Onlooker(settings).look()
    assert scene.inbox_files == 2
    assert 3600 <= scene.oldest_waiting_s < 3700


def test_a_file_whose_job_runs_does_not_wait(settings: Settings) -> None:
    accepted(settings, "job-0", 3600)
    database = Database(settings.catalogue_url)
    add_jobs(database, ("store", "running", 0))
    database.close()
    scene = Onlooker(settings).look()
    assert scene.jobs == {("store", "running"): 1}
    assert scene.oldest_waiting_s == 0


def test_a_folder_without_a_service_is_not_ready_and_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    scene = Onlooker(Settings(data_dir=tmp_path)).look()
    assert (scene.ready, scene.database, dict(scene.parts)) == (False, False, {})
    assert [path.name for path in tmp_path.rglob("*")] == ["metadata"]


def test_parts_are_judged_anew_but_a_supervisors_bad_word_holds(settings: Settings) -> None:
    for part in ("worker-short", "worker-long", "beat"):
        give_sign(settings.data_dir, part)
        give_work_sign(settings.data_dir, part)
    old = settings.data_dir / "run" / "worker-long.worked"
    os.utime(old, (1, 1))
    states = {"broker": "ready", "worker-short": "restarting", "worker-long": "ready", "beat": "ready", "flower": "starting"}
    parts = tuple(PartState(name, 1, state, 0) for name, state in states.items())
    flower = FlowerState("http://127.0.0.1:1", "strongroom", None)
    mine = os.getpid()
    write_state(ServiceState(mine, birth_of(mine) or "", "", str(settings.data_dir), "redis://x", flower, parts, ready=True))
    scene = Onlooker(settings).look()
    assert scene.parts == {
        "broker": "silent",
        "worker-short": "restarting",
        "worker-long": "silent",
        "beat": "ready",
        "flower": "starting",
    }


def test_a_database_that_takes_no_write_is_not_ready_and_tells_the_rest_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.scene.WRITE_WITHIN_S", 0.05)
    onlooker, database = Onlooker(settings), Database(settings.catalogue_url)
    add_jobs(database, ("store", "running", 0))
    assert onlooker.look().database
    with database.write():
        held = onlooker.look()
        assert (held.database, held.ready, dict(held.jobs)) == (False, False, {("store", "running"): 1})
    assert onlooker.look().database
    database.close()


async def test_however_many_ask_the_service_is_looked_at_once(settings: Settings) -> None:
    window = Window(settings)
    first, *others = await asyncio.gather(*(window.fresh() for _ in range(20)))
    assert first is not None
    assert all(other is first for other in others)
    assert await window.fresh() is first
    window._at_s -= FRESH_S
    assert await window.fresh() is not first


async def test_a_database_that_hangs_is_told_within_seconds(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"postgresql+psycopg://me:databasesecret@127.0.0.1:{deaf.getsockname()[1]}/name"
        window = Window(settings.model_copy(update={"database_url": SecretStr(url)}))
        started = time.monotonic()
        fields = health_fields(await window.fresh())
        assert time.monotonic() - started < 20, "a database driver's own patience is minutes"
        assert fields == {"ready": False, "parts": {}, "broker": False, "database": False, "oldest_waiting_s": None}


async def test_a_database_that_is_gone_is_told_and_the_rest_all_the_same(settings: Settings) -> None:
    accepted(settings, "unknown", 3600)
    url = SecretStr("postgresql+psycopg://me:databasesecret@127.0.0.1:1/name")
    window = Window(settings.model_copy(update={"database_url": url}))
    fields = health_fields(await window.fresh())
    assert (fields["database"], fields["ready"]) == (False, False)
    assert fields["oldest_waiting_s"] >= 3600
    registry = CollectorRegistry()
    registry.register(window)
    text = prometheus_client.generate_latest(registry).decode()
    assert "strongroom_database_up 0.0" in text
    assert "strongroom_inbox_files 1.0" in text
    assert "databasesecret" not in text + repr(fields)


def test_what_costs_much_is_taken_seldom() -> None:
    now = [0.0]
    taken: list[float] = []

    def take() -> float:
        taken.append(now[0])
        now[0] += 0.4
        return now[0]

    seldom: Seldom[float] = Seldom(share=1 / 200, clock=lambda: now[0])
    for _ in range(1000):
        seldom.get(take)
        now[0] += 1
    assert len(taken) == pytest.approx(1000 / 80, abs=1)


def test_what_could_not_be_taken_is_tried_again() -> None:
    seldom: Seldom[int] = Seldom(share=1 / 200)
    with pytest.raises(ZeroDivisionError):
        seldom.get(lambda: 1 // 0)
    assert seldom.get(lambda: 2) == 2
