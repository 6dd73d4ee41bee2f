"""tasks/bell.py: whoever listens is woken, and nobody is held up by one that nobody hears."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.schedule import Plan
from strongroom.routes import LONG_QUEUE
from tasks.bell import Bell, ring, take_down
from tasks.entering import queue_now
from tasks.heart import Heart
from tests.support.desk import Desk
from tests.support.processes import await_that


def test_each_ring_is_heard_by_one_of_those_who_listen(tmp_path: Path) -> None:
    bells = [Bell(tmp_path), Bell(tmp_path)]
    with ThreadPoolExecutor() as threads:
        heard = [threads.submit(bell.heard) for bell in bells]
        ring(tmp_path)
        await_that(lambda: any(one.done() for one in heard), "one hears it")
        assert [one.result() for one in heard if one.done()] == [True]
        for bell in bells:
            bell.end()
    assert sorted(one.result() for one in heard) == [False, True]
    assert not any(bell.heard() for bell in bells)
    for bell in bells:
        bell.close()


def test_a_bell_that_nobody_hears_holds_nobody_up(tmp_path: Path) -> None:
    ring(tmp_path)
    assert not list(tmp_path.iterdir())
    Bell(tmp_path).close()
    ring(tmp_path)
    take_down(tmp_path)
    take_down(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_no_pipe_is_neither_written_nor_listened_to(tmp_path: Path) -> None:
    (tmp_path / "bell").write_text("mine")
    bell = Bell(tmp_path)
    ring(tmp_path)
    bell.end()
    assert not bell.heard()
    bell.close()
    assert (tmp_path / "bell").read_text() == "mine"


def test_a_ring_is_no_news_where_the_folder_cannot_have_a_bell(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "absent")
    ring(tmp_path / "absent")
    bell.end()
    assert not bell.heard()
    bell.close()


def test_what_a_person_asks_for_is_sent_without_waiting_for_the_next_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.heart.RECONCILE_S", timedelta(days=1).total_seconds())
    heart = Heart(desk.services)
    heart.start()
    plan = Plan("compress", "compress", "strongroom.compress", LONG_QUEUE, {}, None)
    job_id = queue_now(desk.engine.database, desk.engine.folder.run, plan, "person:ada@host", datetime.now(UTC))
    await_that(lambda: desk.sent, "the message is sent")
    heart.stop()
    assert desk.sent[0][1]["request_id"] == job_id
