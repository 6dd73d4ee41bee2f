"""tasks/cleanup.py: the scheduled run does what `cleanup --apply` does, under a lease, with a trail."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from models.tables import Segment, table_of
from models.upkeep_tables import Audit, RemovedVersion
from storage.events import append_events
from tasks.cleanup import CLEANUP, SWEEP
from tasks.jobs import run_job
from tests.support.desk import Desk, crash_at, document, steps_of

MESSAGE = {"contract": 1, "request_id": "cleanup-0001", "policies": {"*": {"keep_last": 1}}}


def _store(desk: Desk, count: int = 3) -> None:
    for number in range(count):
        desk.stage(f"store-{number:04}", document(version=f"1.{number}", number=number))
        desk.run(f"store-{number:04}")


def _versions(desk: Desk) -> list[str]:
    return sorted(one.version for one in desk.engine.versions())


def _rows(desk: Desk, table: Any) -> list[dict[str, Any]]:
    with desk.services.database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_a_cleanup_job_removes_what_the_policies_say_and_names_it(desk: Desk) -> None:
    _store(desk)
    run_job(CLEANUP, desk.services, MESSAGE, "m")
    row = desk.job("cleanup-0001")
    assert (row.state, row.kind, row.subject) == ("done", "cleanup", "everything")
    assert row.outcome is not None
    assert (row.outcome["versions_removed"], row.outcome["libraries_changed_meanwhile"]) == (2, 0)
    assert [one["version"] for one in row.outcome["planned"]] == ["1.1", "1.0"]
    assert _versions(desk) == ["1.2"]
    trail = _rows(desk, table_of(Audit))
    assert {(one["by"], one["action"], one["version"]) for one in trail} == {
        ("producer", "removed", "1.0"),
        ("producer", "removed", "1.1"),
    }
    assert trail[0]["details"]["plan_id"] == row.outcome["plan_id"]


@pytest.mark.parametrize("asked_by", ["schedule", "person:ada@host"])
def test_the_audit_trail_and_the_journal_say_who_asked_for_a_cleanup(desk: Desk, asked_by: str) -> None:
    _store(desk)
    run_job(CLEANUP, desk.services, desk.asked("cleanup", asked_by, policies=MESSAGE["policies"]), "m")
    assert {one["by"] for one in _rows(desk, table_of(Audit))} == {asked_by}
    assert {one["removed_by"] for one in _rows(desk, table_of(RemovedVersion))} == {asked_by}
    assert desk.engine.folder.journal.read_text("utf-8").count(f'"by":"{asked_by}"') == 2


def test_what_a_cleanup_job_removed_is_gone_from_the_tree_when_the_job_has_run(desk: Desk) -> None:
    """Its row says that it is done before that: its lease is no longer in force, and was not lost either."""
    _store(desk)
    run_job(CLEANUP, desk.services, MESSAGE, "m")
    assert desk.engine.tree.hide() == 0


def test_without_a_policy_nothing_is_removed(desk: Desk) -> None:
    _store(desk)
    run_job(CLEANUP, desk.services, {**MESSAGE, "policies": {}}, "m")
    assert desk.job("cleanup-0001").outcome == {"policies": 0, "versions_removed": 0}
    assert len(_versions(desk)) == 3


def test_a_policy_that_cannot_be_fails_the_job_and_removes_nothing(desk: Desk) -> None:
    _store(desk)
    run_job(CLEANUP, desk.services, {**MESSAGE, "policies": {"*": {}}}, "m")
    row = desk.job("cleanup-0001")
    assert (row.state, (row.error or {})["code"]) == ("failed", "configuration")
    assert len(_versions(desk)) == 3


def test_who_lost_the_lease_meanwhile_removes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _store(desk)

    def steal(journal: Path, events: Iterable[Any]) -> None:
        append_events(journal, events)
        with desk.services.database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET token = token + 1 WHERE job_id = 'cleanup-0001'")

    monkeypatch.setattr("storage.removal.append_events", steal)  # between the journal and the commit
    run_job(CLEANUP, desk.services, MESSAGE, "m")
    assert len(_versions(desk)) == 3
    assert desk.job("cleanup-0001").state == "running"
    assert _rows(desk, table_of(RemovedVersion)) == []


def test_a_crash_anywhere_is_healed_by_the_next_delivery(root: Path) -> None:
    desk = Desk(root)
    _store(desk, 2)
    desk.close()
    whole = shutil.copytree(root, root.parent / "whole", symlinks=True)
    steps = steps_of(whole, lambda one: run_job(CLEANUP, one.services, MESSAGE, "m"))
    assert "removal: commit" in steps
    for number in range(0, len(steps), 2):
        copy = Path(shutil.copytree(root, root.parent / f"copy{number}", symlinks=True))
        crash_at(number, copy, lambda one: run_job(CLEANUP, one.services, MESSAGE, "m"))
        again = Desk(copy)
        run_job(CLEANUP, again.services, MESSAGE, "m")
        assert again.job("cleanup-0001").state == "done"
        assert _versions(again) == ["1.1"]
        assert len(_rows(again, table_of(Audit))) == 1, "removed once"
        again.close()


def test_a_sweep_job_frees_the_bytes_and_says_how_many(desk: Desk) -> None:
    _store(desk)
    run_job(CLEANUP, desk.services, MESSAGE, "m")
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    with desk.services.database.write() as connection:
        connection.execute(update(table_of(RemovedVersion)).values(removed_at=long_ago))
        connection.execute(update(table_of(Segment)).values(created_at=long_ago))
    run_job(SWEEP, desk.services, {"contract": 1, "request_id": "sweep-0001", "grace_hours": 2}, "m")
    outcome = desk.job("sweep-0001").outcome
    assert outcome is not None
    assert (outcome["purged"], outcome["condemned"], outcome["under_way"]) == (2, 2, False)
    assert outcome["trashed_bytes"] > 0
    assert desk.engine.read("/a/b") == document(version="1.2", number=2)


@pytest.mark.parametrize("fields", [{"grace_hours": 0}, {"grace": 3}], ids=["no_grace", "an_unknown_field"])
def test_a_sweep_that_is_not_understood_does_nothing(desk: Desk, fields: dict[str, object]) -> None:
    run_job(SWEEP, desk.services, {"contract": 1, "request_id": "sweep-0001", **fields}, "m")
    assert desk.job("sweep-0001").state == "failed"
