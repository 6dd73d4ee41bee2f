"""Whatever happens to a folder, the backup behind it restores to the same: stores, crashes, curation, cleanups, sweeps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis.stateful import initialize, rule

from storage.backup.choice import find_manifest
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.compress import Compress
from storage.engine import Engine
from storage.sweep import Sweep
from tests.storage.test_rebuild import RebuildStates, differences, tables
from tests.support.backups import NOW, back_up, repository_at
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

    @rule()
    def compress(self) -> None:
        Compress(self.engine.folder, self.engine.database, self.engine.tree, "all", "gzip").run(
            datetime.now(UTC), None, lambda _done, _total: None
        )

    @rule()
    def sweep(self) -> None:
        Sweep(self.engine.folder, self.engine.database).run(datetime.now(UTC))


@pytest.fixture
def machine(fresh_folder: Path, scratch: Path) -> type[BackupStates]:
    return type("BackupStates", (BackupStates,), {"fresh": fresh_folder, "scratch": scratch})


def test_a_backup_at_any_moment_comes_back_as_it_was(machine: type[BackupStates]) -> None:
    walk(machine, 6, 10)
