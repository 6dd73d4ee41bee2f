"""outbox shows exactly what was accepted and no worker has taken, whatever is not there, and flush tells the broker of it."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import update
from typer.testing import CliRunner

from models.ledger import NewJob, queue_jobs
from models.tables import Job, table_of
from storage.engine import Engine
from strongroom.client import Client
from strongroom.inbox import InboxWriter
from strongroom.routes import Priority
from workers.cli import app


def run(data: Path, *words: str | Path) -> tuple[int, Any]:
    answer = CliRunner().invoke(app, ["--data", str(data), "outbox", *map(str, words), "--json"])
    return answer.exit_code, json.loads(answer.stdout)


def told(data: Path, *words: str | Path) -> str:
    answer = CliRunner().invoke(app, ["--data", str(data), "outbox", *map(str, words)], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    return answer.output


def accept(data: Path, job: str, documents: int = 1, *, age_s: float = 0, priority: Priority = "normal") -> Path:
    with InboxWriter(data / "inbox", job, priority=priority) as writer:
        for _ in range(documents):
            writer.add(b"{}")
        path = writer.commit()
    then = datetime.now(UTC).timestamp() - age_s
    os.utime(path, (then, then))
    return path


def messages(data: Path, step: str = "") -> list[str]:
    with redis.Redis(unix_socket_path=str(data / "run" / "broker.sock")) as client:
        return [json.loads(raw)["headers"]["id"] for raw in reversed(client.lrange(f"short{step}", 0, -1))]


def test_what_was_accepted_is_shown_oldest_first_without_a_service(data: Path) -> None:
    accept(data, "job-young", 2, age_s=10)
    path = accept(data, "job-older", age_s=3600)
    code, rows = run(data)
    assert code == 0
    assert [row["job"] for row in rows] == ["job-older", "job-young"]
    assert [row["documents"] for row in rows] == [1, 2]
    assert rows[0]["bytes"] == path.stat().st_size
    assert [row["broker_answers"] for row in rows] == [False, False]
    waited = datetime.now(UTC) - datetime.fromisoformat(rows[0]["waiting_since"])
    assert timedelta(hours=1) <= waited < timedelta(hours=2)
    shown = told(data)
    assert shown.index("job-older") < shown.index("job-young")
    assert "3,6" in shown
    assert f"strongroom up --data {data}" in shown


def test_only_what_a_worker_has_never_taken_is_shown(data: Path) -> None:
    names = ["job-unknown", "job-queued", "job-running", "job-retrying", "job-done"]
    for name in names:
        accept(data, name)
    now = datetime.now(UTC)
    table = table_of(Job)
    with Engine(data).open() as engine, engine.database.write() as connection:
        queue_jobs(connection, [NewJob(name, "store", f"{name}.inbox") for name in names[1:]], now, now)
        for name, state, attempts in (("job-running", "running", 1), ("job-retrying", "queued", 2), ("job-done", "done", 1)):
            connection.execute(update(table).where(table.c.job_id == name).values(state=state, attempts=attempts))
    assert {row["job"] for row in run(data)[1]} == {"job-unknown", "job-queued"}


def test_nothing_else_in_the_inbox_is_taken_for_a_job(data: Path) -> None:
    inbox = data / "inbox"
    (inbox / "receipts").mkdir(exist_ok=True)
    for name in ("a.part", "short.inbox", "readme.txt"):
        (inbox / name).write_bytes(b"")
    assert run(data) == (0, [])
    assert "Nothing waits" in told(data)


def test_a_damaged_file_is_shown_as_one_that_cannot_be_read(data: Path) -> None:
    (data / "inbox" / "job-damaged.inbox").write_bytes(b"no footer")
    (row,) = run(data)[1]
    assert (row["job"], row["documents"], row["bytes"]) == ("job-damaged", None, 9)
    assert "unreadable" in told(data)


@pytest.mark.parametrize("kept", [set(), {"strongroom.json"}, {"strongroom.json", "metadata"}])
def test_it_works_when_there_is_no_catalogue_yet(data: Path, kept: set[str]) -> None:
    for path in data.iterdir():
        if path.name in {"inbox", *kept}:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for path in (data / "metadata").glob("catalogue.db*"):
        path.unlink()
    accept(data, "job-00001")
    assert [row["job"] for row in run(data)[1]] == ["job-00001"]
    assert "job-00001" in told(data)


def test_a_folder_that_is_not_there_is_an_error_and_one_that_is_empty_is_not(tmp_path: Path) -> None:
    code, answer = run(tmp_path / "nowhere")
    assert (code, answer["error"]["code"]) == (1, "data_folder")
    code, answer = run(tmp_path, "--folder", tmp_path / "nowhere")
    assert (code, answer["error"]["code"]) == (1, "data_folder")
    assert run(tmp_path) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_many_are_counted_and_the_first_are_shown(data: Path) -> None:
    for number in range(55):
        accept(data, f"job-{number:05}", age_s=100 - number)
    shown = told(data)
    assert "job-00049" in shown
    assert "job-00050" not in shown
    assert "and 5 more" in shown
    assert "55 jobs" in shown
    assert len(run(data)[1]) == 55


def test_flush_rings_for_each_in_order_and_by_its_priority(served: Path) -> None:
    for age_s, name in enumerate(["job-00003", "job-00002", "job-00001"]):
        accept(served, name, age_s=age_s)
    accept(served, "job-first", priority="high")
    (served / "inbox" / "job-damaged.inbox").write_bytes(b"no footer")
    assert run(served)[1][0]["broker_answers"] is True
    assert "The broker answers" in told(served)
    assert run(served, "flush") == (0, {"delivered": 5})
    assert messages(served) == ["job-first"]
    assert messages(served, "\x06\x163") == ["job-00001", "job-00002", "job-00003", "job-damaged"]
    assert "told of 5 jobs" in told(served, "flush")


def test_flush_without_a_broker_says_so(data: Path) -> None:
    accept(data, "job-00001")
    code, answer = run(data, "flush")
    assert (code, answer["error"]["code"]) == (3, "broker_unavailable")


def test_a_clients_outbox_is_shown_and_flushed(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    with Client(broker_url="redis+socket:///nowhere?virtual_host=0", outbox=folder) as client:
        tickets = [client.store(b"{}").unwrap() for _ in range(3)]
    code, rows = run(served, "--folder", folder)
    assert code == 0
    assert [(row["job"], row["documents"]) for row in rows] == [(ticket.request_id, 1) for ticket in tickets]
    assert tickets[0].request_id in told(served, "--folder", folder)
    assert run(served, "flush", "--folder", folder) == (0, {"delivered": 3})
    assert run(served, "--folder", folder) == (0, [])
    assert messages(served, "\x06\x163") == [ticket.request_id for ticket in tickets]


def test_the_folder_may_stand_before_the_command_too(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    with Client(broker_url="redis+socket:///nowhere?virtual_host=0", outbox=folder) as client:
        client.store(b"{}").unwrap()
    assert run(served, "--folder", folder, "flush") == (0, {"delivered": 1})
