"""A kill at any durable step, a call that fails anywhere: what claims to be a good backup is one, and the rerun ends well."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from storage.backup.choice import find_manifest
from storage.backup.create import Create
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, manifests
from storage.backup.repository import PACKS, Repository
from storage.backup.restore import Restore
from storage.backup.stage import STAGE
from storage.backup.verify import verify_backup
from storage.engine import Engine
from strongroom.errors import BackupDamaged, DataFolderError, DiskFull, NotFound, StorageError, TransientIO
from tests.support.archive import body, document, large_body
from tests.support.backups import NOW, SMALL, back_up, repository_at, restored, told, told_after
from tests.support.crash import die_at, steps_of
from tests.support.faults import faults
from tests.support.thorough import stride


@pytest.fixture
def root(data: Path) -> Path:
    """A data folder with a large document, a few small ones, and one that only the journal tells of."""
    with Engine(data).open() as engine:
        engine.store([document("/a", "1.0", body(n=1)), document("/large", "1.0", large_body(3 * SMALL))])
        engine.store([document("/copy", "1.0", body(n=1))])
        engine.store([document("/b", "1.0", body(n=2))])
    return data


def take(root: Path, repository: Repository) -> None:
    with Engine(root).open() as engine:
        back_up(engine, repository)


def dies_at(number: int, work: Callable[[], object]) -> bool:
    """Run work in a process that ends before that step; tell whether it did, or whether there were fewer."""
    with suppress(AssertionError):
        die_at(number, work)
        return True
    return False


def good_ones(repository: Repository) -> list[Manifest]:
    """Return the backups that claim to be whole, after proving that they are."""
    found = [one for _, one in manifests(repository)]
    for one in found:
        assert isinstance(one, Manifest), one
        assert verify_backup(repository, one).problems == ()
    return [one for one in found if isinstance(one, Manifest)]


def test_a_kill_anywhere_leaves_no_false_backup_and_the_rerun_finishes(root: Path, repository: Repository, scratch: Path) -> None:
    blank = Path(shutil.copytree(scratch / "backups", scratch / "blank"))
    with Engine(root).open() as engine:
        before = told(engine)
    steps = steps_of(lambda: take(root, repository))
    assert {"snapshot: commit", "backup: fsync", "backup: link", "journal: write"} <= set(steps)
    existed, number, died = False, 0, True
    while died:
        number += stride(4)
        shutil.rmtree(scratch / "backups")
        shutil.copytree(blank, scratch / "backups")
        died = dies_at(number, lambda: take(root, repository))
        found = len(good_ones(repository))
        assert found <= 1
        existed = existed or found == 1
        take(root, repository)
        assert len(good_ones(repository)) == found + 1
        assert not list((root / "metadata" / "backup").glob("*.progress"))
    assert number > len(steps) - 10, f"there were {len(steps)} steps"
    assert existed, "the last steps are behind the manifest"
    assert told_after(repository, scratch / "restored") == before


def test_what_a_killed_run_had_copied_is_not_copied_again(root: Path, repository: Repository, scratch: Path) -> None:
    take(root, repository_at(scratch / "first"))  # makes folders
    other = repository_at(scratch / "other")
    steps = steps_of(lambda: take(root, other))
    third = [number for number, step in enumerate(steps, 1) if step == "backup: link"][2]  # behind the documents: lists and rows
    die_at(third, lambda: take(root, repository))
    there = {one.name for one in repository.target.names(PACKS)}
    assert len(there) == 2
    steps_again = steps_of(lambda: take(root, repository))
    assert steps_again.count("backup: link") == steps.count("backup: link") - len(there)
    assert there <= {one.name for one in repository.target.names(PACKS)}
    [made] = good_ones(repository)
    assert {name.rpartition("/")[2] for name in there} <= made.packs.keys()


def test_a_kill_anywhere_in_a_restore_leaves_no_data_folder_and_the_rerun_finishes(
    root: Path, repository: Repository, scratch: Path
) -> None:
    take(root, repository)
    manifest, to = find_manifest(repository, "latest"), scratch / "to"

    def work() -> None:
        Restore(repository, manifest).run(to, NOW)

    with Engine(root).open() as engine:
        before = told(engine)
    steps = steps_of(work)
    assert {"restore: pack", "restore: sync", "rebuild: commit", "restore: commit", "restore: synced", "restore: rename"} <= set(
        steps
    )
    mine = ("restore: ", "rebuild: ", "catalogue: ")  # the first of each, and every rename; the first ones make folders
    worth = [number for number, step in enumerate(steps, 1) if step.startswith(mine) and step not in steps[: number - 1]]
    worth += [number for number, step in enumerate(steps, 1) if step == "restore: rename"]
    worth.append(len(steps))
    for number in worth:
        shutil.rmtree(to)
        die_at(number, work)
        if (to / "strongroom.json").exists():  # all that was left to do is to make the last rename durable
            assert steps[number - 1] == "restore: fsync folder"
            with pytest.raises(DataFolderError, match="already"):
                work()
        else:
            with pytest.raises(DataFolderError), Engine(to) as half:
                half.open()
            if (to / STAGE).exists():
                with pytest.raises(DataFolderError, match="other things"), Engine(to) as half:
                    half.create()
            work()
        with Engine(to).open() as engine:
            assert told(engine) == before
        assert not list((to / STAGE).glob("*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_anywhere_while_a_backup_is_taken_is_said(
    root: Path, repository: Repository, scratch: Path, code: int
) -> None:
    number, fired, made = 0, True, 0
    while fired:
        number += 3
        with faults(number, code) as injected, suppress(DiskFull, TransientIO):
            take(root, repository)
            made += 1
        fired = injected.fired
        assert len(good_ones(repository)) == made
    assert number > 12, "hardly anything was made to fail"
    restored(repository, scratch / "restored")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_anywhere_in_a_restore_is_said(root: Path, repository: Repository, scratch: Path, code: int) -> None:
    take(root, repository)
    manifest, to, number, fired = find_manifest(repository, "latest"), scratch / "to", 0, True
    while fired:
        number += 41
        with faults(number, code) as injected, suppress(DiskFull, TransientIO, DataFolderError):
            Restore(repository, manifest).run(to, NOW)
        fired = injected.fired
        if fired:
            assert not (to / "strongroom.json").exists()
    with Engine(to).open() as engine:
        assert engine.read("/copy") == body(n=1)


class Leaving(LocalTarget):
    """A target that is gone after so many files."""

    left = 2

    def create(self, name, pieces):  # type: ignore[no-untyped-def] # as LocalTarget's
        if self.left == 0:
            raise TransientIO(f"{self.url} does not answer.")
        self.left -= 1
        super().create(name, pieces)


def test_a_target_that_is_gone_half_way_makes_no_backup_and_when_it_is_back_the_rest_is_copied(
    root: Path, repository: Repository, scratch: Path
) -> None:
    leaving = Repository(Leaving(scratch / "backups"), repository.seal, repository.repository_id)
    with Engine(root).open() as engine:
        with pytest.raises(TransientIO, match="does not answer"):
            Create(engine, leaving, pack_bytes=SMALL).run()
        assert good_ones(repository) == []
        there = {one.name for one in repository.target.names(PACKS)}
        assert len(there) == 2
        made = back_up(engine, repository)
        assert there < {f"{PACKS}{name[:2]}/{name}" for name in made.packs}
    assert len(good_ones(repository)) == 1


def verdict_of(repository: Repository, backup_id: str) -> str:
    try:
        return verify_backup(repository, find_manifest(repository, backup_id)).verdict
    except (BackupDamaged, NotFound):
        return "damaged"


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_harm_to_any_file_of_a_backup_is_found_by_verify_and_restore(
    root: Path, repository: Repository, scratch: Path, harm: str
) -> None:
    take(root, repository)
    [made] = good_ones(repository)
    files = [path for path in (scratch / "backups").rglob("*") if path.is_file() and path.name != "strongroom-backup.json"]
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        if harm == "remove":
            path.unlink()
        else:
            at = len(whole) // 2
            path.write_bytes(whole[:at] + (bytes([whole[at] ^ 1]) + whole[at + 1 :] if harm == "flip" else b""))
        assert verdict_of(repository, made.backup_id) == "damaged"
        shutil.rmtree(scratch / "to", ignore_errors=True)
        with pytest.raises(StorageError):
            Restore(repository, find_manifest(repository, made.backup_id)).run(scratch / "to", NOW)
        assert not (scratch / "to" / "strongroom.json").exists()
        path.write_bytes(whole)
