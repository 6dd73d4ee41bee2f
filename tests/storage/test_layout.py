"""storage/layout.py: which folders may be used, and how they are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.engine import Engine
from storage.layout import FORMAT, DataFolder
from strongroom.errors import DataFolderError, PermissionRefused
from tests.support.archive import body, document
from tests.support.crash import in_child, observed, start_child, wait_for

NOBODY = 65534


def _as_nobody(work: Callable[[], object]) -> int:
    """Run ``work`` in a process whom the system refuses something: root may write everywhere."""

    def drop_and_work() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        work()

    return in_child(drop_and_work if os.geteuid() == 0 else work)


def _open_up(path: Path) -> None:
    """Let others reach a folder of this test."""
    for folder in (path, *path.parents):
        if folder.owner() != "root" or str(folder).startswith(("/dev/shm/", "/tmp/")):
            folder.chmod(folder.stat().st_mode | 0o055)


def test_a_new_folder_is_made_with_all_its_parts(scratch: Path) -> None:
    folder = DataFolder(scratch / "deep" / "data")
    folder.create()
    folder.check()
    assert len(list(folder.segments.iterdir())) == 256
    assert folder.root.stat().st_mode & 0o777 == 0o700
    folder.create()
    assert not list(folder.tmp.iterdir())


@pytest.mark.parametrize("found", [FORMAT + 1, "1", None, 1.5])
def test_another_format_is_refused(scratch: Path, found: object) -> None:
    folder = DataFolder(scratch / "data")
    folder.create()
    mark = folder.root / "strongroom.json"
    mark.write_text(
        mark.read_text().replace(f'"format": {FORMAT}', f'"format": {found!r}'.replace("'", '"').replace("None", "null"))
    )
    for use in (folder.check, folder.create):
        with pytest.raises(DataFolderError, match="format"):
            use()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_mark_says_what_it_should_read(scratch: Path, damage: bytes) -> None:
    folder = DataFolder(scratch / "data")
    folder.create()
    (folder.root / "strongroom.json").write_bytes(damage)
    with pytest.raises(DataFolderError, match="damaged") as caught:
        folder.check()
    assert '"format": 1' in caught.value.hint


def test_a_folder_with_other_things_is_refused_and_left_alone(scratch: Path) -> None:
    (scratch / "thesis.txt").write_text("years of work")
    with pytest.raises(DataFolderError, match="other things"):
        DataFolder(scratch).create()
    assert [path.name for path in scratch.iterdir()] == ["thesis.txt"]


def test_a_file_in_its_place_is_refused(scratch: Path) -> None:
    (scratch / "data").write_text("x")
    with pytest.raises(DataFolderError):
        DataFolder(scratch / "data").create()
    with pytest.raises(DataFolderError):
        DataFolder(scratch / "data").check()


def test_a_fresh_volume_is_not_foreign(scratch: Path) -> None:
    (scratch / "lost+found").mkdir()
    DataFolder(scratch).create()
    DataFolder(scratch).check()


def test_a_folder_that_is_not_there_is_no_data_folder(scratch: Path) -> None:
    with pytest.raises(DataFolderError, match="no data folder"):
        Engine(scratch / "none").open()
    assert not (scratch / "none").exists(), "opening makes nothing"


def test_a_folder_without_its_catalogue_says_how_to_make_it(data: Path) -> None:
    for path in (data / "metadata").glob("catalogue.db*"):
        path.unlink()
    with pytest.raises(DataFolderError) as caught:
        Engine(data).open()
    assert "strongroom up" in caught.value.hint


def test_parts_on_several_file_systems_are_refused(data: Path, tmp_path: Path) -> None:
    if data.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only: /dev/shm is not one of its own here")
    elsewhere = tmp_path / "documentation"
    elsewhere.mkdir()
    (data / "documentation").rmdir()
    (data / "documentation").symlink_to(elsewhere)
    for use in (DataFolder(data).check, DataFolder(data).create):
        with pytest.raises(DataFolderError, match="file systems"):
            use()


def test_processes_that_make_one_folder_at_once_all_succeed(scratch: Path) -> None:
    children = [start_child(lambda: Engine(scratch / "data").create().close()) for _ in range(4)]
    assert [wait_for(child) for child in children] == [0] * 4
    with Engine(scratch / "data").open() as engine:
        assert not list(engine.folder.tmp.iterdir())


def test_a_folder_that_another_process_finishes_meanwhile_is_finished(scratch: Path) -> None:
    folder, others = DataFolder(scratch / "data"), [DataFolder(scratch / "data")]

    def finish_first(step: str) -> None:
        if step == "data folder: rename" and others:
            others.pop().create()

    with observed(finish_first):
        folder.create()
    assert not others
    folder.check()
    assert not list(folder.tmp.iterdir())


def test_a_folder_that_another_process_marks_while_it_is_looked_at_is_ours(scratch: Path) -> None:
    class Overtaken(DataFolder):
        def exists(self) -> bool:
            before = super().exists()
            DataFolder(self.root).create()
            return before

    Overtaken(scratch / "data").refuse_foreign()
    DataFolder(scratch / "data").check()


def test_a_place_without_write_permission_is_refused(scratch: Path) -> None:
    _open_up(scratch)
    scratch.chmod(0o555)

    def make() -> None:
        with pytest.raises(PermissionRefused, match=r"Permission denied|cannot prepare"):
            Engine(scratch / "data").create()

    assert _as_nobody(make) == 0
    assert not (scratch / "data").exists()


def test_a_folder_that_lost_its_write_permission_refuses_to_store_and_keeps_what_it_has(data: Path) -> None:
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1))])
    _open_up(data)
    for path in [data, *data.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def store() -> None:
        with pytest.raises(PermissionRefused), Engine(data).open() as engine:
            engine.store([document("/a/b", "2.0", body(n=2))])

    assert _as_nobody(store) == 0
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with Engine(data).open() as engine:
        assert [one.version for one in engine.versions()] == ["1.0"]


def test_a_folder_that_may_not_be_looked_into_is_refused(data: Path) -> None:
    _open_up(data)
    data.chmod(0)

    def look() -> None:
        with pytest.raises(PermissionRefused):
            DataFolder(data).check()

    assert _as_nobody(look) == 0
