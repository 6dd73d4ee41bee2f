"""storage/libraries.py: a manager calls libraries otherwise, takes them out, brings them in and erases them, in all its faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.backup.manifest import backup_ids
from storage.backup.place import Place
from storage.engine import Options
from storage.manager import StorageManager
from storage.quotas import parse_quotas
from storage.sync_manager import SyncStorageManager
from strongroom.errors import InvalidRequest, NotFound, StalePlan
from strongroom.result import Err, Ok
from tests.support.backups import back_up, repository_at
from tests.support.crash import crash_at, steps_of

OLD, NEW = "/a/b", "/time/clock"
WHY = "request 4711"


@pytest.fixture
def manager(scratch: Path) -> Iterator[SyncStorageManager]:
    """Two versions of a library, the older one with two revisions and a pin, and another library."""
    with SyncStorageManager(scratch / "data") as manager:
        for version, n in (("1.0", 1), ("1.0", 2), ("2.0", 3)):
            manager.store_documentation(OLD, version, {"n": n})
        manager.store_documentation("/other", "1.0", {"n": 9})
        manager.pin_version(OLD, "1.0")
        yield manager


def _shown(manager: SyncStorageManager, folder: str) -> bool:
    return (manager._room.root / "documentation" / folder / "2.0" / "documentation.json.gz").exists()


def test_a_library_that_is_renamed_is_read_and_shown_under_both_names(manager: SyncStorageManager) -> None:
    done = manager.rename_library(OLD, NEW, by="person:ada", why="the owner has moved")
    assert (done.library_id, done.name, done.changed) == (NEW, OLD, True)
    assert manager.get_documentation(NEW) == manager.get_documentation(OLD) == {"n": 3}
    assert _shown(manager, "+time+clock")
    assert _shown(manager, "+a+b")
    assert [(one.alias, one.library_id, one.why) for one in manager.list_aliases()] == [(OLD, NEW, "the owner has moved")]
    assert manager.rename_library(OLD, NEW).changed is False


def test_a_name_means_a_library_until_it_is_removed(manager: SyncStorageManager) -> None:
    manager.add_alias("/clock", OLD)
    assert _shown(manager, "+clock")
    assert [one.alias for one in manager.list_aliases("/clock")] == ["/clock"]
    assert manager.remove_alias("/clock").library_id == OLD
    assert not _shown(manager, "+clock")
    with pytest.raises(NotFound):
        manager.get_documentation("/clock")


def test_a_library_goes_through_a_file_into_another_folder(manager: SyncStorageManager, scratch: Path) -> None:
    written = manager.export_library(OLD, str(scratch / "a.tar"), why="for the other site")
    assert (written.versions, written.revisions) == (2, 3)
    with SyncStorageManager(scratch / "other") as other:
        brought = other.import_library(scratch / "a.tar", "/copy")
        assert (brought.library_id, brought.stored, brought.pins) == ("/copy", 3, 1)
        assert other.get_documentation("/copy", "1.0") == {"n": 2}
        assert other.import_library(scratch / "a.tar", "/copy").unchanged == 3


def test_other_names_come_along_where_they_are_asked_for_and_mean_nothing_yet(manager: SyncStorageManager, scratch: Path) -> None:
    for name in ("/clock", "/taken"):
        manager.add_alias(name, OLD)
    manager.export_library(OLD, scratch / "a.tar")
    with SyncStorageManager(scratch / "other") as other:
        other.store_documentation("/taken", "1.0", {"n": 1})
        assert other.import_library(scratch / "a.tar").aliases == 0
        brought = other.import_library(scratch / "a.tar", aliases=True, by="person:ada")
        assert (brought.unchanged, brought.aliases) == (3, 1)
        assert [(one.alias, one.library_id, one.by) for one in other.list_aliases()] == [("/clock", OLD, "person:ada")]
        assert other.get_documentation("/clock") == {"n": 3}
        assert _shown(other, "+clock")
        assert other.get_documentation("/taken") == {"n": 1}


@pytest.mark.parametrize("version", ["2.0", "latest", "production"])
def test_a_version_alone_is_named_as_it_is_for_reading(manager: SyncStorageManager, scratch: Path, version: str) -> None:
    manager.label_version(OLD, "production", "2.0")
    assert manager.export_library(OLD, scratch / "a.tar", version).revisions == 1
    with SyncStorageManager(scratch / "other") as other:
        other.import_library(scratch / "a.tar")
        assert [one.version for one in other.list_versions(OLD)] == ["2.0"]


def test_an_import_that_cannot_be_is_an_answer_and_stores_nothing(manager: SyncStorageManager, scratch: Path) -> None:
    manager.export_library(OLD, scratch / "a.tar")
    (scratch / "b.tar").write_bytes((scratch / "a.tar").read_bytes()[:2000])
    with SyncStorageManager(scratch / "other", Options(quotas=parse_quotas({"*": 10}))) as other:
        answers = [other.results.import_library(scratch / name) for name in ("a.tar", "b.tar")]
        assert [one.problem.code for one in answers if isinstance(one, Err)] == ["quota_exceeded", "invalid_request"]
        assert list(other.list_libraries()) == []


def test_what_is_erased_is_planned_first_and_gone_afterwards(manager: SyncStorageManager) -> None:
    plan = manager.plan_erasure(OLD, "1.0")
    assert [(one.version, one.revision) for one in plan.revisions] == [("1.0", 1), ("1.0", 2)]
    assert manager.get_documentation(OLD, "1.0") == {"n": 2}
    done = manager.erase(plan, why=WHY, by="person:ada")
    assert (done.contents, done.proof.left) == (plan.contents, ())
    with pytest.raises(NotFound):
        manager.get_documentation(OLD, "1.0")
    assert manager.get_documentation(OLD) == {"n": 3}
    assert [one.why for one in manager.get_history(OLD).trail if one.action == "erased"] == [WHY]
    assert manager.resume_erasures() == []


def test_what_was_erased_is_still_told_when_nothing_of_the_library_is_left(manager: SyncStorageManager) -> None:
    manager.erase(manager.plan_erasure(OLD, "1.0"), why=WHY, by="person:ada")
    assert [one.action for one in manager.get_history(OLD, "1.0").trail] == ["erased"]
    manager.erase(manager.plan_erasure(OLD), why=WHY, by="person:ada")
    for version in (None, "1.0", "latest"):
        told = manager.get_history(OLD, version)
        assert (told.latest, told.versions) == (None, ())
        assert {(one.action, one.why, one.by) for one in told.trail} == {("erased", WHY, "person:ada")}
    for library_id, version in ((OLD, "7.0"), ("/never", None)):
        with pytest.raises(NotFound):
            manager.get_history(library_id, version)


def test_an_erasure_needs_a_target_a_reason_and_a_plan_that_still_holds(manager: SyncStorageManager) -> None:
    for library_id, version, matching in ((None, None, None), (None, "1.0", "/a/*"), (OLD, None, "/a/*")):
        with pytest.raises(InvalidRequest, match="not named"):
            manager.plan_erasure(library_id, version, matching=matching)
    plan = manager.plan_erasure(matching="/a/*")
    with pytest.raises(InvalidRequest, match="reason"):
        manager.erase(plan, why=" ")
    manager.store_documentation(OLD, "3.0", {"n": 4})
    with pytest.raises(StalePlan):
        manager.erase(plan, why=WHY)
    assert len(manager.list_versions(OLD)) == 3
    manager.erase(manager.plan_erasure(matching="/a/*"), why=WHY)
    assert list(manager.list_libraries()) == ["/other"]


def test_backups_that_hold_it_are_named_wherever_they_are(manager: SyncStorageManager, scratch: Path) -> None:
    root = manager._room.root
    back_up(manager._room.engine, repository_at(root / "backups"))
    elsewhere = Place(str(scratch / "elsewhere"))
    assert len(manager.plan_erasure(OLD).backups) == 1
    assert manager.plan_erasure(OLD, backups=elsewhere).backups == ()
    back_up(manager._room.engine, repository_at(scratch / "elsewhere"))
    done = manager.erase(manager.plan_erasure(OLD), why=WHY, backups=elsewhere)
    assert [str(scratch / "elsewhere") in one.where for one in done.backups] == [True]


def test_what_was_erased_goes_from_the_backups_too(manager: SyncStorageManager) -> None:
    repository = repository_at(manager._room.root / "backups")
    held = back_up(manager._room.engine, repository)
    assert manager.plan_backup_erasure().targets == ()
    manager.erase(manager.plan_erasure(OLD), why=WHY)
    plan = manager.plan_backup_erasure()
    assert [(one.backup_id, one.keep) for one in plan.fates] == [(held.backup_id, False)]
    done = manager.erase_from_backups(plan, why=WHY, by="person:ada")
    assert (done.removed, done.left, backup_ids(repository)) == ((held.backup_id,), (), [done.made])
    assert manager.plan_backup_erasure().targets == ()


def test_an_erasure_that_was_cut_short_is_resumed(manager: SyncStorageManager) -> None:
    steps = steps_of(lambda: manager.erase(manager.plan_erasure("/other"), why=WHY))
    plan = manager.plan_erasure(OLD)
    with crash_at(steps.index("erase: committed") + 2):
        manager.erase(plan, why=WHY)
    (done,) = manager.resume_erasures()
    assert (set(done.contents), done.proof.left) == (set(plan.contents), ())
    with pytest.raises(NotFound):
        manager.list_versions(OLD)


async def test_the_other_faces_do_the_same(scratch: Path) -> None:
    async with StorageManager(scratch / "data") as manager:
        await manager.store_documentation(OLD, "1.0", {"n": 1})
        assert isinstance(await manager.results.rename_library(OLD, NEW), Ok)
        assert isinstance(await manager.results.add_alias(OLD, "/no/such"), Err)
        assert isinstance(await manager.results.remove_alias(OLD), Ok)
        assert (await manager.results.list_aliases()).unwrap() == []
        written = await manager.export_library(NEW, scratch / "a.tar")
        plan = (await manager.results.plan_erasure(NEW)).unwrap()
        assert (await manager.erase(plan, why=WHY)).proof.left == ()
        assert (await manager.import_library(written.path, OLD)).stored == 1
        assert await manager.get_documentation(OLD) == {"n": 1}
