"""storage/backup/parents.py: what is known not to be whole is not built on, and the next backup is whole again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.backups import end_backup, remembered_backups
from models.changes import note_anew
from storage.backup import writing
from storage.backup.choice import find_manifest
from storage.backup.create import as_row
from storage.backup.drill import RunDrill
from storage.backup.manifest import Manifest, read_manifest
from storage.backup.place import Place
from storage.backup.repository import MARK, Repository, pack_path
from storage.backup.unusable import passed_over
from storage.backup.verify import remember, verify_backup
from storage.engine import Engine
from strongroom.errors import TransientIO
from tests.support.archive import body, document
from tests.support.backups import back_up, told, told_after
from tests.support.faults import bad_sectors


@pytest.fixture
def taken(engine: Engine, repository: Repository) -> Engine:
    """A full backup and an incremental one behind it."""
    for number in range(2):
        store(engine, number)
        back_up(engine, repository)
    return engine


def store(engine: Engine, number: int) -> None:
    engine.store([document("/a", f"{number}.0", body(n=number))])


def pack_of(repository: Repository, made: Manifest) -> Path:
    """Return a pack with documents."""
    name = made.lists[0].refs[0].pack
    [other] = [pack for pack in made.packs if pack != name][:1]
    return Path(repository.target.root) / pack_path(other)  # type: ignore[attr-defined]  # it is a folder


def first_of(repository: Repository) -> Manifest:
    return read_manifest(repository, find_manifest(repository, "latest").parent or "")


def check(engine: Engine, repository: Repository, backup_id: str) -> str:
    """Read a backup back, and note what came of it."""
    found = verify_backup(repository, read_manifest(repository, backup_id))
    remember(engine.database, found, datetime.now(UTC))
    return found.verdict


def remove(path: Path) -> None:
    path.unlink()


def rot(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [remove, cut])
def test_a_backup_that_lacks_a_pack_is_not_built_on(
    taken: Engine, repository: Repository, scratch: Path, harm: Callable[[Path], None]
) -> None:
    harm(pack_of(repository, first_of(repository)))
    store(taken, 2)
    made = back_up(taken, repository)
    assert made.kind == "full"
    assert verify_backup(repository, made).verdict == "good"
    assert told_after(repository, scratch / "to", made.backup_id) == told(taken)


def test_an_older_one_that_is_whole_is_built_on_instead(taken: Engine, repository: Repository, scratch: Path) -> None:
    newest = find_manifest(repository, "latest")
    older = read_manifest(repository, newest.parent or "")
    for name in newest.packs.keys() - older.packs.keys():
        repository.target.remove(pack_path(name))
    made = back_up(taken, repository)
    assert (made.kind, made.parent) == ("incremental", older.backup_id)
    assert verify_backup(repository, made).verdict == "good"
    assert told_after(repository, scratch / "to", made.backup_id) == told(taken)


def test_behind_one_that_was_found_damaged_everything_is_written_anew_once(
    taken: Engine, repository: Repository, scratch: Path
) -> None:
    first = first_of(repository)
    rot(pack_of(repository, first))
    assert back_up(taken, repository).kind == "incremental", "nobody knows yet"
    assert check(taken, repository, first.backup_id) == "damaged"
    made = back_up(taken, repository)
    assert made.kind == "full"
    assert check(taken, repository, made.backup_id) == "good"
    after = back_up(taken, repository)
    assert (after.kind, after.parent) == ("incremental", made.backup_id)
    assert told_after(repository, scratch / "to", after.backup_id) == told(taken)


def test_a_damaged_one_that_is_gone_is_not_trusted_for_what_it_shared(taken: Engine, repository: Repository) -> None:
    newest = find_manifest(repository, "latest")
    rot(pack_of(repository, newest))
    assert check(taken, repository, newest.backup_id) == "damaged"
    repository.target.remove(f"backups/{newest.backup_id}.json")
    assert back_up(taken, repository).kind == "full"


def test_a_manifest_that_has_rotted_spoils_no_packs(taken: Engine, repository: Repository) -> None:
    newest = find_manifest(repository, "latest")
    with taken.database.write() as connection:
        row = as_row(newest, repository.target.url, newest.as_of)
        end_backup(connection, replace(row, verdict="damaged", verified_at=datetime.now(UTC)))
    path = repository.target.root / "backups" / f"{newest.backup_id}.json"  # type: ignore[attr-defined]  # it is a folder
    path.write_bytes(path.read_bytes()[:-9])
    made = back_up(taken, repository)
    assert (made.kind, made.parent) == ("incremental", newest.parent)


def test_a_pack_on_a_bad_sector_is_found_damaged_and_not_built_on(taken: Engine, repository: Repository, scratch: Path) -> None:
    first = first_of(repository)
    with bad_sectors(pack_of(repository, first)):
        drilled = RunDrill(taken, Place(str(scratch / "backups"))).run()
        assert (drilled.verdict, [one.damaged for one in drilled.proofs]) == ("failed", [True, True])
        made = back_up(taken, repository)
        assert made.kind == "full"
        assert check(taken, repository, first.backup_id) == "damaged"
        assert verify_backup(repository, made).verdict == "good"
        assert told_after(repository, scratch / "to", made.backup_id)["version"] == told(taken)["version"]


def test_a_target_that_stops_answering_while_packs_are_read_says_nothing_of_them(taken: Engine, repository: Repository) -> None:
    first, mark = first_of(repository), Path(repository.target.root) / MARK  # type: ignore[attr-defined]  # it is a folder
    with bad_sectors(pack_of(repository, first), mark), pytest.raises(TransientIO):
        verify_backup(repository, first)


@pytest.mark.parametrize("compare", [True, False], ids=["another catalogue", "a long chain"])
def test_lists_that_cannot_be_read_stop_no_backup(
    taken: Engine, repository: Repository, scratch: Path, monkeypatch: pytest.MonkeyPatch, compare: bool
) -> None:
    newest = find_manifest(repository, "latest")
    if compare:
        with taken.database.write() as connection:
            note_anew(connection, datetime.now(UTC))
    else:
        monkeypatch.setattr(writing, "PARTS_AT_MOST", 1)
    with bad_sectors(Path(repository.target.root) / pack_path(newest.lists[0].refs[0].pack)):  # type: ignore[attr-defined]
        store(taken, 2)
        made = back_up(taken, repository)
        assert (made.kind, list(passed_over(made))) == ("full", [newest.backup_id])
        with taken.database.read() as connection:
            verdicts = {one.backup_id: one.verdict for one in remembered_backups(connection)}
        assert (verdicts[newest.backup_id], verdicts[made.backup_id]) == ("damaged", "")
        assert verify_backup(repository, made).verdict == "good"
        assert back_up(taken, repository).parent == made.backup_id
    assert told_after(repository, scratch / "to", made.backup_id)["version"] == told(taken)["version"]
