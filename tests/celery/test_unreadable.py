"""Messages that Celery itself cannot read, on a real broker and the service's worker: none is lost, and the worker goes on."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from pytest_celery import CeleryTestSetup

from models.ledger import find_jobs
from storage.engine import Engine
from strongroom.client import Client
from tests.support.local_containers import LocalBroker, LocalWorker
from tests.support.processes import await_that

Send = Callable[..., None]


@pytest.fixture
def send(celery_setup: CeleryTestSetup) -> Iterator[Send]:
    """Sends raw bytes, as Celery would send a task's message."""
    with Connection(celery_setup.broker.config()["host_url"]) as connection, connection.Producer() as producer:

        def send_one(job_id: str, body: bytes, content_type: str = "application/json", **headers: Any) -> None:
            said = {"task": "strongroom.store", "id": job_id, **headers}
            producer.publish(body, routing_key="short", content_type=content_type, content_encoding="utf-8", headers=said)

        yield send_one


class Trap:
    """What an object may do that is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._path), "w")


def test_what_nobody_can_read_is_kept_to_the_byte_and_told_and_the_worker_goes_on(
    worker: LocalWorker, broker: LocalBroker, client: Client, engine: Engine, data: Path, tmp_path: Path, send: Send
) -> None:
    bodies = {
        "unreadable-deep": b"[" * 100_000 + b"]" * 100_000,
        "unreadable-number": b'[[], {"contract": ' + b"9" * 5000 + b"}, {}]",
        "unreadable-bytes": b"\xff\xfe{not json",
        "unreadable-null": b"null",
        "unreadable-pickle": pickle.dumps(Trap(tmp_path / "unpickled")),
        "unreadable-newer": b"[[], {}, {}]",
    }
    content_types = {"unreadable-pickle": "application/x-python-serialize"}
    pid = worker.process.pid
    for job_id, body in bodies.items():
        task = "strongroom.purge" if job_id == "unreadable-newer" else "strongroom.store"
        send(job_id, body, content_types.get(job_id, "application/json"), task=task)
    ticket = client.store(b'{"library_id": "/after/unreadable", "version_id": "1"}').unwrap()

    client.wait([ticket], 30.0).unwrap()
    failed = data / "inbox" / "failed"
    await_that(lambda: all((failed / f"{job_id}.message").exists() for job_id in bodies), "every message is kept and recorded")

    for job_id, body in bodies.items():
        path = failed / f"{job_id}.message"
        assert base64.b64decode(json.loads(path.read_bytes())["body_base64"]) == body
        assert path.stat().st_mode & 0o777 == 0o600
    with engine.database.read() as connection:
        rows = find_jobs(connection, bodies)
    assert {row.state for row in rows.values()} == {"failed"}
    codes = {job_id: row.error["code"] for job_id, row in rows.items() if row.error is not None}
    assert codes == {job_id: "message_too_new" if job_id == "unreadable-newer" else "invalid_message" for job_id in bodies}
    assert not (tmp_path / "unpickled").exists()
    await_that(lambda: broker.client.zcard("unacked_index") == 0 == broker.client.llen("short"), "every one is acknowledged")
    assert worker.process.pid == pid
    assert worker.process.running


def test_what_cannot_be_kept_waits_in_its_queue_until_it_can(worker: LocalWorker, data: Path, send: Send, client: Client) -> None:
    failed = data / "inbox" / "failed"
    aside = failed.with_name("failed.aside")
    if failed.exists():
        failed.rename(aside)
    failed.write_bytes(b"a file where the folder should be: nothing can be written there, not even by root")
    try:
        send("unreadable-later", b"{")
        worker.wait_for_log("put back into its queue")
        client.wait([client.store(b'{"library_id": "/beside/unkept", "version_id": "1"}').unwrap()], 30.0).unwrap()
    finally:
        failed.unlink()
        if aside.exists():
            aside.rename(failed)

    await_that(lambda: list(failed.glob("unreadable-later.*")), "it is kept")
    assert base64.b64decode(json.loads(next(failed.glob("unreadable-later.*")).read_bytes())["body_base64"]) == b"{"
