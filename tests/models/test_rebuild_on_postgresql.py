"""storage/rebuild.py with its catalogue in PostgreSQL: emptied and filled in one transaction; and a folder that moves there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from storage.cleanup import make_plan
from storage.compress import Compress
from storage.engine import Engine, Options
from storage.policies import parse_policies
from storage.rebuild import rebuild
from storage.removal import Removal
from tests.storage.test_rebuild import filled, tables
from tests.support.alike import store_versions
from tests.support.alike import text as likeness
from tests.support.archive import check_promises, revisions, view
from tests.support.crash import crash_at
from tests.support.postgresql import empty_postgresql

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_folder_moves_to_postgresql_and_its_tables_are_made_anew_in_one_transaction(postgresql_url: str, scratch: Path) -> None:
    empty_postgresql(postgresql_url)
    with Engine(scratch / "data").create() as engine:
        before = view(filled(engine))
    assert rebuild(engine.folder, postgresql_url, NOW).findings == ()
    with Engine(scratch / "data", Options(database_url=postgresql_url)).open() as moved:
        assert view(moved) == before
        check_promises(moved)
        told = tables(moved)
        with moved.database.write() as connection:
            connection.execute(text("DELETE FROM version WHERE library_id = '/a/b'"))
            connection.execute(text("UPDATE library SET total_versions = 7"))
        spoiled = tables(moved)
        with crash_at("rebuild: commit"):
            rebuild(moved.folder, postgresql_url, NOW)
        assert tables(moved) == spoiled
        assert rebuild(moved.folder, postgresql_url, NOW).versions == 5
        assert tables(moved) == told


def test_references_removals_and_times_of_checks_come_back_in_postgresql(postgresql_url: str, scratch: Path) -> None:
    empty_postgresql(postgresql_url)
    options = Options(database_url=postgresql_url, tree="none")
    with Engine(scratch / "data", options).create() as engine:
        store_versions(engine, "/a/b", 4)
        done = Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(NOW)
        assert (done.rewritten, done.damaged) == (4, [])
        plan = make_plan(engine.database, parse_policies({"*": {"keep_last": 3}}), NOW)
        assert plan.freed_bytes > 0
        Removal(engine.folder, engine.database).apply(plan, "schedule", NOW)
        with engine.database.write() as connection:
            connection.execute(text("UPDATE segment SET checked_at = '2026-01-02T00:00:00Z', pins = 3"))
        before, told = view(engine), tables(engine)
        assert {one.place.codec for one in revisions(engine)} == {"gzip", "zstd-ref"}
        assert rebuild(engine.folder, postgresql_url, NOW).findings == ()
        assert (view(engine), tables(engine)) == (before, told)
        with engine.database.read() as connection:
            assert set(connection.execute(text("SELECT pins, checked_at IS NULL FROM segment"))) == {(3, False)}
        assert [engine.read("/a/b", f"{number}.0") for number in (2, 3, 4)] == [likeness(1, range(one)) for one in (1, 2, 3)]
        Removal(engine.folder, engine.database).undo(plan.plan_id, "person:ann", NOW)
        assert engine.read("/a/b", "1.0") == likeness(1)
        check_promises(engine)
