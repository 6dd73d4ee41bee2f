"""tasks/heart.py: leases are renewed and what is due is sent, whatever the tasks do meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from sqlalchemy import select

from models.leases import RENEWAL, take_leases
from models.ledger import NewJob
from models.tables import Version, table_of
from strongroom import durable
from strongroom.errors import CatalogueBusy
from tasks.heart import Heart
from tasks.watch import Watch
from tests.support.catalogue import START
from tests.support.desk import Desk, document, failing

WITHIN_S = 20.0


def _await(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def _hold(desk: Desk, owner: str) -> None:
    with desk.engine.database.write() as connection:
        take_leases(connection, [NewJob("one", "store")], owner, START, lambda _row: "alive")


def test_a_computing_task_does_not_starve_the_heartbeat(desk: Desk) -> None:
    """The task holds the interpreter's lock for as long as the interpreter lets it: the renewals come in between."""
    heart = Heart(desk.services)
    heart.start()
    with desk.services.presence.at_work() as owner:
        _hold(desk, owner)
        started = time.monotonic()
        while time.monotonic() - started < RENEWAL.total_seconds() + 2.5:
            sum(range(10_000))
        assert desk.job("one").renewals >= 1
    heart.stop()


def test_short_runs_cost_no_transaction_and_long_ones_one_a_beat(desk: Desk) -> None:
    heart = Heart(desk.services)
    steps: list[str] = []
    with desk.services.presence.at_work() as one, desk.services.presence.at_work():
        _hold(desk, one)
        durable.step.observer = steps.append
        try:
            heart.beat()
            assert steps == []
            desk.services.presence._at_work = dict.fromkeys(desk.services.presence._at_work, 0.0)  # both began long ago
            desk.services.progress["one"] = {"done": 1, "total": 2, "unit": "bytes"}
            heart.beat()
            heart.beat()
        finally:
            durable.step.observer = None
    assert steps == ["heartbeat: commit", "heartbeat: committed"]
    assert (desk.job("one").renewals, desk.job("one").progress) == (1, {"done": 1, "total": 2, "unit": "bytes"})


def test_what_nobody_does_is_sent_without_any_queue_and_errors_end_no_thread(desk: Desk) -> None:
    heart = Heart(desk.services)
    os.utime(desk.stage("job-00000001", document()), (0, 0))
    with failing("heartbeat: commit", CatalogueBusy("locked"), times=1), desk.services.presence.at_work() as owner:
        desk.services.presence._at_work[owner] = 0.0
        _hold(desk, owner)
        heart.start()
        _await(lambda: desk.job("one").renewals)
    _await(lambda: desk.sent)
    heart.stop()
    assert desk.sent[0][1] == {"inbox": "job-00000001.inbox"}


def test_processes_of_one_folder_take_turns(open_desk: Callable[..., Desk]) -> None:
    one, other = Heart(open_desk().services), Heart(open_desk().services)
    assert [heart.reconcile() for heart in (one, other, one)] == [True, False, False]


def test_a_process_sees_a_standstill_though_others_do_the_sending(open_desk: Callable[..., Desk]) -> None:
    """With many processes each of them seldom sends: its view of the leases must not grow old meanwhile."""
    holder, watcher = open_desk(), open_desk()
    heart = Heart(watcher.services)
    clock = [0.0]
    heart._watch = Watch(watcher.engine.database, watcher.services.presence, lambda: clock[0])
    with holder.services.presence.at_work() as owner:
        _hold(holder, owner)
        for clock[0] in range(0, 14, 2):
            (watcher.engine.folder.run / "reconciled").touch()
            heart.reconcile()
        assert watcher.job("one").state == "queued"


def test_reads_are_counted_without_a_write_for_each(desk: Desk) -> None:
    desk.stage("job-00000001", document())
    desk.run("job-00000001")
    for _ in range(3):
        desk.engine.read("/a/b")
    heart = Heart(desk.services)
    heart.beat()
    desk.engine.read("/a/b")
    heart.beat()
    with desk.engine.database.read() as connection:
        assert connection.scalar(select(table_of(Version).c.access_count)) == 3, "the fourth is written half a minute later"
