"""storage/backup with a catalogue in PostgreSQL: a backup of one kind is restored into the other."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from models.backups import remembered_backups
from storage.backup.choice import find_manifest
from storage.backup.drill import RunDrill
from storage.backup.in_place import RestoreInPlace, undo_restore
from storage.backup.manifest import backup_ids
from storage.backup.part import RestorePart
from storage.backup.place import Place
from storage.backup.prune import Prune
from storage.backup.repository import Repository, pack_path
from storage.backup.restore import Restore
from storage.backup.verify import verify_backup
from storage.engine import Engine, Options
from storage.progress import silent
from storage.rebuild import rebuild
from storage.retention import Policy
from storage.trail import Actor, Archive
from storage.versions import pin
from strongroom.errors import DataFolderError
from tasks.backup import take_backup
from tests.storage.test_rebuild import tables
from tests.support.archive import body, check_promises, document, view
from tests.support.backups import NOW, back_up, filled, repository_at
from tests.support.crash import crash_at
from tests.support.postgresql import empty_postgresql


def test_a_backup_goes_from_one_database_to_the_other_and_back(postgresql_url: str, scratch: Path) -> None:
    repository, to = repository_at(scratch / "backups"), scratch / "restored"
    with Engine(scratch / "data").create() as engine:
        before = view(filled(engine))
        told = tables(engine)
        back_up(engine, repository)
    empty_postgresql(postgresql_url)
    with crash_at("restore: commit"):
        Restore(repository, find_manifest(repository, "latest"), database_url=postgresql_url).run(to, NOW)
    done = Restore(repository, find_manifest(repository, "latest"), database_url=postgresql_url).run(to, NOW)
    assert done.differences == ()
    with Engine(to, Options(database_url=postgresql_url)).open() as there:
        assert view(there) == before
        assert {name: len(rows) for name, rows in tables(there).items()} == {name: len(rows) for name, rows in told.items()}
        check_promises(there)
        pin(Archive(there.folder, there.database), "/a/b", "2.0", Actor("person:ada"))  # takes the next number of the audit trail
        there.store([document("/more", "1.0", body(more=1))])
        with there.database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM slot")) == 1
        after = view(there)
        made = back_up(there, repository)
        assert (made.kind, made.new_segments) == ("incremental", 1)
    shutil.rmtree(to)
    Restore(repository, find_manifest(repository, "latest")).run(to, NOW)
    with Engine(to).open() as back:
        assert view(back) == after


def test_a_database_that_holds_documents_is_left_alone(postgresql_url: str, scratch: Path) -> None:
    repository = repository_at(scratch / "backups")
    with Engine(scratch / "data").create() as engine:
        engine.store([document("/a", "1.0", body(n=1))])
        back_up(engine, repository)
    empty_postgresql(postgresql_url)
    rebuild(engine.folder, postgresql_url, NOW)
    with pytest.raises(DataFolderError, match="holds documents"):
        Restore(repository, find_manifest(repository, "latest"), database_url=postgresql_url).run(scratch / "to", NOW)
    with Engine(scratch / "data", Options(database_url=postgresql_url)).open() as there:
        assert len(there.versions()) == 1


def test_drill_prune_and_a_restore_in_place_with_a_catalogue_in_postgresql(postgresql_url: str, scratch: Path) -> None:
    place = Place(str(scratch / "backups"))
    empty_postgresql(postgresql_url)
    with Engine(scratch / "data", Options(database_url=postgresql_url)).create() as engine:
        for number in range(3):
            engine.store([document("/a", f"{number}.0", body(n=number))])
            take_backup(engine, place, silent, full=number < 2)
        found = RunDrill(engine, place).run()
        assert (found.verdict, found.problems) == ("fresh", ())
        with engine.database.read() as connection:
            assert "good" in {one.verdict for one in remembered_backups(connection)}
        repository = place.open()
        flip(repository)
        assert RunDrill(engine, place).run().verdict == "failed"
        made = take_backup(engine, place, silent, full=False)
        assert verify_backup(repository, find_manifest(repository, made["id"])).verdict == "good"
        done = Prune(repository, engine.database, Policy(keep_last=1)).apply(datetime.now(UTC))
        assert made["id"] in [one.backup_id for one in done.fates if one.keep]
        engine.store([document("/a", "1.0", body(n="wrong"))])
        work = RestoreInPlace(engine, RestorePart(repository, find_manifest(repository, "latest"), "/a"))
        restored = work.run(Actor("person:ada"), datetime.now(UTC), apply=True)
        assert engine.read("/a", "1.0") == body(n=1)
        assert undo_restore(engine, restored.restore_id or "", Actor("person:ada"), datetime.now(UTC)) == {"1.0": "rolled back"}
        assert engine.read("/a", "1.0") == body(n="wrong")
        check_promises(engine)


def flip(repository: Repository) -> None:
    """Harm a pack that the newest backup alone has."""
    newest, older = (find_manifest(repository, name) for name in reversed(backup_ids(repository)[-2:]))
    name = min(newest.packs.keys() - older.packs.keys())
    path = Path(repository.target.root) / pack_path(name)  # type: ignore[attr-defined]  # it is a folder
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
