"""storage/backup/create.py: what was committed comes back, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.backup.repository import Repository
from storage.backup.verify import verify_backup
from storage.engine import Engine
from tests.support.archive import body, document
from tests.support.backups import back_up, filled, repository_at, told, told_after


@pytest.fixture
def repository(scratch: Path) -> Repository:
    return repository_at(scratch / "backups")


def test_everything_that_was_committed_comes_back(engine: Engine, repository: Repository, scratch: Path) -> None:
    before = told(filled(engine))
    made = back_up(engine, repository)
    assert (made.kind, made.counts.documents, made.counts.revisions) == ("full", 5, 6)
    assert verify_backup(repository, made).problems == ()
    assert told_after(repository, scratch / "restored") == before


def test_an_incremental_backup_adds_what_is_new(engine: Engine, repository: Repository, scratch: Path) -> None:
    filled(engine)
    first, before = back_up(engine, repository), told(engine)
    engine.store([document("/new", "1.0", body(n=9))])
    second = back_up(engine, repository)
    assert (second.kind, second.parent, second.new_segments) == ("incremental", first.backup_id, 1)
    assert told_after(repository, scratch / "restored", first.backup_id) == before
    assert told_after(repository, scratch / "restored") == told(engine)
