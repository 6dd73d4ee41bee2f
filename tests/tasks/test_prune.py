"""tasks/prune.py: history is shortened, and no accepted payload becomes a stranger."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from models import prune as rows
from models.tables import Job, table_of
from tasks.jobs import run_job
from tasks.prune import PRUNE, Pruned, prune
from tests.support.desk import Desk, crash_at, steps_of

MESSAGE = {"contract": 1, "request_id": "prune-0001", "days": 30, "jobs": 1000}
NOW = datetime.now(UTC)


def add(desk: Desk, count: int, state: str = "done", prefix: str = "old", days: int = 40) -> None:
    """Enter jobs that ended so many days ago."""
    ended = [
        {"job_id": f"{prefix}-{number:05}", "kind": "store", "subject": "", "state": state, "priority": 0, "attempts": 1}
        | {"asked_by": "producer", "owner": "", "payload": "", "queue": "", "created_at": NOW}
        | {"finished_at": NOW - timedelta(days=days, seconds=number)}
        for number in range(count)
    ]
    with desk.services.database.write() as connection:
        connection.execute(insert(table_of(Job)), ended)


def names(desk: Desk) -> set[str]:
    return {row.job_id for row in desk.jobs()} - {"prune-0001"}


def test_a_prune_job_removes_what_is_old_and_says_how_much(desk: Desk) -> None:
    add(desk, 5)
    add(desk, 2, prefix="young", days=20)
    run_job(PRUNE, desk.services, MESSAGE, "message-0001")
    row = desk.job("prune-0001")
    assert (row.state, row.kind, row.subject, row.attempts) == ("done", "prune", "history", 1)
    assert row.outcome == {"jobs_removed": 5, "slots_removed": 0, "jobs_kept": 0}
    assert names(desk) == {"young-00000", "young-00001"}


def test_a_job_whose_payload_is_there_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PORTION", 2)
    add(desk, 4, "failed", "failed")
    add(desk, 3, "quarantined", "dead")
    add(desk, 2)
    desk.services.failed.mkdir(exist_ok=True)
    (desk.services.failed / "failed-00001.inbox").touch()
    (desk.services.failed / "failed-00002.message").touch()
    (desk.services.failed / "dead-00002.inbox").touch()
    (desk.inbox / "old-00001.inbox").touch()  # without its row it would be stored again
    assert prune(desk.services, NOW, 30, 1000) == Pruned(jobs=5, slots=0, kept=4)
    assert names(desk) == {"failed-00001", "failed-00002", "dead-00002", "old-00001"}


def test_no_transaction_removes_more_than_a_portion(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PORTION", 3)
    add(desk, 10)
    steps = [step for step in _steps(desk) if step == "prune: commit"]
    assert len(steps) == 4 + 1, "four portions of jobs, one look at the slots"
    assert names(desk) == set()


def _steps(desk: Desk) -> list[str]:
    from tests.support.crash import steps_of as steps_here

    return steps_here(lambda: prune(desk.services, NOW, 30, 1000))


@pytest.mark.parametrize(
    "fields", [{"days": 0}, {"jobs": "many"}, {"keep": 1}], ids=["no_history", "no_number", "an_unknown_field"]
)
def test_a_message_that_is_not_understood_removes_nothing(desk: Desk, fields: dict[str, object]) -> None:
    add(desk, 1)
    run_job(PRUNE, desk.services, {**MESSAGE, **fields}, "message-0001")
    row = desk.job("prune-0001")
    assert (row.state, (row.error or {})["code"]) == ("failed", "invalid_message")
    assert json.loads(row.payload)["request_id"] == "prune-0001"
    assert names(desk) == {"old-00000"}


def test_a_crash_anywhere_is_healed_by_the_next_delivery(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PORTION", 2)
    desk = Desk(root)
    add(desk, 3)
    desk.close()
    whole = shutil.copytree(root, root.parent / "whole", symlinks=True)
    steps = steps_of(whole, lambda one: run_job(PRUNE, one.services, MESSAGE, "m"))
    assert steps.count("prune: commit") >= 3
    for number, step in enumerate(steps):
        folder = shutil.copytree(root, root.parent / f"crash-{number}", symlinks=True)
        crash_at(number, folder, lambda one: run_job(PRUNE, one.services, MESSAGE, "m"))
        again = Desk(folder, name=f"again:{os.getpid()}")
        run_job(PRUNE, again.services, MESSAGE, "m")
        assert again.job("prune-0001").state == "done", step
        assert names(again) == set(), step
        again.close()
        shutil.rmtree(folder)
