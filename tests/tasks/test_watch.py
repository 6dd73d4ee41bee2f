"""tasks/watch.py: the dead are known at once, the frozen when they have not renewed for the length of a lease."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from models.due import running_jobs
from models.leases import LEASE, renew_leases, take_leases
from models.ledger import JobRow, NewJob
from tasks.reconcile import take_back_leases
from tasks.watch import Watch
from tests.support.catalogue import START
from tests.support.desk import Desk

LEASE_S = LEASE.total_seconds()


@pytest.fixture
def held(open_desk: Callable[..., Desk]) -> Iterator[tuple[Desk, Desk, str]]:
    """Two processes; the first holds the lease of one job, in a run that the third value names."""
    holder, watcher = open_desk(), open_desk()
    with holder.services.presence.at_work() as owner:
        with holder.engine.database.write() as connection:
            take_leases(connection, [NewJob("one", "store")], owner, START, lambda _row: "alive")
        yield holder, watcher, owner


def _gone(watcher: Desk, at_s: float) -> dict[str, str]:
    watcher.now_s = at_s
    return dict(watcher.watch.gone(_running(watcher)))


def _running(desk: Desk) -> list[JobRow]:
    with desk.engine.database.read() as connection:
        return running_jobs(connection)


def _looks(watcher: Desk, *times_s: float) -> list[dict[str, str]]:
    return [_gone(watcher, time_s) for time_s in times_s]


def test_one_who_does_not_renew_is_frozen_after_the_length_of_a_lease(held: tuple[Desk, Desk, str]) -> None:
    _, watcher, _ = held
    assert _looks(watcher, 0, 2, 4, 6, 8, 10) == [{}] * 6
    assert _gone(watcher, 10.5) == {"one": "dead"}


def test_one_who_renews_is_not(held: tuple[Desk, Desk, str]) -> None:
    holder, watcher, owner = held
    for second in range(0, 40, 2):
        if second % 4 == 0:
            with holder.engine.database.write() as connection:
                renew_leases(connection, [owner], {}, START)
        assert _gone(watcher, second) == {}


def test_a_watcher_that_stood_still_itself_accuses_nobody(held: tuple[Desk, Desk, str]) -> None:
    _, watcher, _ = held
    assert _looks(watcher, 0, 1000, 1002, 1004, 1006, 1008) == [{}] * 6
    assert _looks(watcher, 1010, 1011) == [{}, {"one": "dead"}]


def test_a_new_holder_has_a_lease_of_its_own(held: tuple[Desk, Desk, str]) -> None:
    holder, watcher, owner = held
    assert _looks(watcher, 0, 4, 8) == [{}] * 3
    with holder.engine.database.write() as connection:
        take_leases(connection, [NewJob("one", "store")], owner, START, lambda _row: "dead")
    assert _looks(watcher, 11, 15, 19) == [{}] * 3


def test_the_dead_are_known_at_once_and_the_stopped_are_told_apart(held: tuple[Desk, Desk, str]) -> None:
    holder, watcher, _ = held
    holder.close()
    assert _gone(watcher, 0) == {"one": "dead"}
    (holder.services.workers / "worker1.leaving").touch()
    assert _gone(watcher, 1) == {"one": "stopped"}


def test_who_is_held_up_by_another_writer_keeps_its_lease(held: tuple[Desk, Desk, str], monkeypatch: pytest.MonkeyPatch) -> None:
    holder, watcher, owner = held
    monkeypatch.setattr("tasks.watch.PROBE_S", 0.02)
    assert _looks(watcher, 0, 2, 4) == [{}] * 3
    with _held_by_another(watcher):
        assert _looks(watcher, *range(6, 60, 2)) == [{}] * 27
        assert not holder.engine.database.can_write(0.02)
    assert _gone(watcher, 60) == {}, "the one who waited longest need not be the first to write"
    with holder.engine.database.write() as writing:
        renew_leases(writing, [owner], {}, START)
    assert _looks(watcher, 62, 64, 66, 68, 70, 72) == [{}] * 6
    assert _gone(watcher, 73) == {"one": "dead"}, "it could have renewed since"


def test_the_reaper_takes_nothing_when_a_long_write_ends(held: tuple[Desk, Desk, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Real time: a second connection holds the write lock for longer than a lease that is a fraction of a second."""
    holder, watcher, _ = held
    for name, seconds in (("LEASE", 0.4), ("RENEWAL", 0.1)):
        monkeypatch.setattr(f"tasks.watch.{name}", timedelta(seconds=seconds))
    monkeypatch.setattr("tasks.watch.PROBE_S", 0.02)
    watch = Watch(watcher.engine.database, watcher.services.presence)
    with _held_by_another(watcher):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            assert take_back_leases(watcher.services, watch) == 0
            threading.Event().wait(0.02)
    assert take_back_leases(watcher.services, watch) == 0
    assert holder.job("one").token == 1
    deadline = time.monotonic() + 5.0
    while not take_back_leases(watcher.services, watch):
        assert time.monotonic() < deadline, "one who does not renew though it can is still found out"
        threading.Event().wait(0.02)


@contextmanager
def _held_by_another(desk: Desk) -> Iterator[None]:
    other = sqlite3.connect(str(desk.engine.database.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
