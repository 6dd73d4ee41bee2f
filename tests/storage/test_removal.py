"""storage/removal.py and storage/cleanup.py: a plan is carried out as it was shown or not at all, and can be undone."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from models.tables import table_of
from models.upkeep_tables import Audit, Pin, RemovedVersion
from storage import removal
from storage.cleanup import Plan, make_plan
from storage.engine import Engine
from storage.events import Removed, Restored, append_events, read_events
from storage.pending import HEALED_BY, NOTE
from storage.policies import parse_policies
from storage.removal import Removal, refuse_other
from strongroom.errors import ConfigurationError, NotFound, StalePlan
from tests.support.archive import body, check_promises, document, revisions, shown, view
from tests.support.crash import crash_at, die_at, steps_of
from tests.support.scenarios import OPTIONS
from tests.support.thorough import crash_places, stride

KEEP_TWO = parse_policies({"*": {"keep_last": 2}})
BOB = ("person:bob", datetime.now(UTC))


def _fill(engine: Engine, versions: int = 4, library_id: str = "/a/b") -> None:
    for number in range(versions):
        engine.store([document(library_id, f"1.{number}", body(number=number, of=library_id))])
    engine.tree.catch_up()


def _plan(engine: Engine, policies: object = KEEP_TWO, library_id: str | None = None) -> Plan:
    return make_plan(engine.database, policies, datetime.now(UTC), library_id)  # type: ignore[arg-type]


def _removal(engine: Engine) -> Removal:
    return Removal(engine.folder, engine.database)


def _clean(engine: Engine, policies: object = KEEP_TWO) -> Plan:
    plan = _plan(engine, policies)
    _removal(engine).apply(plan, *BOB)
    engine.tree.catch_up()
    return plan


def _pin(engine: Engine, version: str, library_id: str = "/a/b") -> None:
    with engine.database.write() as connection:
        row = {"library_id": library_id, "version": version, "at": datetime.now(UTC), "by": "person:ann", "why": ""}
        connection.execute(insert(table_of(Pin)), row)


def _names(engine: Engine) -> list[str]:
    return sorted(one.version for one in engine.versions())


def _journal_agrees(engine: Engine) -> None:
    """The last word of the journal on each revision is what the catalogue has of it."""
    last: dict[tuple[str, str, datetime], type] = {}
    for event in read_events(engine.folder.journal):
        if isinstance(event, Removed | Restored):
            last[event.library_id, event.version, event.stored_at] = type(event)
    stored = {(one.library_id, one.version, one.created_at) for one in revisions(engine)}
    for key, kind in last.items():
        assert (kind is Restored) == (key in stored), key
    table = table_of(RemovedVersion)
    with engine.database.read() as connection:
        removed = {tuple(row) for row in connection.execute(select(table.c.library_id, table.c.version, table.c.created_at))}
    assert {key for key, kind in last.items() if kind is Removed} == removed


# --- the plan ---


def test_a_plan_says_of_each_version_why_it_stays_or_goes_and_what_is_freed(engine: Engine) -> None:
    _fill(engine)
    plan = _plan(engine)
    assert [(one.version, one.keep) for one in plan.verdicts()] == [("1.3", True), ("1.2", True), ("1.1", False), ("1.0", False)]
    assert [one.reason for one in plan.verdicts()][2] == "no rule keeps it (keep_last 2)"
    going = [one.place.length for one in engine.versions() if one.version in {"1.0", "1.1"}]
    assert plan.freed_bytes == sum(going)
    assert plan.going == 2


def test_bytes_that_another_version_needs_are_not_counted_as_freed(engine: Engine) -> None:
    _fill(engine)
    engine.store([document("/c/d", "9.0", body(number=0, of="/a/b"))])
    alone = next(one.place.length for one in engine.versions() if one.version == "1.1")
    assert _plan(engine).freed_bytes == alone


def test_without_a_policy_or_a_library_there_is_no_plan(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="No retention policy is set"):
        _plan(engine, parse_policies({}))
    with pytest.raises(NotFound):
        _plan(engine, library_id="/no/such")


def test_a_plan_for_the_same_has_the_same_name_and_a_change_gives_another(engine: Engine) -> None:
    _fill(engine)
    first = _plan(engine).plan_id
    engine.store([document("/other/library", "1.0", body(other=1))])
    assert _plan(engine).plan_id == first, "nothing goes there"
    refuse_other(_plan(engine), first)
    _pin(engine, "1.0")
    with pytest.raises(StalePlan, match="would be"):
        refuse_other(_plan(engine), first)


# --- carried out ---


def test_what_the_plan_says_is_gone_for_readers_the_tree_and_the_sums(engine: Engine) -> None:
    _fill(engine)
    plan = _plan(engine)
    done = _removal(engine).apply(plan, *BOB)
    engine.tree.catch_up()
    assert (done.plan_id, done.revisions, done.versions) == (plan.plan_id, 2, 2)
    assert _names(engine) == ["1.2", "1.3"]
    with pytest.raises(NotFound):
        engine.read("/a/b", "1.0")
    assert sorted(shown(engine)) == [f"+a+b/{name}/documentation.json.gz" for name in ("1.2", "1.3", "latest")]
    check_promises(engine)
    _journal_agrees(engine)
    assert [one for one in _plan(engine).verdicts() if not one.keep] == []


def test_older_revisions_go_and_the_current_one_stays(engine: Engine) -> None:
    for number in range(4):
        engine.store([document("/a/b", "1.0", body(number=number))])
    _clean(engine, parse_policies({"*": {"keep_revisions": 2}}))
    assert sorted(one.revision for one in revisions(engine)) == [3, 4]
    assert engine.read("/a/b", "1.0") == body(number=3)
    engine.store([document("/a/b", "1.0", body(number=9))])
    assert max(one.revision for one in revisions(engine)) == 5
    check_promises(engine)


def test_who_removed_what_and_why_is_recorded(engine: Engine) -> None:
    _fill(engine)
    plan = _clean(engine)
    with engine.database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(table_of(Audit))).mappings()]
    assert [(row["action"], row["by"], row["version"]) for row in rows] == [
        ("removed", "person:bob", "1.0"),
        ("removed", "person:bob", "1.1"),
    ]
    assert rows[0]["why"] == "no rule keeps it (keep_last 2)"
    assert rows[0]["details"] == {"plan_id": plan.plan_id, "revisions": [1]}


def test_a_latest_chosen_by_hand_survives_a_cleanup(engine: Engine) -> None:
    _fill(engine)
    with engine.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE library SET latest_held = '1.0', latest_version = '1.0', latest_held_at = '2026-01-01'"
        )
    _clean(engine, parse_policies({"*": {"keep_last": 1}}))
    assert _names(engine) == ["1.0", "1.3"]
    assert [one.latest_version for one in engine.libraries()] == ["1.0"]


@pytest.mark.parametrize("change", ["store", "revise", "pin", "remove"])
def test_a_plan_that_something_has_come_between_is_refused_and_removes_nothing(engine: Engine, change: str) -> None:
    _fill(engine)
    plan = _plan(engine)
    if change == "store":
        engine.store([document("/a/b", "0.1", body(late=1))])
    elif change == "revise":
        engine.store([document("/a/b", "1.0", body(late=1))])
    elif change == "pin":
        _pin(engine, "1.0")
    else:
        _clean(engine, parse_policies({"*": {"keep_last": 3}}))
    before = view(engine)
    with pytest.raises(StalePlan, match="/a/b has changed"):
        _removal(engine).apply(plan, *BOB)
    assert view(engine) == before
    _journal_agrees(engine)


def test_a_store_between_the_journal_and_the_commit_makes_the_plan_stale_and_the_journal_true(engine: Engine) -> None:
    _fill(engine)
    plan = _plan(engine)
    late = document("/a/b", "1.0", body(late=1))

    def journal_then_store(*arguments: object) -> None:
        append_events(*arguments)  # type: ignore[arg-type]
        engine.store([late])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.removal.append_events", journal_then_store)
        with pytest.raises(StalePlan):
            _removal(engine).apply(plan, *BOB)
    assert engine.read("/a/b", "1.0") == body(late=1)
    _journal_agrees(engine)
    assert not (engine.folder.metadata / NOTE).exists()
    check_promises(engine)


def test_a_large_plan_goes_by_whole_libraries(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "PORTION", 3)
    for number in range(4):
        _fill(engine, 4, f"/a/{number}")
    plan = _plan(engine)
    steps = steps_of(lambda: _removal(engine).apply(plan, *BOB))
    assert steps.count("removal: commit") == 2
    assert len(engine.versions()) == 8
    assert _removal(engine).undo(plan.plan_id, *BOB).revisions == 8
    assert len(engine.versions()) == 16
    _journal_agrees(engine)


def test_the_callers_rows_are_committed_with_it_or_nothing_is(engine: Engine) -> None:
    _fill(engine)

    def refuse(_connection: object, _done: object) -> None:
        raise RuntimeError("the lease was lost")

    before = view(engine)
    with pytest.raises(RuntimeError):
        _removal(engine).apply(_plan(engine), *BOB, record=refuse)
    assert view(engine) == before
    _journal_agrees(engine)


def test_a_run_that_nobody_watches_leaves_out_what_has_changed(engine: Engine) -> None:
    _fill(engine, 4, "/a/b")
    _fill(engine, 4, "/c/d")
    plan = _plan(engine)
    engine.store([document("/a/b", "9.0", body(late=1))])
    done = _removal(engine).apply(plan, *BOB, exactly=False)
    assert (done.revisions, done.changed) == (2, 1)
    assert len([one for one in engine.versions() if one.library_id == "/c/d"]) == 2
    assert len([one for one in engine.versions() if one.library_id == "/a/b"]) == 5
    _journal_agrees(engine)


# --- undone ---


def test_undo_brings_everything_back_as_it_was(engine: Engine) -> None:
    _fill(engine)
    engine.store([document("/a/b", "1.0", body(revised=1))])
    engine.tree.catch_up()
    before, tree = view(engine), shown(engine)
    plan = _clean(engine)
    done = _removal(engine).undo(plan.plan_id, *BOB)
    engine.tree.catch_up()
    assert (done.revisions, done.versions) == (3, 2)
    assert (view(engine), shown(engine)) == (before, tree)
    check_promises(engine)
    _journal_agrees(engine)
    with pytest.raises(NotFound, match="can be brought back"):
        _removal(engine).undo(plan.plan_id, *BOB)


def test_a_version_that_was_stored_anew_meanwhile_keeps_that_and_has_its_history_back(engine: Engine) -> None:
    _fill(engine)
    plan = _clean(engine)
    receipt = engine.store([document("/a/b", "1.0", body(anew=1))])[0]
    assert (receipt.status, receipt.revision) == ("stored", 2), "a number is never given twice"
    engine.tree.catch_up()
    _removal(engine).undo(plan.plan_id, *BOB)
    engine.tree.catch_up()
    assert engine.read("/a/b", "1.0") == body(anew=1)
    assert sorted(one.revision for one in revisions(engine) if one.version == "1.0") == [1, 2]
    check_promises(engine)
    _journal_agrees(engine)


def test_the_same_content_stored_anew_after_a_removal_is_stored(engine: Engine) -> None:
    _fill(engine)
    _clean(engine)
    assert engine.store([document("/a/b", "1.0", body(number=0, of="/a/b"))])[0].status == "stored"
    check_promises(engine)


def test_plans_can_be_undone_in_any_order(engine: Engine) -> None:
    for number in range(3):
        engine.store([document("/a/b", "1.0", body(number=number))])
    engine.store([document("/a/b", "2.0", body(two=2))])
    before = view(engine)
    first = _clean(engine, parse_policies({"*": {"keep_revisions": 1}}))
    second = _clean(engine, parse_policies({"*": {"keep_last": 1}}))
    _removal(engine).undo(first.plan_id, *BOB)
    assert engine.read("/a/b", "1.0") == body(number=1), "the newest of what is there"
    check_promises(engine)
    _removal(engine).undo(second.plan_id, *BOB)
    assert view(engine) == before
    engine.tree.catch_up()
    check_promises(engine)
    _journal_agrees(engine)


# --- crashes ---


class Rehearsal:
    """A folder where something is to be removed, or has been."""

    def __init__(self, fresh: Path, scratch: Path, *, undo: bool) -> None:
        self._scratch, self._undo = scratch, undo
        self.prepared = Path(shutil.copytree(fresh, scratch / "prepared"))
        with Engine(self.prepared, OPTIONS).open() as engine:
            _fill(engine, 3)
            self.plan_id = _plan(engine).plan_id
            if undo:
                _clean(engine)
            self.before = view(engine)
        with Engine(self.copy(), OPTIONS).open() as engine:
            self.steps = steps_of(lambda: self.run(engine))
            self.after, self.tree = view(engine), shown(engine)

    def run(self, engine: Engine) -> None:
        if self._undo:
            _removal(engine).undo(self.plan_id, *BOB)
        else:
            _removal(engine).apply(_plan(engine), *BOB)
        engine.tree.catch_up()

    def copy(self) -> Path:
        shutil.rmtree(self._scratch / "data", ignore_errors=True)
        return Path(shutil.copytree(self.prepared, self._scratch / "data", symlinks=True, copy_function=shutil.copy2))

    def check(self, number: int, root: Path) -> None:
        with Engine(root, OPTIONS).open() as engine:
            found = view(engine)
            assert found in (self.before, self.after), self.steps[number - 1]
            if "removal: committed" in self.steps[:number]:
                assert found == self.after
            if self._undo and found == self.after:
                with pytest.raises(NotFound):
                    _removal(engine).undo(self.plan_id, *BOB)
                engine.tree.catch_up()
            else:
                self.run(engine)
            assert (view(engine), shown(engine)) == (self.after, self.tree), self.steps[number - 1]
            _journal_agrees(engine)
            check_promises(engine)


@pytest.mark.parametrize("undo", [False, True], ids=["removing", "undoing"])
def test_a_crash_anywhere_leaves_all_or_nothing_and_the_rerun_heals(fresh_folder: Path, scratch: Path, undo: bool) -> None:
    rehearsal = Rehearsal(fresh_folder, scratch, undo=undo)
    assert {"note: rename", "journal: fsync", "removal: commit"} <= set(rehearsal.steps)
    for number in crash_places(rehearsal.steps):
        root = rehearsal.copy()
        with Engine(root, OPTIONS).open() as engine, crash_at(number):
            rehearsal.run(engine)
        rehearsal.check(number, root)


def test_the_end_of_the_process_leaves_all_or_nothing(fresh_folder: Path, scratch: Path) -> None:
    rehearsal = Rehearsal(fresh_folder, scratch, undo=False)
    for number in range(1, len(rehearsal.steps) + 1, stride(3)):
        root = rehearsal.copy()
        die_at(number, lambda root=root: rehearsal.run(Engine(root, OPTIONS).open()))  # type: ignore[misc]
        rehearsal.check(number, root)


def test_what_a_crash_left_half_told_is_corrected_by_whoever_comes_next(engine: Engine) -> None:
    _fill(engine)
    with crash_at("removal: commit"):
        _removal(engine).apply(_plan(engine), *BOB)
    assert (engine.folder.metadata / NOTE).exists()
    with pytest.raises(NotFound):
        _removal(engine).undo("no such plan", *BOB)
    said = [event for event in read_events(engine.folder.journal) if isinstance(event, Restored)]
    assert {(one.version, one.by) for one in said} == {("1.0", HEALED_BY), ("1.1", HEALED_BY)}
    _journal_agrees(engine)


# --- others at the same time ---


def test_stores_and_readers_beside_cleanups_see_whole_states(engine: Engine, open_engine: Callable[..., Engine]) -> None:
    _fill(engine, 3)
    other = open_engine()
    stop = threading.Event()
    problems: list[str] = []

    def store() -> None:
        for number in range(12):
            other.store([document("/a/b", f"2.{number}", body(number=number)), document("/a/b", "1.0", body(again=number))])

    def read() -> None:
        while not stop.is_set():
            found = {one.version for one in engine.versions()}
            for name in found:
                try:
                    data = engine.read("/a/b", name)
                except NotFound:
                    continue
                content = [one.place.content_sha256 for one in engine.versions() if one.version == name]
                if not data or (content and len(content) != 1):
                    problems.append(name)

    threads = [threading.Thread(target=store), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    removed = 0
    while threads[0].is_alive():
        try:
            removed += _removal(engine).apply(_plan(engine), *BOB).revisions
        except StalePlan:
            continue
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems
    _removal(engine).apply(_plan(engine), *BOB)
    engine.tree.catch_up()
    assert _names(engine) == ["2.10", "2.11"]
    check_promises(engine)
    _journal_agrees(engine)


def test_clocks_that_go_back_do_not_put_a_removal_before_what_it_removes(engine: Engine) -> None:
    _fill(engine)
    early = ("schedule", datetime.now(UTC) - timedelta(days=9))
    plan = _plan(engine)
    _removal(engine).apply(plan, *early)
    _removal(engine).undo(plan.plan_id, *early)
    events = [event for event in read_events(engine.folder.journal) if isinstance(event, Removed | Restored)]
    assert len(events) == 4
    for version in ("1.0", "1.1"):
        removed, restored = (event for event in events if event.version == version)
        assert removed.stored_at < removed.at < restored.at
    assert engine.read("/a/b", "1.0") == body(number=0, of="/a/b")
    assert hashlib.sha256(engine.read("/a/b", "1.1")).hexdigest() == engine.find("/a/b", "1.1").place.content_sha256
