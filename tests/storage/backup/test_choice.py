"""storage/backup/choice.py: a moment means the newest backup of then, and never an older one in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage.backup.choice import find_manifest
from storage.backup.create import Create
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository
from storage.engine import Engine
from strongroom.errors import BackupDamaged, InvalidRequest, NotFound
from tests.support.archive import body, document

_DAYS = [datetime(2030, 1, day, 3, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture
def nights(engine: Engine, repository: Repository) -> list[Manifest]:
    """A backup at three in the morning of three days."""
    made = []
    for number, night in enumerate(_DAYS):
        engine.store([document("/a", f"{number}.0", body(n=number))])
        made.append(Create(engine, repository, clock=lambda night=night: night).run())
    return made


@pytest.mark.parametrize(
    ("said", "night"),
    [
        ("2030-01-02T03:00", 1),
        ("2030-01-02T02:59:59", 0),
        ("2030-01-02 03:59+01:00", 0),
        ("2030-01-02T04:00+01:00", 1),
        ("2030-01-01", 0),
        ("2030-01-02", 1),
        ("2031-07-01", 2),
    ],
)
def test_a_moment_means_the_newest_backup_of_then(repository: Repository, nights: list[Manifest], said: str, night: int) -> None:
    assert find_manifest(repository, said) == nights[night]


def test_a_moment_that_a_program_writes_is_understood(repository: Repository, nights: list[Manifest]) -> None:
    there = timezone(timedelta(hours=-5))
    assert [find_manifest(repository, one.as_of.astimezone(there).isoformat()) for one in nights] == nights


def test_the_id_and_the_beginning_of_an_id_still_mean_a_backup(repository: Repository, nights: list[Manifest]) -> None:
    for made in nights:
        assert find_manifest(repository, made.backup_id) == find_manifest(repository, made.backup_id[:9]) == made
    assert find_manifest(repository, "latest") == nights[-1]
    with pytest.raises(NotFound, match="3 backups are called '2030'"):
        find_manifest(repository, "2030")


@pytest.mark.parametrize("said", ["2030-13-01", "2030-01-02T25:00", "2030-01-02 noon", "2030-"])
def test_what_is_no_moment_is_refused_with_examples(repository: Repository, nights: list[Manifest], said: str) -> None:
    with pytest.raises(InvalidRequest, match="is no moment") as refused:
        find_manifest(repository, said)
    assert "2026-11-20T03:00" in str(refused.value.hint)


def test_before_the_first_backup_there_is_none(repository: Repository, nights: list[Manifest]) -> None:
    with pytest.raises(NotFound, match="as old as 2029-12-31T23:59:59"):
        find_manifest(repository, "2029-12-31")


def test_no_older_backup_is_taken_in_place_of_a_damaged_one(
    repository: Repository, nights: list[Manifest], scratch: Path
) -> None:
    (manifest,) = scratch.rglob(f"{nights[1].backup_id}.json")
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    with pytest.raises(BackupDamaged, match=nights[1].backup_id):
        find_manifest(repository, "2030-01-02")
    assert find_manifest(repository, "2030-01-01") == nights[0]
    assert find_manifest(repository, "2030-01-03") == nights[2]
