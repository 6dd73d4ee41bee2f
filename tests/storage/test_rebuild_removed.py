"""storage/replayed.py: what was given up stays given up after a rebuild, though its bytes or words may be there still."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from models.tables import Version, table_of
from models.upkeep_tables import RemovedVersion
from storage.cleanup import make_plan, plan_removal
from storage.engine import Engine
from storage.journal import line_of, read_journal
from storage.mend_journal import mend_journal
from storage.policies import parse_policies
from storage.removal import Removal
from storage.sweep import Sweep
from strongroom.errors import NotFound
from tests.storage.test_rebuild import differences, rebuilt, tables
from tests.support.archive import body, check_promises, document, large_body
from tests.support.crash import crash_at

KEEP_ONE = parse_policies({"/a/b": {"keep_last": 1}})
NOW = datetime.now(UTC)
OVER = NOW + timedelta(days=8)
"""When the grace period of what is removed now is over."""


def clean(engine: Engine, now: datetime = NOW) -> str:
    plan = make_plan(engine.database, KEEP_ONE, now)
    Removal(engine.folder, engine.database).apply(plan, "schedule", now)
    engine.tree.catch_up()
    return plan.plan_id


def sweep(engine: Engine, now: datetime = OVER) -> None:
    Sweep(engine.folder, engine.database).run(now)


def again(engine: Engine) -> Engine:
    """Make the catalogue anew, and have the tree follow."""
    rebuilt(engine)
    engine = Engine(engine.folder.root, engine.options).open()
    engine.tree.catch_up()
    return engine


def given_up(engine: Engine) -> list[tuple[str, int]]:
    columns = table_of(RemovedVersion).c
    with engine.database.read() as connection:
        rows = connection.execute(table_of(RemovedVersion).select().where(columns.purged_at.is_not(None))).mappings()
        return sorted((row["version"], row["revision"]) for row in rows)


@pytest.fixture
def shared(engine: Engine) -> Engine:
    """What one library removes another one holds, too."""
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2))])
    engine.store([document("/c", "1.0", body(n=1)), document("/a/b", "1.0", body(n=3)), document("/c", "2.0", body(n=3))])
    engine.tree.catch_up()
    return engine


def test_what_was_given_up_cannot_be_restored_after_a_rebuild_though_others_hold_its_content(shared: Engine) -> None:
    plan_id = clean(shared)
    sweep(shared)
    before, numbers = tables(shared), given_up(shared)
    assert numbers == [("1.0", 2)], "of the older one not even the number is kept"
    with again(shared) as later:
        assert differences(before, tables(later)) == []
        assert given_up(later) == numbers
        with pytest.raises(NotFound):
            Removal(later.folder, later.database).undo(plan_id, "person:ada", OVER)
        assert later.store([document("/a/b", "1.0", body(n=4))])[0].revision == 3
        check_promises(later)


def test_what_was_removed_and_not_given_up_can_be_restored_after_a_rebuild(shared: Engine) -> None:
    before = tables(shared)
    plan_id = clean(shared)
    sweep(shared, NOW + timedelta(days=6))
    with again(shared) as later:
        Removal(later.folder, later.database).undo(plan_id, "person:ada", OVER)
        later.tree.catch_up()
        assert tables(later)["version"] == before["version"]


def test_a_sweep_that_died_before_it_gave_up_leaves_what_can_still_be_undone(shared: Engine) -> None:
    before = tables(shared)
    plan_id = clean(shared)
    with crash_at("purge: commit"):
        sweep(shared)
    Removal(shared.folder, shared.database).undo(plan_id, "person:ada", OVER)
    with again(shared) as later:
        assert tables(later)["version"] == before["version"], "what was restored afterwards counts"


def test_a_sweep_that_died_before_it_gave_up_does_so_when_it_runs_again(shared: Engine) -> None:
    clean(shared)
    with crash_at("purge: commit"):
        sweep(shared)
    sweep(shared)
    before = tables(shared)
    with again(shared) as later:
        assert differences(before, tables(later)) == []


def test_what_a_second_record_tells_of_a_version_that_was_given_up_brings_nothing_back(engine: Engine) -> None:
    """The index with the first record went with its segment; the journal tells of the second one for ever."""
    large = large_body(20_000)
    engine.store([document("/a/b", "1.0", large), document("/a/b", "1.0", large), document("/a/b", "1.0", body(n=2))])
    engine.store([document("/a/b", "2.0", body(n=3))])
    engine.tree.catch_up()
    _remove(engine, {1})
    sweep(engine)
    before = tables(engine)
    with again(engine) as later:
        assert differences(before, tables(later)) == []


def _remove(engine: Engine, numbers: Collection[int]) -> None:
    with engine.database.read() as connection:
        rows = connection.execute(table_of(Version).select()).mappings().all()
    mine = [row for row in rows if (row["library_id"], row["version"]) == ("/a/b", "1.0")]
    wanted = {row["version_id"] for row in mine if row["revision"] in numbers}
    Removal(engine.folder, engine.database).apply(plan_removal(engine.database, "/a/b", wanted, "for a test"), "schedule", NOW)
    engine.tree.catch_up()


def test_a_library_of_which_all_is_given_up_is_there_after_a_rebuild_and_has_a_latest_when_something_older_comes(
    engine: Engine,
) -> None:
    engine.store([document("/a/b", "1.0", body(n=1)), document("/c", "1.0", body(n=2))])
    engine.tree.catch_up()
    _remove(engine, {1})
    sweep(engine)
    before = tables(engine)
    with again(engine) as later:
        assert differences(before, tables(later)) == []
        later.store([document("/a/b", "0.9", body(n=3))])
        assert later.read("/a/b") == body(n=3)
        before = tables(later)
        with again(later) as last:
            assert differences(before, tables(last)) == []
            check_promises(last)


def test_a_damaged_line_that_told_what_was_given_up_is_told_again(shared: Engine) -> None:
    clean(shared)
    sweep(shared)
    before, journal = tables(shared), shared.folder.journal
    line = next(line_of(entry) for entry in read_journal(journal) if "purged" in entry and entry["purged"]["revision"] == 2)
    data = journal.read_bytes()
    assert data.count(line) == 1
    journal.write_bytes(data.replace(line, line[:-9] + b"x" + line[-8:]))
    assert mend_journal(shared.folder, shared.database, OVER)
    with again(shared) as later:
        assert differences(before, tables(later)) == []
