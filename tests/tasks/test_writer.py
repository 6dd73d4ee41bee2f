"""tasks/writer.py: a process that is frozen in the middle of a write holds nobody up for long."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.database import Database
from tasks.heart import Heart
from tasks.writer import PATIENCE_S, StoppedWriter, is_of_this_service
from tests.support.desk import Desk

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc/locks")


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def _writing(url: str, *, frozen: bool) -> Iterator[int]:
    """Yield a process in the middle of a write transaction on this catalogue: stopped there, or waiting."""
    pid = os.fork()
    if pid == 0:
        with Database(url).write():
            if frozen:
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                os.kill(os.getppid(), signal.SIGUSR1)
                signal.pause()
        os._exit(0)
    if frozen:
        os.waitpid(pid, os.WUNTRACED)
    else:
        signal.sigwait({signal.SIGUSR1})
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_a_writer_that_is_stopped_is_killed_and_the_others_write_on(desk: Desk, clock: _Clock) -> None:
    with _writing(desk.engine.database.url, frozen=True) as pid:
        onlooker = StoppedWriter(desk.engine.database, clock)
        assert onlooker.kill(lambda _pid: True) is None
        clock.now_s += PATIENCE_S - 0.1
        assert onlooker.kill(lambda _pid: True) is None, "it may go on any moment"
        clock.now_s += 0.1
        assert onlooker.kill(lambda _pid: False) is None, "not ours to kill"
        assert onlooker.kill(lambda _pid: True) == pid
        assert _ends(pid)
        with desk.engine.database.write():
            pass
        assert onlooker.kill(lambda _pid: True) is None


def test_a_writer_that_merely_takes_long_is_left_alone(desk: Desk, clock: _Clock) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with _writing(desk.engine.database.url, frozen=False):
            onlooker = StoppedWriter(desk.engine.database, clock)
            for _ in range(3):
                assert onlooker.kill(lambda _pid: True) is None
                clock.now_s += 10 * PATIENCE_S
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_writer_of_another_catalogue_is_left_alone(desk: Desk, tmp_path: Path, clock: _Clock) -> None:
    with _writing(f"sqlite:///{tmp_path / 'other.db'}", frozen=True):
        onlooker = StoppedWriter(desk.engine.database, clock)
        assert onlooker.kill(lambda _pid: True) is None
        clock.now_s += PATIENCE_S
        assert onlooker.kill(lambda _pid: True) is None


def test_only_processes_beside_this_one_are_of_this_service() -> None:
    read, write = os.pipe()
    sibling, onlooker = os.fork(), 0
    if sibling == 0:
        signal.pause()
    onlooker = os.fork()
    if onlooker == 0:
        answers = [is_of_this_service(pid) for pid in (sibling, 1, os.getppid(), 2**22 + 1)]
        os.write(write, bytes(answers))
        os._exit(0)
    os.waitpid(onlooker, 0)
    assert list(os.read(read, 4)) == [True, False, False, False]
    os.kill(sibling, signal.SIGKILL)
    os.waitpid(sibling, 0)
    os.close(read)
    os.close(write)


def test_the_heart_looks_before_it_would_wait_for_the_writer(desk: Desk, clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    heart = Heart(desk.services)
    heart._writer = StoppedWriter(desk.engine.database, clock)
    monkeypatch.setattr("tasks.heart.is_of_this_service", lambda _pid: True)
    with _writing(desk.engine.database.url, frozen=True) as pid:
        heart.beat()
        clock.now_s += PATIENCE_S
        heart.beat()
        assert _ends(pid)


def _ends(pid: int) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], 5.0)[0])
    finally:
        os.close(descriptor)
