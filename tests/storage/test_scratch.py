"""storage/scratch.py: what the dead left goes at once, and nobody who lives is disturbed."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.engine import Engine
from storage.scratch import SCRATCH, remove_dead, scratch_space
from storage.tidy import tidy
from strongroom.errors import DiskFull, TransientIO
from tests.support.crash import Crash, crash_at, die_at
from tests.support.faults import faults

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def left_by_a_dead_one(engine: Engine) -> Path:
    def work() -> None:
        with scratch_space(engine.folder) as scratch:
            (scratch / "segments").mkdir(parents=True)
            os._exit(77)

    before = set(engine.folder.tmp.iterdir())
    die_at(99, work)
    [left] = set(engine.folder.tmp.iterdir()) - before
    assert (left / "data" / "segments").is_dir()
    return left


def test_those_who_live_are_left_alone_however_long_they_work_and_the_dead_ones_go_at_once(engine: Engine) -> None:
    with scratch_space(engine.folder) as first:
        first.mkdir()
        os.utime(first.parent, (0, 0))
        left = left_by_a_dead_one(engine)
        with scratch_space(engine.folder) as second:
            second.mkdir()
            assert not left.exists()
            left = left_by_a_dead_one(engine)
            assert tidy(engine.folder, NOW).unfinished == 1
            assert not left.exists()
            assert first.is_dir()
            assert second.is_dir()
        with scratch_space(engine.folder):  # the one before has ended: the first is not alone, and lives
            assert first.is_dir()
    assert list(engine.folder.tmp.iterdir()) == []


def test_a_crash_at_the_removal_leaves_it_to_the_next(engine: Engine) -> None:
    left = left_by_a_dead_one(engine)
    with crash_at("scratch: remove"):
        remove_dead(engine.folder)
    assert left.is_dir()
    assert remove_dead(engine.folder) == 1


def test_what_a_restore_left_in_a_data_folder_goes_unless_it_is_none_yet(engine: Engine) -> None:
    left = engine.folder.root / ".restoring-part"
    (left / "then").mkdir(parents=True)
    mark = engine.folder.root / "strongroom.json"
    mark.rename(mark.with_name("aside"))
    assert remove_dead(engine.folder) == 0
    mark.with_name("aside").rename(mark)
    assert tidy(engine.folder, NOW - timedelta(days=9)).unfinished == 1
    assert not left.exists()


@pytest.mark.parametrize("number", [1, 2], ids=["mkdir", "rename"])
def test_a_call_that_fails_is_said_and_leaves_nothing(engine: Engine, number: int) -> None:
    with faults(number, errno.ENOSPC) as injected, pytest.raises(DiskFull), scratch_space(engine.folder):
        pytest.fail("it was entered")
    assert injected.fired
    with pytest.raises(TransientIO), scratch_space(engine.folder):
        raise OSError(errno.EIO, "while it works")
    with pytest.raises(Crash), scratch_space(engine.folder):
        raise Crash
    assert list(engine.folder.tmp.glob(f"*{SCRATCH}")) == list(engine.folder.tmp.iterdir()) == []
