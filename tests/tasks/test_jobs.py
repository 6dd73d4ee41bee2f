"""tasks/jobs.py: whoever lost a job's lease, whatever its kind, writes nothing any more and gives its slot back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel

from models.interventions import cancel_jobs
from models.tables import Job, table_of
from strongroom.contracts import VerifyMessage
from tasks.jobs import run_job
from tasks.kinds import Kind, Running
from tasks.registry import KINDS
from tests.support.alike import store_versions
from tests.support.catalogue import START
from tests.support.desk import Desk, observed

JOB = "some-job-0001"
MESSAGES: dict[str, dict[str, Any]] = {"cleanup": {"policies": {"*": {"keep_last": 1}}}, "verify": {"repair": True}}


def _everything(desk: Desk) -> dict[str, list[Any]]:
    with desk.engine.database.read() as connection:
        return {name: sorted(map(repr, connection.execute(select(table)))) for name, table in SQLModel.metadata.tables.items()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_who_lost_the_lease_changes_no_row_whatever_the_job(desk: Desk, kind: Kind[Any]) -> None:
    store_versions(desk.engine, "/a/b", 3)
    seen: list[dict[str, list[Any]]] = []

    def lose(step: str) -> None:
        if step == "ledger: committed" and not seen:
            seen.append({})
            with desk.engine.database.write("thief") as connection:
                connection.execute(update(table_of(Job)).values(token=Job.token + 1, owner="another"))
            seen[0] = _everything(desk)

    with observed(lose):
        run_job(kind, desk.services, MESSAGES.get(kind.name, {}), JOB)
    assert [_everything(desk)] == seen
    assert (desk.job(JOB).state, desk.job(JOB).owner) == ("running", "another")


def test_a_long_job_that_is_cancelled_stops_at_its_next_word(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress.ASKED_APART_S", 0.0)
    words = 0

    def work(running: Running, _message: VerifyMessage) -> None:
        nonlocal words
        with running.services.database.engine.begin() as connection:  # another process, which has no fence
            cancel_jobs(connection, [JOB], [], {"code": "cancelled"}, START)
        for words in range(1, 100):
            running.progress(words, 100)

    run_job(Kind("verify", VerifyMessage, lambda _message: "all", work), desk.services, {}, JOB)
    assert (words, desk.job(JOB).state) == (1, "cancelled")
    assert desk.services.progress == {}


def test_a_ledger_that_cannot_be_read_for_a_moment_ends_no_job(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress.ASKED_APART_S", 0.0)

    def work(running: Running, _message: VerifyMessage) -> None:
        path = desk.engine.folder.metadata / "catalogue.db"
        running.services.database.close()
        path.rename(path.with_suffix(".away"))
        path.mkdir()
        running.progress(1, 2)
        path.rmdir()
        path.with_suffix(".away").rename(path)
        running.finish({})

    run_job(Kind("verify", VerifyMessage, lambda _message: "all", work), desk.services, {}, JOB)
    assert desk.job(JOB).state == "done"
