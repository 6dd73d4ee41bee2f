"""Durable steps: announced in the order that matters, and errors that say what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from strongroom import durable
from strongroom.errors import DiskFull, PermissionRefused, StorageError, TransientIO


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, DiskFull) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        *((number, PermissionRefused) for number in (errno.EACCES, errno.EPERM, errno.EROFS)),
        *((number, TransientIO) for number in (errno.EAGAIN, errno.EINTR, errno.EIO, errno.EBUSY, errno.EMFILE, errno.ENFILE)),
        *((number, StorageError) for number in (errno.ENOENT, errno.ENAMETOOLONG, errno.EISDIR)),
    ],
)
def test_an_error_of_the_system_becomes_the_one_that_says_what_to_do(number: int, kind: type[StorageError]) -> None:
    cause = OSError(number, os.strerror(number), "/some/path")
    with pytest.raises(StorageError) as caught, durable.os_errors("cannot write"):
        raise cause
    assert type(caught.value) is kind
    assert caught.value.message == f"cannot write: {os.strerror(number)}"
    assert caught.value.context == {"path": "/some/path"}
    assert caught.value.__cause__ is cause


def test_an_error_without_a_file_has_an_empty_context() -> None:
    with pytest.raises(StorageError) as caught, durable.os_errors("cannot write"):
        raise OSError("odd")
    assert caught.value.context == {}


@pytest.mark.parametrize("error", [StorageError("own"), ValueError("own"), KeyboardInterrupt()])
def test_other_errors_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, durable.os_errors("cannot write"):
        raise error
    assert caught.value is error


def test_make_folder_makes_each_missing_parent_durable_in_the_one_above(tmp_path: Path, steps: list[str]) -> None:
    durable.make_folder(tmp_path / "a" / "b", "x")
    assert steps == ["x: make folder", "x: fsync folder"] * 2
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]


def test_make_folder_does_nothing_when_it_is_there(tmp_path: Path, steps: list[str]) -> None:
    durable.make_folder(tmp_path, "x")
    assert steps == []


def test_make_folder_refuses_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        durable.make_folder(tmp_path / "a" / "b", "x")


def test_rename_replaces_and_announces_itself_before(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    before: list[str] = []
    durable.step.observer = lambda name: before.append(f"{name} with {target.read_text()}")
    try:
        durable.rename(source, target, "x")
    finally:
        durable.step.observer = None
    assert before == ["x: rename with old"]
    assert target.read_text() == "new"


def test_fsync_of_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        durable.fsync_folder(tmp_path / "file", "x")


def test_fsync_folder_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        durable.fsync_folder(tmp_path, "x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_an_observer_a_step_is_silent() -> None:
    durable.step("nobody listens")
