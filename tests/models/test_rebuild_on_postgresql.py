"""storage/rebuild.py with its catalogue in PostgreSQL: emptied and filled in one transaction; and a folder that moves there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from storage.engine import Engine, Options
from storage.rebuild import rebuild
from tests.storage.test_rebuild import filled, tables
from tests.support.archive import check_promises, view
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
