"""storage/replay.py: a clock is set back between a change and the next; a rebuild tells what the catalogue told all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.admission import used_bytes
from models.catalogue import list_versions
from storage.allowance import Allowance
from storage.cleanup import plan_removal
from storage.engine import Engine
from storage.mend_journal import retell
from storage.quotas import Quotas
from storage.removal import Removal
from storage.rollback import follow_newest, rollback
from storage.trail import Actor, Archive
from strongroom.errors import QuotaExceeded
from tests.storage.test_rebuild import differences, tables
from tests.storage.test_rebuild_removed import NOW, again, clean, shared
from tests.support.archive import body, document, revisions
from tests.support.crash import observed
from tests.support.on_disk import revisions_on_disk

__all__ = ["shared"]
HOUR = timedelta(hours=1)
ADA = Actor("person:ada")


def undo(engine: Engine, plan_id: str, now: datetime, allowance: Allowance | None = None) -> None:
    Removal(engine.folder, engine.database, allowance).undo(plan_id, ADA.by, now)


def refuse_undo(engine: Engine, plan_id: str, now: datetime) -> None:
    """Have an undo be refused when the journal tells of it already: somebody stores in the last moment, and there is no room."""
    with engine.database.read() as connection:
        allowance = Allowance(Quotas({}, used_bytes(connection, None) + 60))
    todo = [document("/late", "1.0", body(n=77))]

    def store_late(step: str) -> None:
        if step == "note: write" and todo:
            engine.store([todo.pop()])

    with observed(store_late), pytest.raises(QuotaExceeded):
        undo(engine, plan_id, now, allowance)
    assert not todo, "nobody has stored"


def check_rebuilt(engine: Engine, *but: str) -> None:
    """Nothing has to be told again; catalogue, a rebuild of it and the reader of the disk format say the same."""
    engine.tree.catch_up()
    before = {name: rows for name, rows in tables(engine).items() if name not in but}
    assert retell(engine.folder, engine.database, datetime.now(UTC)) == 0
    there = {(one.library_id, one.version, one.revision): one.place.content_sha256 for one in revisions(engine)}
    assert revisions_on_disk(engine) == there
    with again(engine) as later:
        assert differences(before, tables(later)) == []


def test_an_undo_after_one_that_was_refused_lasts(shared: Engine) -> None:
    plan_id = clean(shared)
    refuse_undo(shared, plan_id, NOW + 2 * HOUR)
    undo(shared, plan_id, NOW + HOUR)
    assert [one.version for one in shared.versions("/a/b")] == ["2.0", "1.0"]
    check_rebuilt(shared, "audit")  # which does not know that the first one was taken back


def test_a_removal_after_an_undo_lasts(shared: Engine) -> None:
    undo(shared, clean(shared), NOW + 2 * HOUR)
    clean(shared, NOW + HOUR)
    assert [one.version for one in shared.versions("/a/b")] == ["2.0"]
    check_rebuilt(shared)


def test_what_was_stored_instead_is_not_taken_for_what_comes_back(shared: Engine) -> None:
    plan_id = clean(shared)
    shared.store([document("/a/b", "1.0", body(n=3))])
    undo(shared, plan_id, NOW)
    assert {one.revision for one in revisions(shared) if (one.library_id, one.version) == ("/a/b", "1.0")} == {1, 2, 3}
    check_rebuilt(shared)


def test_latest_by_hand_lasts_after_it_was_let_go(shared: Engine) -> None:
    def at(hours: int) -> Archive:
        return Archive(shared.folder, shared.database, lambda: NOW + hours * HOUR)

    rollback(at(1), "/a/b", "1.0", ADA)
    follow_newest(at(3), "/a/b", ADA)
    rollback(at(2), "/a/b", "1.0", ADA)
    assert shared.find("/a/b").version == "1.0"
    check_rebuilt(shared)


def test_latest_by_hand_that_ended_with_its_version_does_not_come_back_with_it(shared: Engine) -> None:
    rollback(Archive(shared.folder, shared.database, lambda: NOW + HOUR), "/a/b", "1.0", ADA)
    with shared.database.read() as connection:
        mine = {one.version_id for one in list_versions(connection, "/a/b", "1.0", history=True)}
    plan = plan_removal(shared.database, "/a/b", mine, "for a test")
    Removal(shared.folder, shared.database).apply(plan, ADA.by, NOW)
    undo(shared, plan.plan_id, NOW + 2 * HOUR)
    assert shared.find("/a/b").version == "2.0"
    check_rebuilt(shared)
