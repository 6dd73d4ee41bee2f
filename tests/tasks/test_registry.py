"""The tasks as Celery calls them. What a broker makes of it is in tests/celery."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import Reject

from models.leases import take_leases
from models.ledger import NewJob
from strongroom.errors import CatalogueBusy
from strongroom.routes import STORE_TASK, VERIFY_TASK
from tasks import registry
from tasks.registry import register_tasks
from tests.support.desk import Desk, document, failing


@pytest.fixture
def app(desk: Desk) -> Celery:
    made = Celery("test", broker="memory://", set_as_current=False)
    register_tasks(made, lambda: desk.services)
    return made


@contextmanager
def delivered(app: Celery, name: str, message_id: str) -> Iterator[Any]:
    """Yield the task as it is while it carries out a message of this id."""
    task = app.tasks[name]
    task.push_request(id=message_id)
    try:
        yield task
    finally:
        task.pop_request()


def test_every_task_has_its_name_and_is_acknowledged_late(app: Celery) -> None:
    ours = {name: task for name, task in app.tasks.items() if name.startswith("strongroom.")}
    assert set(ours) == {
        f"strongroom.{name}"
        for name in (
            "store",
            "verify",
            "prune",
            "cleanup",
            "sweep",
            "compress",
            "scrub",
            "backup",
            "backup_verify",
            "backup_prune",
            "drill",
            "tree",
            "tidy",
        )
    }
    assert all(task.acks_late and task.reject_on_worker_lost and task.ignore_result for task in ours.values())


def test_a_message_without_a_request_id_is_the_job_of_its_own_id(app: Celery, desk: Desk) -> None:
    with delivered(app, STORE_TASK, "message-0001") as store:
        store(text=document().decode())
    assert desk.job("message-0001").state == "done"


def test_a_job_that_ends_sends_the_next_of_its_kind_at_once_when_that_has_a_limit(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(limits={"verify": 1})
    app = Celery("test", broker="memory://", set_as_current=False)
    register_tasks(app, lambda: desk.services)
    with desk.engine.database.write() as connection:
        for number, limit in ((1, 0), (2, 0)):
            job = NewJob(f"verify-{number:04}", "verify", "{}")
            take_leases(connection, [job], "a", datetime.now(UTC), lambda _: "alive", {"verify": limit})
    with delivered(app, VERIFY_TASK, "verify-0003") as verify:
        verify(request_id="verify-0003")
    assert [(task, arguments) for task, arguments, _ in desk.sent] == [(VERIFY_TASK, {})]
    assert desk.job("verify-0003").state == "done"


@pytest.mark.parametrize("name", [STORE_TASK, VERIFY_TASK])
def test_positional_arguments_are_refused_and_kept(app: Celery, desk: Desk, name: str) -> None:
    with delivered(app, name, "message-0001") as task:
        task('{"library_id": "/a/b"}', {"more": 1})
    row = desk.job("message-0001")
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "invalid_message")
    assert json.loads(row.payload)["args"] == ['{"library_id": "/a/b"}', {"more": 1}]


@pytest.mark.parametrize("field", ["task", "self", "more", "fields", "services"])
def test_no_field_name_is_mistaken_for_one_of_ours(app: Celery, desk: Desk, field: str) -> None:
    with delivered(app, STORE_TASK, "message-0001") as store:
        store.run(**{field: 1})  # as a worker calls it
    assert desk.job("message-0001").state == "failed"


def test_a_message_that_could_not_be_recorded_goes_back_into_its_queue(
    app: Celery, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PAUSE_S", 0.0)
    for error in (CatalogueBusy("locked"), RuntimeError("a bug")):
        with failing("ledger: commit", error), delivered(app, STORE_TASK, "message-0001") as store:
            with pytest.raises(Reject) as caught:
                store(text=document().decode())
            assert caught.value.requeue


def test_housekeeping_runs(app: Celery, desk: Desk) -> None:
    desk.stage("job-00000001", *(document(version=f"1.{number}") for number in range(65)))
    desk.run("job-00000001")
    app.tasks["strongroom.tree"]()
    assert desk.engine.tree.lag() == 0
    app.tasks["strongroom.tidy"]()


def test_a_job_goes_on_when_its_progress_cannot_be_told_and_tries_no_more_for_a_while(
    app: Celery, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the broker's library raises when the broker goes while a job runs is no OSError, and no error of Celery's."""
    monkeypatch.setattr("tasks.progress.SHOWN_APART_S", 0.0)
    tries: list[str] = []

    def gone(kind: str, **_: object) -> None:
        tries.append(kind)
        raise redis.ConnectionError("Connection closed by server.")

    for number in range(3):
        desk.stage(f"job-{number:08}", document(version=f"{number}.0"))
        desk.run(f"job-{number:08}")
    with delivered(app, VERIFY_TASK, "verify-0001") as verify:
        monkeypatch.setattr(verify, "send_event", gone)
        verify()
    assert (desk.job("verify-0001").state, desk.job("verify-0001").attempts) == ("done", 1)
    assert tries == ["task-progress"]
