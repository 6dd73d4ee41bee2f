from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.processes import NeverCameTrue, await_that, children_of, end_all, is_alive, is_stopped, kill, processes_of


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[int]:
    """A process that names a folder as its data folder."""
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "STRONGROOM_DATA_DIR": str(tmp_path / "data")})
    yield process.pid
    process.kill()
    process.wait()


def test_a_kill_returns_when_the_process_is_dead(sleeper: int) -> None:
    assert sleeper in children_of(os.getpid())
    kill(sleeper)
    assert not is_alive(sleeper)


def test_a_kill_of_what_is_dead_and_not_yet_reaped_returns_at_once(sleeper: int) -> None:
    os.kill(sleeper, signal.SIGKILL)
    await_that(lambda: not is_alive(sleeper), "it is a zombie", 5)
    kill(sleeper)
    assert not is_alive(sleeper)


def test_a_stopped_process_is_seen_to_be_stopped_and_is_ended_all_the_same(sleeper: int, tmp_path: Path) -> None:
    assert not is_stopped(sleeper)
    os.kill(sleeper, signal.SIGSTOP)
    await_that(lambda: is_stopped(sleeper), "it is stopped", 5)
    assert sleeper in processes_of(tmp_path)
    end_all(tmp_path)
    assert not is_alive(sleeper)


def test_a_process_that_only_stands_in_a_folder_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path, env={"PATH": os.environ["PATH"], "PWD": str(tmp_path)}) as process:
        end_all(tmp_path)
        assert is_alive(process.pid)
        process.kill()


def test_what_does_not_come_true_in_time_is_a_failure() -> None:
    with pytest.raises(NeverCameTrue, match="pigs fly"):
        await_that(lambda: False, "pigs fly", 0.05)
