from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.errors import DataFolderError, DataFolderLocked
from workers.service_lock import lock_service, share_lock, supervisor_of


def test_a_folder_has_one_supervisor_and_tells_which(tmp_path: Path) -> None:
    assert supervisor_of(tmp_path) is None
    lock = lock_service(tmp_path)
    assert supervisor_of(tmp_path) == os.getpid()
    with pytest.raises(DataFolderLocked, match=f"process {os.getpid()}"):
        lock_service(tmp_path)
    os.close(lock)
    assert supervisor_of(tmp_path) is None
    os.close(lock_service(tmp_path))


def test_single_parts_share_a_folder_with_each_other_and_with_no_supervisor(tmp_path: Path) -> None:
    lock = lock_service(tmp_path)
    with pytest.raises(DataFolderLocked):
        share_lock(tmp_path)
    os.close(lock)
    first, second = share_lock(tmp_path), share_lock(tmp_path)
    assert supervisor_of(tmp_path) is None
    os.close(first)
    os.close(second)
    os.close(lock_service(tmp_path))


def test_a_new_supervisor_waits_until_the_last_part_of_a_dead_one_is_gone(tmp_path: Path) -> None:
    # A part: it holds the lock of a supervisor that is no more, and dies half a second later.
    script = (
        "import fcntl, sys, time; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX); print('held', flush=True); time.sleep(0.5)"
    )
    file = tmp_path / "metadata" / "service.lock"
    file.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE) as part:
        assert part.stdout is not None
        part.stdout.readline()
        lock = lock_service(tmp_path)
        assert part.wait(1) == 0
    os.close(lock)


def test_a_lock_lives_as_long_as_any_process_that_inherited_it(tmp_path: Path) -> None:
    lock = lock_service(tmp_path)
    with subprocess.Popen(["sleep", "600"], pass_fds=(lock,)) as part:
        try:
            os.close(lock)
            with (tmp_path / "metadata" / "service.lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            part.kill()
    os.close(lock_service(tmp_path))


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DataFolderError):
        lock_service(tmp_path / "data")
