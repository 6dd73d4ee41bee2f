"""Whatever happens to a folder, the backup behind it restores to the same: stores, crashes, curation, cleanups, erasures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import initialize, precondition, rule
from sqlalchemy import select

from models.tables import Version, table_of
from models.upkeep_tables import RemovedVersion
from storage.backup.choice import find_manifest
from storage.backup.local import LocalTarget
from storage.backup.manifest import backup_ids
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.compress import Compress
from storage.engine import Engine
from storage.erase.from_backups import FromBackups
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.erase.scope import pending_scope
from storage.sweep import Sweep
from tests.storage.test_rebuild import RebuildStates, differences, tables
from tests.support.backups import NOW, SMALL, back_up, repository_at
from tests.support.thorough import walk


class BackupStates(RebuildStates):
    """The walk of the rebuild, with a chain of incremental backups behind it. A restore knows all times, too."""

    repository: Repository

    @initialize()
    def begin(self) -> None:
        self.number = 0
        self.repository = repository_at(self.root.parent / "backups")

    @rule()
    def lose_the_catalogue(self) -> None:
        before = tables(self.engine)
        made = back_up(self.engine, self.repository)
        self.number += 1
        to = self.root.parent / f"restored-{self.number}"
        done = Restore(self.repository, find_manifest(self.repository, made.backup_id)).run(to, NOW)
        assert done.differences == ()
        with Engine(to).open() as back:
            after = tables(back)
        assert after == before, differences(before, after)

    @precondition(lambda self: self.model)
    @rule(data=strategies.data(), whole=strategies.booleans())
    def erase(self, data: strategies.DataObject, whole: bool) -> None:
        stored = sorted(key for key, history in self.model.items() if history)
        hypothesis.assume(stored)
        library, version = data.draw(strategies.sampled_from(stored))
        self.engine.tree.catch_up()
        work = Erasure(self.engine.archive, self.engine.tree, "all", self.engine.options.limits)
        work.apply(work.plan(find_targets(self.engine.database, library, None if whole else version)), self.actor)
        self._look_again()

    @rule()
    def erase_from_backups(self) -> None:
        assert isinstance(self.repository.target, LocalTarget)
        work = FromBackups(self.engine, Place(str(self.repository.target.root)), pack_bytes=SMALL)
        scope = pending_scope(self.engine.folder.journal, self.repository)
        done = work.apply(work.plan(), self.actor)
        assert done.left == ()
        for backup_id in backup_ids(self.repository) if scope.ends else ():
            self.number += 1
            to = self.root.parent / f"restored-{self.number}"
            found = Restore(self.repository, find_manifest(self.repository, backup_id)).run(to, NOW)
            assert found.differences == ()
            with Engine(to).open() as back:
                assert [one for one in told_revisions(back) if scope.target_of(*one) is not None] == []

    @rule()
    def compress(self) -> None:
        Compress(self.engine.folder, self.engine.database, self.engine.tree, "all", "gzip").run(
            datetime.now(UTC), None, lambda _done, _total: None
        )

    @rule()
    def sweep(self) -> None:
        Sweep(self.engine.folder, self.engine.database).run(datetime.now(UTC))


def told_revisions(engine: Engine) -> list[tuple[str, str, datetime]]:
    """Return every revision that a catalogue tells of, removed ones too: library, version, and when it was stored."""
    with engine.database.read() as connection:
        rows = [
            connection.execute(select(table.c.library_id, table.c.version, table.c.created_at)).all()
            for table in (table_of(Version), table_of(RemovedVersion))
        ]
    return [(row[0], row[1], row[2]) for found in rows for row in found]


@pytest.fixture
def machine(fresh_folder: Path, scratch: Path) -> type[BackupStates]:
    return type("BackupStates", (BackupStates,), {"fresh": fresh_folder, "scratch": scratch})


def test_a_backup_at_any_moment_comes_back_as_it_was(machine: type[BackupStates]) -> None:
    walk(machine, 6, 10)
