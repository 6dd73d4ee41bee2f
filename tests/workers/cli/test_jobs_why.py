"""jobs why: what it looks at. The words are tested in test_why.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.signals import worker_shutdown
from typer.testing import CliRunner, Result

from models.leases import take_leases
from models.ledger import NewJob, queue_jobs
from tests.support.desk import Desk, document
from workers import pulse
from workers.cli import app
from workers.cli.jobs_why import service_runs
from workers.liveness import give_sign
from workers.service_state import FlowerState, ServiceState, remove_state, write_state

NOW = datetime.now(UTC)


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    """A worker's process on the test's data folder."""
    desk = Desk(data)
    yield desk
    desk.close()


def run(desk: Desk, *words: str, **settings: str) -> Result:
    environment = {f"STRONGROOM_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(app, ["jobs", "why", "--data", str(desk.root), *words], env=environment)


def asked(desk: Desk, job_id: str, **settings: str) -> dict[str, Any]:
    answer = run(desk, job_id, "--json", **settings)
    assert answer.exit_code == 0, answer.output
    fields: dict[str, Any] = json.loads(answer.stdout)
    return fields


def enter(desk: Desk, *names: str, begun: bool = False, kind: str = "verify", queue: str = "long") -> None:
    for number, name in enumerate(names):
        with desk.engine.database.write() as connection:
            job = NewJob(name, kind, "{}", queue=queue, accepted_at=NOW - timedelta(seconds=60 - number))
            if begun:
                take_leases(connection, [job], "host:81:worker1:lock:3", NOW, lambda _row: "dead")
            else:
                queue_jobs(connection, [job], NOW, NOW + timedelta(seconds=20))


def test_without_a_service_it_says_so(desk: Desk) -> None:
    enter(desk, "verify-001", "verify-002")
    said = asked(desk, "verify-002")
    assert (said["id"], said["state"], said["position"], said["service_runs"]) == ("verify-002", "queued", 2, False)
    assert "`strongroom up`" in said["why"]


def test_with_workers_at_work_it_says_what_they_are_busy_with(desk: Desk) -> None:
    enter(desk, "verify-001", begun=True)
    enter(desk, "verify-002", "verify-003")
    give_sign(desk.root, "worker-long")
    said = asked(desk, "verify-003", long_concurrency="1")
    assert "busy with verify verify-001; position 2" in said["why"]
    assert (said["busy_with"], said["position"], said["service_runs"]) == (["verify-001"], 2, True)
    assert "busy" not in asked(desk, "verify-003", long_concurrency="2")["why"]


def test_a_limit_of_the_kind_is_found_in_the_settings(desk: Desk) -> None:
    enter(desk, "verify-001", begun=True)
    enter(desk, "verify-002")
    give_sign(desk.root, "worker-short")
    said = asked(desk, "verify-002", kind_limits='{"verify": 1}')
    assert "1 other verify job runs and the limit is 1" in said["why"]
    assert (said["limit_of_kind"], said["running_of_kind"]) == (1, 1)


def test_a_broker_that_does_not_answer_is_no_reason_to_fail(desk: Desk) -> None:
    enter(desk, "verify-001")
    give_sign(desk.root, "worker-long")
    said = asked(desk, "verify-001", broker_url="redis://127.0.0.1:1/0")
    assert "messages_in_queue" not in said
    assert "its message is in the long queue" in said["why"]


def test_a_running_job_says_where(desk: Desk) -> None:
    enter(desk, "verify-001", begun=True)
    said = asked(desk, "verify-001")
    assert said["why"].startswith("running on host:81 for ")
    assert said["owner"] == "host:81:worker1:lock:3"


def test_a_failed_job_says_where_its_payload_is(desk: Desk) -> None:
    desk.stage("failed-0001", b"no JSON")
    desk.run("failed-0001")
    said = asked(desk, "failed-0001")
    assert said["kept_at"] == str(desk.root / "inbox" / "failed" / "failed-0001.inbox")
    assert said["kept_at"] in said["why"]
    assert "`strongroom jobs retry failed-0001`" in said["why"]
    assert said["error"] == "not_json"


def test_an_accepted_file_that_the_ledger_does_not_know_has_its_place_in_the_queue(desk: Desk) -> None:
    enter(desk, "store-0001", kind="store", queue="short")
    desk.stage("waits-0001", document())
    give_sign(desk.root, "worker-short")
    said = asked(desk, "waits-0001")
    assert "no worker has taken it up yet; position 2 in the short queue" in said["why"]


def test_people_get_the_sentence_first_and_then_the_facts(desk: Desk) -> None:
    enter(desk, "verify-001")
    lines = run(desk, "verify-001").stdout.splitlines()
    assert lines[0].startswith("waiting ")
    assert any(line.split() == ["position", "1"] for line in lines)


def test_what_a_service_that_has_ended_left_behind_is_no_service(data: Path) -> None:
    give_sign(data, "worker-short")
    assert service_runs(data), "a worker that was started by itself tells nobody else that it is there"
    write_state(ServiceState(1, "of long ago", "", str(data), "redis://x", FlowerState("", "", None), (), ready=True))
    assert not service_runs(data), "its supervisor was killed, and its workers died with it"
    give_sign(data, "worker-short")
    pulse._part[:] = ["worker-short"]
    try:
        pulse._data.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STRONGROOM_DATA_DIR", str(data))
            worker_shutdown.send(sender=None)
    finally:
        pulse._part.clear()
        pulse._data.cache_clear()
    remove_state(data)
    assert not service_runs(data), "a worker that ends takes its sign away"
