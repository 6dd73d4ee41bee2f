"""Flower's process with our pages, in a whole service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import CHECKOUT, ENVIRON, await_that, processes_of
from workers import parts
from workers.health import main as health
from workers.liveness import SILENT_AFTER_S
from workers.loopback import free_port


def strongroom(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers", *map(str, words)]
    return subprocess.run(command, cwd=CHECKOUT, env=ENVIRON | settings, capture_output=True, text=True, timeout=90, check=False)


@dataclass(frozen=True)
class Running:
    data: Path
    port: int

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def health(self) -> tuple[int, dict[str, Any]]:
        status, text = self.page("/health")
        return status, json.loads(text)

    def metrics(self) -> dict[str, float]:
        lines = (line.rpartition(" ") for line in self.page("/metrics")[1].splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def part(self, name: str) -> dict[str, Any]:
        state = json.loads((self.data / "run" / "service.json").read_text())
        found: dict[str, Any] = next(part for part in state["parts"] if part["name"] == name)
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data, port = tmp_path_factory.mktemp("web"), free_port()
    started = strongroom("up", "--detach", "--data", data, STRONGROOM_FLOWER_PORT=str(port))
    try:
        assert started.returncode == 0, started.stderr
        yield Running(data, port)
    finally:
        strongroom("down", "--now", "--data", data)
    assert not processes_of(data)


def test_a_healthy_service_says_so_without_a_password_and_tells_no_secret(service: Running) -> None:
    status, fields = service.health()
    assert status == 200, fields
    assert fields == {
        "ready": True,
        "parts": dict.fromkeys(parts.NAMES, "ready"),
        "broker": True,
        "database": True,
        "oldest_waiting_s": fields["oldest_waiting_s"],
    }
    password = (service.data / "run" / "flower-password").read_text().strip()
    for path in ("/health", "/metrics"):
        text = service.page(path)[1]
        assert password not in text
        assert str(service.data) not in text
    assert service.page("/workers")[0] == 401, "Flower's own pages still ask for it"


def test_the_metrics_are_flowers_and_ours(service: Running, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"library_id": "/a/b", "version_id": "1"}')
    assert strongroom("store", tmp_path / "a.json", "--wait", "--data", service.data).returncode == 0
    stored = 'strongroom_jobs{kind="store",state="done"}'
    await_that(lambda: service.metrics().get(stored) == 1, "the job is counted")
    metrics = service.metrics()
    assert {name: value for name, value in metrics.items() if name.startswith("strongroom_part_up")} == {
        f'strongroom_part_up{{part="{name}"}}': 1.0 for name in parts.NAMES
    }
    for name in ("broker_up", "database_up", "ready"):
        assert metrics[f"strongroom_{name}"] == 1
    assert metrics["strongroom_inbox_files"] == 0
    assert metrics["strongroom_oldest_waiting_job_seconds"] < 60
    assert metrics['strongroom_queue_messages{queue="short"}'] == 0
    assert metrics['strongroom_part_worked_seconds_ago{part="worker-long"}'] < SILENT_AFTER_S
    assert any(name.startswith("strongroom_build_info{") for name in metrics)
    assert any(re.match(r'flower_events_total\{task="strongroom.store"', name) for name in metrics)
    assert not [name for name in metrics if "strongroom.probe" in name], "probes leave no event"


def test_status_tells_when_each_worker_last_worked(service: Running) -> None:
    fields = json.loads(strongroom("status", "--json", "--data", service.data).stdout)
    ages = {part["name"]: part["worked_s_ago"] for part in fields["parts"]}
    assert {name for name, age in ages.items() if age is not None} == {"worker-short", "worker-long"}
    assert max(ages["worker-short"], ages["worker-long"]) < SILENT_AFTER_S
    assert "s ago" in strongroom("status", "--data", service.data).stdout


def test_probes_fill_no_log(service: Running) -> None:
    await_that((service.data / "run" / "worker-long.worked").exists, "probes are done")
    for log in ("beat", "worker-short", "worker-long"):
        text = (service.data / "logs" / f"{log}.log").read_text()
        assert "strongroom.probe[" not in text
        assert "(strongroom.probe)" not in text


@pytest.mark.slow
def test_a_frozen_worker_makes_the_service_unhealthy_until_it_is_started_again(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(service.data))
    monkeypatch.setenv("STRONGROOM_FLOWER_PORT", str(service.port))
    assert (health("worker-short"), health("flower")) == (0, 0)
    os.kill(service.part("worker-short")["pid"], signal.SIGSTOP)
    await_that(lambda: service.health()[0] == 503, "the service is unhealthy", within_s=SILENT_AFTER_S + 40)
    assert service.health()[1]["parts"]["worker-short"] != "ready"
    assert health("flower") == 1
    await_that(lambda: service.health()[0] == 200, "it is healthy again")
    assert service.part("worker-short")["restarts"] == 1
