"""jobs wait: returns when jobs have ended, says which failed, and keeps to its time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from typer.testing import CliRunner, Result

from models.ledger import NewJob, State, queue_jobs
from strongroom.contracts import CONTRACT
from tests.support.desk import Desk, document
from workers.broker import embedded_url
from workers.cli import app, jobs_wait
from workers.cli.output import TIMED_OUT


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    """A worker's process on the test's data folder."""
    desk = Desk(data)
    yield desk
    desk.close()


def run(desk: Desk, *words: str) -> Result:
    return CliRunner().invoke(app, ["jobs", "wait", "--data", str(desk.root), *words])


def fields_of(answer: Result) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(answer.stdout)
    return fields


def do(desk: Desk, *names: str, good: bool = True) -> None:
    for name in names:
        desk.stage(name, document() if good else b"no JSON")
        desk.run(name)


def test_jobs_that_are_done_are_not_waited_for(desk: Desk) -> None:
    do(desk, "done-00001", "done-00002")
    answer = run(desk, "done-00001", "done-00002", "done-00001", "--json")
    assert answer.exit_code == 0
    assert fields_of(answer) == {"waiting": 0, "done": 2, "failed": [], "failed_count": 0, "timed_out": False}
    assert run(desk, "done-00001").stdout == "1 done, 0 not\n"


def test_a_named_job_that_failed_or_was_cancelled_is_a_failure(desk: Desk) -> None:
    do(desk, "done-00001")
    do(desk, "failed-0001", good=False)
    answer = run(desk, "done-00001", "failed-0001", "--json")
    assert answer.exit_code == 1
    assert fields_of(answer)["failed"] == [{"id": "failed-0001", "state": "failed"}]
    assert "`strongroom jobs why failed-0001`" in run(desk, "failed-0001").stderr


def test_with_all_a_failure_of_the_past_is_told_and_is_no_failure_of_the_wait(desk: Desk) -> None:
    do(desk, "failed-0001", good=False)
    answer = run(desk, "--all", "--json")
    assert answer.exit_code == 0
    assert (fields_of(answer)["waiting"], fields_of(answer)["failed_count"]) == (0, 1)
    assert "1 job of the past failed" in run(desk, "--all").stdout


def test_with_all_an_empty_ledger_is_nothing_to_wait_for(desk: Desk) -> None:
    answer = run(desk, "--all")
    assert (answer.exit_code, answer.stdout) == (0, "nothing is left to be done\n")


@pytest.mark.parametrize("state", ["queued", "running", "retrying", "parked"])
def test_with_all_any_job_that_has_not_ended_is_waited_for(desk: Desk, state: State) -> None:
    now = datetime.now(UTC)
    with desk.engine.database.write() as connection:
        queue_jobs(connection, [NewJob("waits-0001", "verify", "{}")], now, now)
        connection.exec_driver_sql(f"UPDATE job SET state = '{state}'")
    answer = run(desk, "--all", "--timeout", "0", "--json")
    assert answer.exit_code == TIMED_OUT
    assert (fields_of(answer)["timed_out"], fields_of(answer)["waiting"]) == (True, 1)


def test_with_all_an_accepted_file_that_the_ledger_does_not_know_is_waited_for(desk: Desk) -> None:
    for name in ("waits-0001", "waits-0002", "waits-0003"):
        desk.stage(name, document())
    answer = run(desk, "--all", "--timeout", "0")
    assert answer.exit_code == TIMED_OUT
    assert "3 jobs had not ended after 0 s." in answer.stderr
    desk.run("waits-0001")
    assert run(desk, "--all", "--timeout", "0").exit_code == 0


def test_with_all_a_file_that_is_left_of_an_ended_job_or_is_no_job_is_not_waited_for(desk: Desk) -> None:
    do(desk, "done-00001")
    desk.stage("done-00001", document())
    (desk.inbox / "waits-0001.abc.part").write_bytes(b"")
    assert run(desk, "--all", "--timeout", "0").exit_code == 0


def test_with_all_a_file_that_only_a_newer_worker_understands_is_not_waited_for(desk: Desk) -> None:
    desk.stage("newer-0001", document())
    desk.message("newer-0001", contract=CONTRACT + 1, inbox="newer-0001.inbox")
    assert (desk.staged, desk.job("newer-0001").state) == (["newer-0001"], "parked")
    assert run(desk, "--all", "--timeout", "0").exit_code == 0


@pytest.mark.usefixtures("served")
def test_with_all_a_message_that_no_worker_has_taken_yet_is_waited_for(desk: Desk) -> None:
    url = embedded_url(desk.root)
    assert url is not None
    with Celery("producer", broker=url, set_as_current=False) as producer, producer.connection_for_write() as connection:
        for name in ("strongroom.tree", "strongroom.probe"):
            producer.send_task(name, queue="long", connection=connection)
        producer.send_task("strongroom.store", kwargs={"inbox": "rings-for-a-file.inbox"}, queue="short", connection=connection)
        assert run(desk, "--all", "--timeout", "0").exit_code == 0, "none of them is a job of its own"
        sent = producer.send_task(
            "strongroom.store", kwargs={"text": document().decode()}, queue="celery", priority=3, connection=connection
        )
        answer = run(desk, "--all", "--timeout", "0", "--json")
        assert (answer.exit_code, fields_of(answer)["waiting"]) == (TIMED_OUT, 1)
        _take_in_hand(url, "celery\x06\x163")
        assert run(desk, "--all", "--timeout", "0").exit_code == TIMED_OUT, "a worker has it, and has not begun"
        desk.message(sent.id, text=document().decode())
        assert run(desk, "--all", "--timeout", "0").exit_code == 0, "it is done, and not acknowledged yet"
        producer.connection_for_write().default_channel.client.lpush("short", b"no JSON")
        assert run(desk, "--all", "--timeout", "0").exit_code == TIMED_OUT, "a worker will make it a failed job"


def _take_in_hand(url: str, queue: str) -> None:
    """Do what Celery's transport does when a worker takes a message."""
    with redis.Redis.from_url(url.replace("redis+socket", "unix").replace("virtual_host", "db")) as client:
        message = client.rpop(queue)
        assert isinstance(message, bytes)
        client.hset("unacked", "tag", json.dumps([json.loads(message), "", "celery"]))


def test_when_the_time_is_over_it_says_so_and_that_no_service_runs(desk: Desk) -> None:
    desk.stage("waits-0001", document())
    answer = run(desk, "waits-0001", "--timeout", "0.1")
    assert answer.exit_code == TIMED_OUT
    assert "No service runs" in answer.stderr
    assert "`strongroom up`" in answer.stderr
    fields = fields_of(run(desk, "waits-0001", "--timeout", "0", "--json"))
    assert fields["error"]["code"] == "wait_timeout"
    assert "`strongroom up`" in fields["error"]["hint"]


@pytest.mark.parametrize("words", [(), ("--all", "done-00001")])
def test_it_wants_either_ids_or_all(desk: Desk, words: tuple[str, ...]) -> None:
    do(desk, "done-00001")
    assert run(desk, *words).exit_code == 2


def at_pause(monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[[], object]) -> list[float]:
    """Have the waiting not sleep, and ``work`` be done in its pause of that number; return the pauses that it wanted."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == number:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    monkeypatch.setattr(jobs_wait.time, "sleep", pause)
    return pauses


def test_it_returns_at_the_first_look_after_the_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.stage("waits-0001", document())
    pauses = at_pause(monkeypatch, 12, lambda: desk.run("waits-0001"))
    assert run(desk, "waits-0001", "--quiet").exit_code == 0
    assert len(pauses) == 12
    assert_growing(pauses)


def test_with_all_it_waits_for_jobs_that_come_while_it_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.stage("waits-0001", document())

    def go_on() -> None:
        desk.run("waits-0001")
        desk.stage("waits-0002", document(version="2"))
        at_pause(monkeypatch, 1, lambda: desk.run("waits-0002"))

    at_pause(monkeypatch, 1, go_on)
    assert run(desk, "--all", "--quiet").exit_code == 0
    assert desk.job("waits-0002").state == "done"


def assert_growing(pauses: Sequence[float]) -> None:
    assert pauses[0] == jobs_wait.SHORTEST_S
    assert list(pauses) == sorted(pauses)
    assert pauses[-1] == jobs_wait.LONGEST_S
