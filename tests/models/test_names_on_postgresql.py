"""Rename, alias and erasure with the catalogue in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from storage.engine import Engine, Options
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.names import alias, rename
from storage.trail import Actor
from tests.support.archive import body, check_promises, document, view
from tests.support.postgresql import empty_postgresql

ADA = Actor("person:ada", "request 4711")


def test_a_renamed_library_is_erased_for_good(postgresql_url: str, scratch: Path) -> None:
    empty_postgresql(postgresql_url)
    with Engine(scratch / "data", Options(database_url=postgresql_url)).create() as engine:
        engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2)), document("/c/d", "1", body(n=1))])
        rename(engine.archive, "/a/b", "/x/y", ADA)
        alias(engine.archive, "/short", "/a/b", ADA)
        engine.tree.catch_up()
        assert engine.find("/short", "1.0").library_id == "/x/y"
        erasure = Erasure(engine.archive, engine.tree, "all", engine.options.limits)
        done = erasure.apply(erasure.plan(find_targets(engine.database, "/a/b")), ADA)
        assert (done.proof.left, done.proof.not_searched[-1]) == ((), "the database's own files")
        assert [(one.library_id, one.version) for one in done.still_held_by] == [("/c/d", "1")]
        assert set(view(engine)["libraries"]) == {"/c/d"}
        check_promises(engine)
