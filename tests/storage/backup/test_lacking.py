"""What a backup could not have whole is a finding: with whom it hurts, in the log, until it is mended or gone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from models.backups import remembered_backups
from models.findings import OpenFinding, open_findings
from storage.backup.manifest import backup_ids
from storage.backup.repository import Repository
from storage.engine import Engine
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.second_look import look_again
from storage.trail import Actor
from strongroom.errors import BackupError
from tests.support.archive import body, document
from tests.support.backups import NOW, back_up


def lasting(engine: Engine) -> list[OpenFinding]:
    with engine.database.read() as connection:
        return open_findings(connection)


def log_of(engine: Engine) -> list[tuple[str, str, str]]:
    lines = (engine.folder.metadata / "integrity_log.jsonl").read_bytes().splitlines()
    return [(one["event"], one["code"], one["subject"]) for one in map(orjson.loads, lines)]


def segment(engine: Engine, library: str) -> Path:
    return engine.folder.segment(engine.find(library).place.segment_sha256)


def spoil(path: Path) -> None:
    path.write_bytes(b"\0" + path.read_bytes()[1:])


@pytest.fixture
def spoiled(engine: Engine, repository: Repository) -> Engine:
    """A backup; and behind it a segment of two versions, one of them damaged, that no source has."""
    engine.store([document("/good", "1.0", body(n=1))])
    back_up(engine, repository)
    engine.store([document("/a", "1.0", body(n=2)), document("/b", "1.0", body(n=3))])
    spoil(segment(engine, "/a"))
    with pytest.raises(BackupError):
        back_up(engine, repository)
    return engine


HURT = ("damaged", "/a 1.0 (revision 1)")


def test_it_says_what_it_lacks_claims_nothing_and_is_one_finding(spoiled: Engine, repository: Repository) -> None:
    with pytest.raises(BackupError, match=r"1 segment cannot .* Hurt: /a 1\.0 \(revision 1\)\.") as said:
        back_up(spoiled, repository)
    path = segment(spoiled, "/a")
    assert said.value.context == {"segments": [path.name], "versions": [HURT[1]]}
    assert len(backup_ids(repository)) == 1
    with spoiled.database.read() as connection:
        newest, *_ = remembered_backups(connection)
    assert (newest.state, newest.verdict) == ("failed", "")
    assert HURT[1] in newest.error
    [found] = lasting(spoiled)
    assert (found.code, found.subject, found.severity, found.path) == (*HURT, "loss", spoiled.folder.relative(path))
    assert log_of(spoiled) == [("found", *HURT)]


def test_stored_again_it_is_over_with_the_next_backup(spoiled: Engine, repository: Repository) -> None:
    spoiled.store([document("/a", "1.0", body(n=2))])
    assert back_up(spoiled, repository).counts.documents == 3
    assert lasting(spoiled) == []
    assert log_of(spoiled) == [("found", *HURT), ("over", *HURT)]


def test_erased_it_is_over_with_the_next_backup(spoiled: Engine, repository: Repository) -> None:
    work = Erasure(spoiled.archive, spoiled.tree, "none", spoiled.options.limits, ())
    work.apply(work.plan(find_targets(spoiled.database, "/a")), Actor("person:test", "it is lost"))
    assert back_up(spoiled, repository).counts.documents == 2
    assert lasting(spoiled) == []


def test_mended_by_hand_it_is_over_with_the_next_look(spoiled: Engine) -> None:
    path = segment(spoiled, "/a")
    look_again(spoiled.folder, spoiled.database, "none", NOW)
    assert len(lasting(spoiled)) == 1
    path.write_bytes(b"\x1f" + path.read_bytes()[1:])
    look_again(spoiled.folder, spoiled.database, "none", NOW)
    assert lasting(spoiled) == []


def test_another_segment_that_is_lacking_does_not_close_the_first_and_a_log_that_cannot_be_written_hides_no_error(
    spoiled: Engine, repository: Repository
) -> None:
    spoiled.store([document("/c", "1.0", body(n=4))])
    segment(spoiled, "/c").unlink()
    log = spoiled.folder.metadata / "integrity_log.jsonl"
    log.unlink()
    log.mkdir()
    with pytest.raises(BackupError, match="2 segments"):
        back_up(spoiled, repository)
    assert {(one.code, one.subject) for one in lasting(spoiled)} == {HURT, ("missing", "/c 1.0 (revision 1)")}


def test_an_index_that_is_damaged_is_made_again_and_no_finding(engine: Engine, repository: Repository) -> None:
    engine.store([document("/a", "1.0", body(n=2))])
    spoil(segment(engine, "/a").with_suffix(".index"))
    assert back_up(engine, repository).counts.documents == 1
    assert lasting(engine) == []
