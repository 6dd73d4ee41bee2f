"""storage/backup with a catalogue in PostgreSQL: a backup of one kind is restored into the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.backup.manifest import find_manifest
from storage.backup.restore import Restore
from storage.engine import Engine, Options
from storage.rebuild import rebuild
from storage.trail import Actor, Archive
from storage.versions import pin
from strongroom.errors import DataFolderError
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
