"""The service's worker on a real broker, with a plain Celery producer: killed, frozen and robbed of its queue while it stores."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_celery import CeleryTestSetup

from models.catalogue import list_versions
from models.ledger import JobRow
from models.listing import newest_jobs
from storage.engine import Engine
from strongroom.client import Client
from strongroom.inbox import InboxWriter
from strongroom.ticket import Ticket
from tests.support.local_containers import LocalBroker, LocalWorker
from tests.support.processes import await_that

Plant = Callable[[str], Path]


def document(library_id: str, version: object, **more: Any) -> bytes:
    return json.dumps({"library_id": library_id, "version_id": f"{version}", **more}).encode()


def documents(library_id: str, count: int) -> list[bytes]:
    return [document(library_id, number, text=f"{library_id} {number} " * 50) for number in range(count)]


def send(client: Client, many: Iterable[bytes]) -> list[Ticket]:
    """Send each document as a job of its own."""
    return [client.store(one).unwrap() for one in many]


def jobs(engine: Engine, tickets: Iterable[Ticket]) -> dict[str, JobRow]:
    wanted = {ticket.request_id for ticket in tickets}
    with engine.database.read() as connection:
        return {row.job_id: row for row in newest_jobs(connection, limit=10_000) if row.job_id in wanted}


def running(engine: Engine, tickets: Iterable[Ticket]) -> list[JobRow]:
    return [row for row in jobs(engine, tickets).values() if row.state == "running"]


def pid_of(row: JobRow) -> int:
    return int(row.owner.split(":")[1])


def assert_each_stored_once(
    engine: Engine, client: Client, tickets: list[Ticket], many: list[bytes], within_s: float = 30.0
) -> None:
    """Everything accepted is told, stored exactly once, and readable to the byte."""
    receipts = client.wait(tickets, within_s).unwrap()
    assert Counter(one.status for one in receipts) == {"stored": len(many)}
    assert {row.state for row in jobs(engine, tickets).values()} == {"done"}
    fields = [json.loads(one) for one in many]
    with engine.database.read() as connection:
        revisions = Counter(
            (one.library_id, one.version) for one in list_versions(connection, fields[0]["library_id"], history=True)
        )
    assert revisions == {(one["library_id"], one["version_id"]): 1 for one in fields}
    for one, data in zip(fields, many, strict=True):
        assert engine.read(one["library_id"], one["version_id"]) == data


def test_a_plain_celery_producer_needs_a_name_and_a_dict(
    celery_setup: CeleryTestSetup, worker: LocalWorker, engine: Engine
) -> None:
    text = ' {"library_id":"/raw/text", "version_id": "1.0", "é": 1.50}\n'
    by_text = celery_setup.app.send_task("strongroom.store", kwargs={"text": text})
    by_content = celery_setup.app.send_task(
        "strongroom.store", kwargs={"content": {"a": 1}, "library_id": "/raw/content", "version": "2"}
    )

    await_that(lambda: len(engine.versions("/raw/text") + engine.versions("/raw/content")) == 2, "both are stored")

    assert engine.read("/raw/text") == text.encode()
    assert engine.read("/raw/content", "2") == b'{"a":1}'
    rows = jobs(engine, [Ticket(by_text.id), Ticket(by_content.id)])
    assert [rows[one.id].state for one in (by_text, by_content)] == ["done", "done"]
    assert "Traceback" not in worker.logs()


def test_a_message_that_is_not_understood_is_a_failed_job_and_no_traceback(
    celery_setup: CeleryTestSetup, worker: LocalWorker, engine: Engine
) -> None:
    sent = [
        celery_setup.app.send_task("strongroom.store", kwargs={"text": "{}", "libary": "/a/b"}),
        celery_setup.app.send_task("strongroom.store", args=['{"library_id": "/a/b"}']),
        celery_setup.app.send_task("strongroom.verify", kwargs={"contract": 99}, queue="short"),
        celery_setup.app.send_task("strongroom.store", kwargs={"text": "[]"}, task_id="../../../tmp/outside"),
    ]
    names = [Ticket(one.id) for one in sent[:3]]
    await_that(lambda: len(jobs(engine, names)) == 3, "all are recorded")
    rows = jobs(engine, names)
    assert [rows[one.id].state for one in sent[:3]] == ["failed", "failed", "parked"], "a newer worker may know contract 99"
    assert not Path("/tmp/outside.inbox").exists()
    assert "Traceback" not in worker.logs()


def test_a_pool_process_that_is_killed_loses_nothing(worker: LocalWorker, client: Client, engine: Engine, plant: Plant) -> None:
    plant("slow")
    many = documents("/killed/child", 12)
    tickets = send(client, many)
    killed: set[int] = set()
    for _ in range(2):
        await_that(lambda: [row for row in running(engine, tickets) if pid_of(row) not in killed], "one runs")
        victim = next(pid_of(row) for row in running(engine, tickets) if pid_of(row) not in killed)
        assert victim in worker.pids
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)

    assert_each_stored_once(engine, client, tickets, many)

    assert {2} <= {row.attempts for row in jobs(engine, tickets).values()} <= {1, 2, 3}, "nobody died holding a job"


def test_a_worker_that_is_killed_loses_nothing_and_its_jobs_run_again_within_30_s(
    celery_setup: CeleryTestSetup, worker: LocalWorker, client: Client, engine: Engine, plant: Plant
) -> None:
    slow = plant("slow")
    many = documents("/killed/worker", 12)
    tickets = send(client, many)
    await_that(lambda: len(running(engine, tickets)) > 1, "several run")
    interrupted = {row.job_id for row in running(engine, tickets)}
    celery_setup.worker.kill()
    assert worker.status == "exited"
    interrupted &= {row.job_id for row in running(engine, tickets)}
    slow.unlink()
    celery_setup.worker.restart()

    assert interrupted
    assert_each_stored_once(engine, client, tickets, many)
    again = [row.started_at for name, row in jobs(engine, tickets).items() if name in interrupted]
    assert all(isinstance(started, datetime) for started in again)


def test_a_worker_that_is_killed_loses_no_message_that_it_had_taken_and_not_begun(
    celery_setup: CeleryTestSetup, broker: LocalBroker, engine: Engine, plant: Plant
) -> None:
    """Of what a worker has in hand nobody else knows but the broker: workers/taking.py."""
    slow = plant("slow")
    for number in range(6):
        text = document("/killed/messages", number).decode()
        celery_setup.app.send_task("strongroom.store", kwargs={"text": text}, queue="short", priority=3)
    await_that(lambda: broker.client.llen("short\x06\x163") <= 3, "two are being done, and the next ones are being taken")
    celery_setup.worker.kill()
    slow.unlink()
    celery_setup.worker.restart()

    await_that(lambda: len(engine.versions("/killed/messages")) == 6, "all are stored")
    await_that(lambda: broker.client.hlen("unacked") == 0, "none is in anybody's hand")


def test_a_broker_that_is_killed_loses_nothing(
    celery_setup: CeleryTestSetup, worker: LocalWorker, broker: LocalBroker, client: Client, engine: Engine, plant: Plant
) -> None:
    slow = plant("slow")
    many = documents("/killed/broker", 12)
    tickets = send(client, many[:8])
    await_that(lambda: running(engine, tickets), "one runs")
    broker.kill()
    tickets += send(client, many[8:10])
    slow.unlink()
    broker.restart()
    tickets += send(client, many[10:])

    await_that(lambda: _supervised(worker) and _all_done(engine, tickets), "all are done")
    assert_each_stored_once(engine, client, tickets, many)


def _supervised(worker: LocalWorker) -> bool:
    """Do what the service's supervisor does. Celery's worker dies of its broker's death now and then: kombu 5.7 acknowledges on a
    connection that is closed already, and raises AttributeError."""
    if not worker.process.running:
        worker.process.start()
    return True


def _all_done(engine: Engine, tickets: list[Ticket]) -> bool:
    return [row.state for row in jobs(engine, tickets).values()] == ["done"] * len(tickets)


def test_a_worker_that_was_frozen_for_a_moment_goes_on_where_it_was_and_nothing_is_done_twice(
    worker: LocalWorker, client: Client, engine: Engine, plant: Plant
) -> None:
    slow = plant("slow")
    many = documents("/frozen/worker", 8)
    tickets = send(client, many)
    await_that(lambda: running(engine, tickets), "one runs")
    worker.kill("SIGSTOP")
    frozen = {row.job_id: row.owner for row in running(engine, tickets)}
    result = client.wait(tickets, 1.0)
    assert not result.is_ok()
    slow.unlink()
    worker.kill("SIGCONT")

    assert_each_stored_once(engine, client, tickets, many)
    after = jobs(engine, tickets)
    assert {name: after[name].owner for name in frozen} == frozen
    assert {row.attempts for row in after.values()} == {1}


def test_a_broker_that_forgets_everything_loses_nothing_that_was_accepted(
    celery_setup: CeleryTestSetup, worker: LocalWorker, broker: LocalBroker, client: Client, engine: Engine
) -> None:
    many = documents("/flushed/broker", 10)
    celery_setup.worker.kill()
    tickets = send(client, many)
    assert broker.client.llen("short\x06\x163") >= len(many)  # what the killed one's children found due is there as well
    broker.client.flushall()
    celery_setup.worker.restart()

    assert_each_stored_once(engine, client, tickets, many)


def test_a_job_that_kills_whoever_runs_it_ends_in_quarantine_and_holds_nobody_up(
    celery_setup: CeleryTestSetup, worker: LocalWorker, client: Client, engine: Engine, data: Path, plant: Plant
) -> None:
    plant("poison")
    many = documents("/beside/poison", 6)
    tickets = send(client, many)
    with InboxWriter(data / "inbox", "poison-0001", receipt=True) as writer:
        writer.add(document("/poison", "1"))
        path = writer.commit()
    celery_setup.app.send_task("strongroom.store", kwargs={"inbox": path.name}, queue="short")
    ticket = Ticket("poison-0001", ("1",))

    assert_each_stored_once(engine, client, tickets, many)
    (receipt,) = client.wait(ticket, 60.0).unwrap()

    row = jobs(engine, [ticket])["poison-0001"]
    assert (row.state, row.attempts) == ("quarantined", 6)
    assert receipt.error is not None
    assert "may kill its worker" in receipt.error.hint
    assert (data / "inbox" / "failed" / path.name).exists()
    assert engine.versions("/poison") == []
