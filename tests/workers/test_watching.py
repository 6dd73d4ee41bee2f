"""A real worker under a real supervisor: frozen, cut off from its queues, or merely busy for longer than it may be silent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery

from config.routes import HEARD
from tests.support.processes import ENVIRON, await_that, children_of, processes_of
from workers.broker import prepare_embedded
from workers.liveness import worked_s_ago

CHECKOUT = Path(__file__).parents[2]
SILENT_AFTER_S = 3.0


@dataclass(frozen=True)
class Service:
    folder: Path
    producer: Celery

    def nap(self, seconds: float) -> Path:
        """Send a job that takes so long; return where it writes that it started and ended."""
        notes = self.folder / f"nap-{len(list(self.folder.glob('nap-*')))}"
        notes.touch()
        self.producer.send_task("slow.nap", (str(notes), seconds), queue="short", ignore_result=True)
        return notes

    def states(self) -> list[tuple[str, int, int]]:
        lines = (self.folder / "published").read_text().splitlines()
        return [tuple(json.loads(line)["worker-short"]) for line in lines]

    @property
    def pid(self) -> int:
        return self.states()[-1][1]

    @property
    def restarts(self) -> int:
        return self.states()[-1][2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("slow")
    script = Path(__file__).with_name("slow_service.py")
    command = [sys.executable, str(script), str(folder), str(SILENT_AFTER_S)]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=ENVIRON | {"PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with process.stdout as words, Celery(broker=prepare_embedded(folder).url, set_as_current=False) as producer:
            assert words.readline() == b"READY\n"
            yield Service(folder, producer)
            process.terminate()
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert not processes_of(folder)


def ended(*naps: Path) -> bool:
    return all("ended" in nap.read_text() for nap in naps)


def test_a_probe_that_is_done_counts_as_work_and_is_not_logged(service: Service) -> None:
    before = worked_s_ago(service.folder, "worker-short")
    assert before is not None, "to be ready counts"
    await_that(lambda: (worked_s_ago(service.folder, "worker-short") or 0) > 1.1, "no work is done")
    service.producer.send_task("strongroom.probe", queue="probe-short", ignore_result=True)
    await_that(lambda: (worked_s_ago(service.folder, "worker-short") or 9) < 1, "the probe is done")
    assert "strongroom.probe[" not in (service.folder / "logs" / "worker-short.log").read_text()


def test_a_worker_whose_processes_are_all_busy_for_long_is_left_alone(service: Service) -> None:
    pid = service.pid
    naps = [service.nap(2.5 * SILENT_AFTER_S), service.nap(2.5 * SILENT_AFTER_S), service.nap(0)]
    await_that(lambda: ended(*naps), "all are done, the last after the others")
    assert (service.pid, service.restarts) == (pid, 0)
    assert "silent" not in {state for state, _, _ in service.states()}


def test_a_frozen_worker_is_killed_and_started_again_and_the_jobs_go_on(service: Service) -> None:
    pid, restarts = service.pid, service.restarts
    os.kill(pid, signal.SIGSTOP)
    naps = [service.nap(0) for _ in range(3)]  # the first goes to the frozen process, which had asked for it
    await_that(lambda: ended(*naps[1:]), "the jobs are done", within_s=SILENT_AFTER_S + 40)
    assert ("silent", pid, restarts) in service.states()
    assert service.restarts == restarts + 1
    assert pid not in processes_of(service.folder)


def test_a_worker_whose_pool_is_frozen_is_killed_and_started_again(service: Service) -> None:
    pid, restarts = service.pid, service.restarts
    for child in children_of(pid):
        os.kill(child, signal.SIGSTOP)
    naps = [service.nap(0) for _ in range(6)]  # more than the worker fetches beforehand
    await_that(lambda: service.restarts == restarts + 1, "it is started again", within_s=SILENT_AFTER_S + 40)
    assert ("silent", pid, restarts) in service.states()
    await_that(lambda: sum(map(ended, naps)) >= 2, "the jobs that it had not fetched are done")


def test_a_worker_that_no_longer_hears_its_queues_is_killed_and_started_again(service: Service) -> None:
    await_that(lambda: service.states()[-1][0] == "ready", "it is ready")
    pid, restarts = service.pid, service.restarts
    for queue in HEARD["short"]:
        service.producer.control.cancel_consumer(queue)
    await_that(lambda: deaf(service), "it hears no queue")
    nap = service.nap(0)
    await_that(lambda: ended(nap), "the job is done", within_s=SILENT_AFTER_S + 40)
    assert ("silent", pid, restarts) in service.states()
    assert service.restarts == restarts + 1


def deaf(service: Service) -> bool:
    heard = service.producer.control.inspect(timeout=1.0).active_queues()
    return heard is not None and not any(heard.values())
