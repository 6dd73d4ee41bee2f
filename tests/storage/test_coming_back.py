"""storage/allowance.py, for what comes back by hand: a quota is hard there too, and what it refuses changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.admission import returnable_bytes, used_bytes
from storage import allowance as allowances
from storage import removal
from storage.allowance import Allowance
from storage.bring_in import import_file
from storage.cleanup import make_plan
from storage.engine import Engine
from storage.export import export
from storage.policies import parse_policies
from storage.quotas import Quotas, parse_quotas
from storage.rebuild import rebuild
from storage.removal import Removal
from storage.trail import Actor
from strongroom.errors import QuotaExceeded
from tests.conftest import OpenEngine
from tests.support.archive import check_promises, document, large_body, revisions, shown, unfinished, view
from tests.support.desk import observed

ADA = Actor("person:ada", "it was wrong")
NOW = datetime.now(UTC)
SIZE = 20_000
LIBRARY = "/a"


def _store(engine: Engine, *versions: str, library_id: str = LIBRARY) -> None:
    for version in versions:
        seed = len(revisions(engine))
        (receipt,) = engine.store([document(library_id, version, large_body(SIZE, seed))])
        assert receipt.status == "stored"
    engine.tree.catch_up()


def _used(engine: Engine, library_id: str | None = LIBRARY) -> int:
    with engine.database.read() as connection:
        return used_bytes(connection, library_id)


def _remove(engine: Engine) -> str:
    """Remove all but each library's newest version; return what undoes it."""
    plan = make_plan(engine.database, parse_policies({"*": {"keep_last": 1}}), NOW)
    Removal(engine.folder, engine.database).apply(plan, ADA.by, NOW)
    engine.tree.catch_up()
    return plan.plan_id


def _undo(engine: Engine, plan_id: str) -> int:
    return Removal(engine.folder, engine.database, engine.allowance).undo(plan_id, ADA.by, NOW).revisions


def _everything(engine: Engine) -> object:
    journal = engine.folder.journal
    return view(engine), shown(engine), journal.read_bytes() if journal.exists() else b"", unfinished(engine)


def test_an_undo_that_does_not_fit_under_a_quota_brings_nothing_back_and_all_of_it_once_it_fits(open_engine: OpenEngine) -> None:
    with open_engine() as engine:
        _store(engine, "1", "2", "3")
        full, before = _used(engine), view(engine)
        plan_id = _remove(engine)
    with open_engine(quotas=parse_quotas({LIBRARY: full - 1})) as engine:
        lacking = _everything(engine)
        with pytest.raises(QuotaExceeded, match=r"^/a takes .* there is no room for .* more\.$") as refused:
            _undo(engine, plan_id)
        assert "STRONGROOM_QUOTAS='{}'" in refused.value.hint
        assert refused.value.context["needs_bytes"] == full - _used(engine)
        assert _everything(engine) == lacking
    with open_engine(quotas=parse_quotas({LIBRARY: full})) as engine:
        assert _undo(engine, plan_id) == 2
        assert view(engine) == before
        engine.tree.catch_up()
        check_promises(engine)


def test_the_total_is_a_quota_for_what_comes_back_too(open_engine: OpenEngine) -> None:
    with open_engine() as engine:
        _store(engine, "1", "2")
        _store(engine, "1", library_id="/b")
        full = _used(engine, None)
        plan_id = _remove(engine)
    with open_engine(quotas=parse_quotas({"total": full - 1})) as engine:
        with pytest.raises(QuotaExceeded, match="All libraries together take"):
            _undo(engine, plan_id)
        assert len(revisions(engine)) == 2


def test_an_undo_of_several_commits_is_refused_as_a_whole(open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "PORTION", 1)
    with open_engine() as engine:
        _store(engine, "1", "2", "3")
        full = _used(engine)
        plan_id = _remove(engine)
    with open_engine(quotas=parse_quotas({LIBRARY: full - 1})) as engine:
        with pytest.raises(QuotaExceeded):
            _undo(engine, plan_id)
        assert len(revisions(engine)) == 1


def test_a_store_that_takes_the_room_before_the_commit_has_the_undo_refused_and_the_disk_tells_the_same(
    open_engine: OpenEngine,
) -> None:
    with open_engine() as engine:
        _store(engine, "1", "2")
        full = _used(engine)
        plan_id = _remove(engine)
    with open_engine(quotas=parse_quotas({LIBRARY: full + 10})) as engine, open_engine() as other:
        came: list[str] = []

        def take_the_room(step: str) -> None:
            if step == "note: rename" and not came:
                came.append(step)
                _store(other, "3")

        with observed(take_the_room), pytest.raises(QuotaExceeded):
            _undo(engine, plan_id)
        assert came
        there = view(engine)
        assert sorted(version for _, version, _ in there["versions"]) == ["2", "3"]
        url, folder = engine.database.url, engine.folder
    rebuild(folder, url, NOW)
    with open_engine() as engine:
        assert view(engine) == there
        assert _undo(engine, plan_id) == 1


def test_older_content_comes_back_only_where_a_quota_has_room_for_a_further_revision(open_engine: OpenEngine) -> None:
    with open_engine() as engine:
        _store(engine, "1", "2", "2")
        used = _used(engine)
        size = revisions(engine)[0].place.length
    with open_engine(quotas=parse_quotas({LIBRARY: used + size // 2})) as engine:
        before = _everything(engine)
        with pytest.raises(QuotaExceeded, match="/a takes"):
            engine.rollback(LIBRARY, "2", ADA)
        assert _everything(engine) == before
        assert engine.rollback(LIBRARY, "1", ADA).kind == "latest", "that takes no room"
        assert engine.rollback(LIBRARY, "1", ADA).kind == "unchanged"
    with open_engine(quotas=parse_quotas({LIBRARY: used + 2 * size})) as engine:
        assert engine.rollback(LIBRARY, "2", ADA, to=1).kind == "content"
        check_promises(engine)


def test_an_import_that_does_not_fit_leaves_nothing_and_says_that_it_is_a_quota(open_engine: OpenEngine, scratch: Path) -> None:
    file = scratch / "a.tar"
    with open_engine() as engine:
        _store(engine, "1", "2")
        used = _used(engine)
        export(engine.archive, LIBRARY, file, ADA)
    with open_engine(quotas=parse_quotas({"/copy": used - 1})) as engine:
        before = view(engine)
        with pytest.raises(QuotaExceeded, match="Nothing was imported") as refused:
            import_file(engine, file, ADA, "/copy")
        assert "STRONGROOM_QUOTAS='{}'" in refused.value.hint
        assert (view(engine), unfinished(engine)) == (before, [])
        assert _used(engine, "/copy") == 0
        check_promises(engine)


def test_a_look_of_a_moment_ago_counts_what_may_come_back_meanwhile(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "FASTEST_BYTES_S", 1)
    engine = open_engine()
    _store(engine, "1", "2")
    size = revisions(engine)[0].place.length
    plan_id = _remove(engine)
    with engine.database.read() as connection:
        assert returnable_bytes(connection) == returnable_bytes(connection, LIBRARY) > size * 0.9
        allowance = Allowance(Quotas({LIBRARY: 2 * size + size // 2}), lambda: 100.0)
        assert allowance.has_room(connection, {LIBRARY: size})
    _undo(engine, plan_id)
    with engine.database.read() as connection:
        assert not allowance.has_room(connection, {LIBRARY: size})
