"""A part of a backup restored in place: planned, done while others go on, and undone."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from models.admission import used_bytes
from storage.backup.choice import find_manifest
from storage.backup.in_place import InPlace, RestoreInPlace, undo_restore
from storage.backup.part import RestorePart
from storage.backup.repository import Repository
from storage.cleanup import plan_removal
from storage.engine import Engine, Options
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.quotas import parse_quotas
from storage.removal import Removal
from storage.scratch import SCRATCH
from storage.trail import Actor
from strongroom.errors import NotFound, QuotaExceeded, StorageError
from tests.support.archive import body, check_promises, document
from tests.support.backups import NOW, back_up
from tests.support.crash import die_at, steps_of
from tests.support.faults import faults

ME = Actor("person:test", "it was wrong")


@pytest.fixture
def changed(engine: Engine, repository: Repository) -> Engine:
    """A backup; since then one version was removed, one has another content, one is as it was, and one has come."""
    engine.store([document("/a", f"{number}.0", body(n=number)) for number in range(1, 4)])
    engine.store([document("/b", "1.0", body(b=1))])
    back_up(engine, repository)
    gone = [one.version_id for one in engine.versions("/a") if one.version == "1.0"]
    Removal(engine.folder, engine.database).apply(plan_removal(engine.database, "/a", gone, "by mistake"), "person:test", NOW)
    engine.store(
        [document("/a", "2.0", body(n="wrong")), document("/a", "4.0", body(n=4)), document("/b", "1.0", body(b="wrong"))]
    )
    engine.tree.catch_up()
    return engine


def restore(engine: Engine, repository: Repository, version: str | None = None, *, apply: bool = True) -> InPlace:
    part = RestorePart(repository, find_manifest(repository, "latest"), "/a", version)
    return RestoreInPlace(engine, part).run(ME, NOW, apply=apply)


def told(engine: Engine) -> dict[str, bytes]:
    return {f"{one.library_id} {one.version}": engine.read(one.library_id, one.version) for one in engine.versions()}


BEFORE = {"/a 2.0": body(n="wrong"), "/a 3.0": body(n=3), "/a 4.0": body(n=4), "/b 1.0": body(b="wrong")}
AFTER = {**BEFORE, "/a 1.0": body(n=1), "/a 2.0": body(n=2)}


def test_a_plan_changes_nothing_and_says_what_would_be(changed: Engine, repository: Repository) -> None:
    found = restore(changed, repository, apply=False)
    assert {one.version: (one.now, one.before) for one in found.changes} == {
        "1.0": ("gone", None),
        "2.0": ("other", 2),
        "3.0": ("same", 1),
    }
    assert found.restore_id is None
    assert told(changed) == BEFORE
    assert list(changed.folder.tmp.iterdir()) == []


def test_what_was_there_then_is_there_again_and_what_came_since_stays(changed: Engine, repository: Repository) -> None:
    done = restore(changed, repository)
    assert told(changed) == AFTER
    check_promises(changed)
    assert restore(changed, repository).restore_id is None, "there is nothing left to do"
    assert undo_restore(changed, done.restore_id or "", ME, NOW) == {"1.0": "removed", "2.0": "rolled back"}
    assert told(changed) == BEFORE
    check_promises(changed)
    assert undo_restore(changed, done.restore_id or "", ME, NOW) == {"2.0": "changed since"}
    assert told(changed) == BEFORE


def test_a_version_comes_back_alone(changed: Engine, repository: Repository) -> None:
    restore(changed, repository, "1.0")
    assert told(changed) == {**BEFORE, "/a 1.0": body(n=1)}


def test_what_was_changed_since_is_not_undone(changed: Engine, repository: Repository) -> None:
    done = restore(changed, repository)
    changed.store([document("/a", "2.0", body(n="newer"))])
    assert undo_restore(changed, done.restore_id or "", ME, NOW) == {"1.0": "removed", "2.0": "changed since"}
    assert told(changed) == {**BEFORE, "/a 2.0": body(n="newer")}


@pytest.mark.parametrize("name", ["nowhere", "../alerts", ""])
def test_a_restore_that_never_was_is_named(changed: Engine, name: str) -> None:
    with pytest.raises(NotFound, match="no restore in place"):
        undo_restore(changed, name, ME, NOW)


def leftovers(root: Path) -> list[Path]:
    return list((root / "tmp").glob(f"*{SCRATCH}"))


def test_a_kill_before_or_behind_the_note_does_all_or_nothing_and_can_be_undone(changed: Engine, repository: Repository) -> None:
    changed.close()
    root = changed.folder.root

    def work() -> None:
        with Engine(root).open() as engine:
            restore(engine, repository)

    def undo_all() -> None:
        with Engine(root).open() as engine:
            for path in (root / "metadata" / "restores").glob("*.json"):
                undo_restore(engine, path.stem, ME, NOW)
            assert told(engine) == BEFORE

    steps = steps_of(work)
    undo_all()
    assert leftovers(root) == []
    noted = [number for number, step in enumerate(steps, 1) if step.startswith("in place: ")]
    behind = range(noted[-1] + 1, len(steps) + 1)
    assert len(behind) > 5
    for number in (*noted[-2:], *behind[:: max(1, len(behind) // 4)]):
        die_at(number, work)
        assert len(leftovers(root)) == 1, "what the kill before has left is gone by now"
        with Engine(root).open() as engine:
            assert told(engine) in (BEFORE, AFTER)
        undo_all()
    with Engine(root).open() as engine:
        restore(engine, repository, apply=False)
    assert leftovers(root) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_is_said_and_nothing_is_half_done(changed: Engine, repository: Repository, code: int) -> None:
    number, fired = 11, True
    while fired:
        with faults(number, code) as injected, suppress(StorageError):
            restore(changed, repository)
        fired = injected.fired
        assert told(changed) in (BEFORE, AFTER)
        for path in (changed.folder.metadata / "restores").glob("*.json"):
            undo_restore(changed, path.stem, ME, NOW)
        assert told(changed) == BEFORE
        number += 251
    assert number > 300, "hardly anything was made to fail"


def _limited(engine: Engine, limit_bytes: int) -> Engine:
    return Engine(engine.folder.root, Options(quotas=parse_quotas({"/a": limit_bytes}))).open()


def test_a_restore_that_a_quota_has_no_room_for_changes_nothing_and_is_not_noted(changed: Engine, repository: Repository) -> None:
    with changed.database.read() as connection:
        used = used_bytes(connection, "/a")
    with _limited(changed, used + 10) as engine:
        with pytest.raises(QuotaExceeded, match="Nothing was imported"):
            restore(engine, repository)
        assert told(engine) == BEFORE
        assert list((engine.folder.metadata / "restores").iterdir()) == []
    with _limited(changed, used + 1000) as engine:
        restore(engine, repository)
        assert told(engine) == AFTER


def test_an_undo_that_needs_room_is_refused_as_a_whole_and_one_that_makes_room_never_is(
    changed: Engine, repository: Repository
) -> None:
    done = restore(changed, repository).restore_id or ""
    with _limited(changed, 10) as engine:
        with pytest.raises(QuotaExceeded):  # what was replaced is larger than what was brought back
            undo_restore(engine, done, ME, NOW)
        assert told(engine) == AFTER
    undo_restore(changed, done, ME, NOW)
    done = restore(changed, repository, "1.0").restore_id or ""
    with _limited(changed, 10) as engine:
        assert undo_restore(engine, done, ME, NOW) == {"1.0": "removed"}
        assert told(engine) == BEFORE


def test_an_erasure_takes_the_note_along(changed: Engine, repository: Repository) -> None:
    restore(changed, repository)
    work = Erasure(changed.archive, changed.tree, "all", changed.options.limits, ())
    done = work.apply(work.plan(find_targets(changed.database, "/a")), ME)
    assert done.proof.left == ()
    assert list((changed.folder.metadata / "restores").iterdir()) == []
