"""Locks: one holder at a time, whatever forks, and none that outlives its holder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from strongroom import locks
from strongroom.locks import locked, locked_if_free, shared_if_free
from tests.support.crash import in_child, start_child, wait_for


def _is_free(path: Path) -> bool:
    with locked_if_free(path) as mine:
        return mine


def test_a_lock_is_held_against_other_processes_and_other_threads_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        assert not _is_free(path)
        assert in_child(lambda: _assert(not _is_free(path))) == 0
    assert _is_free(path)


def _assert(condition: bool) -> None:
    assert condition


def test_a_shared_lock_is_held_by_many_or_alone_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with shared_if_free(path) as first, shared_if_free(path) as second:
        assert first
        assert second
        assert not _is_free(path)
    with locked(path), shared_if_free(path) as third:
        assert not third


def test_a_lock_that_does_not_come_free_is_an_error_after_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass


def test_a_lock_goes_with_its_holder_though_a_child_of_it_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    read, write = os.pipe()

    def holds_forks_and_dies() -> None:
        with locked(path):
            child = os.fork()
            if child == 0:
                signal.pause()
            os.write(write, b"%d" % child)
            os._exit(0)

    assert wait_for(start_child(holds_forks_and_dies)) == 0
    child = int(os.read(read, 20))
    try:
        with locked_if_free(path, patience_s=10.0) as mine:  # the child may not have run yet
            assert mine
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_a_lock_is_let_go_though_a_child_has_a_copy_of_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as descriptor:
        copy = os.dup(descriptor)
    assert _is_free(path)
    os.close(copy)


def test_a_lock_file_is_its_owners_alone_and_no_link_is_followed(tmp_path: Path) -> None:
    assert _is_free(tmp_path / "lock")
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path / "link"):
        pass
    assert not (tmp_path / "target").exists()
