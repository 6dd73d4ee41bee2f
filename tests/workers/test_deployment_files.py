from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from strongroom.errors import BrokerUnavailable
from tests.support.processes import await_that, processes_of
from workers import parts
from workers.broker import embedded_url, ping, prepare_embedded
from workers.health import main as health
from workers.loopback import free_port, page_answers

CHECKOUT = Path(__file__).parents[2]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
SECRETS = {"STRONGROOM_REDIS_PASSWORD": "a0b1c2d3e4f5", "STRONGROOM_FLOWER_PASSWORD": "f5e4d3c2b1a0"}


@dataclass(frozen=True)
class Started:
    """The commands of a deployment file, running."""

    data: Path
    flower_port: int
    broker_url: str
    processes: dict[str, subprocess.Popen[bytes]]

    def is_ready(self, name: str) -> bool:
        process = self.processes[name]
        assert process.poll() is None, f"{name} ended: {(self.data.parent / name).read_text()}"
        if name == "broker":
            return answers(self.broker_url)
        if name == "flower":
            return page_answers(self.flower_port, "/healthcheck")
        return (self.data / "run" / f"{name}.alive").exists()


def answers(url: str) -> bool:
    try:
        ping(url, timeout_s=0.5)
    except BrokerUnavailable:
        return False
    return True


def stop(started: Started) -> None:
    """Stop the broker last, as Docker does: a worker that loses it while it stops goes on looking for it."""
    try:
        for names in (set(started.processes) - {"broker"}, {"broker"}):
            for name in names:
                started.processes[name].terminate()
            for name in names:
                started.processes[name].wait(20)
    finally:
        for process in started.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def start(folder: Path, name: str, command: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / name).open("wb") as output:
        return subprocess.Popen(
            command, cwd=CHECKOUT, env=ENVIRON | settings, stdout=output, stderr=output, start_new_session=True
        )


def procfile() -> dict[str, str]:
    lines = [line.partition(":") for line in (CHECKOUT / "Procfile").read_text().splitlines() if line]
    return {name: command.strip() for name, _, command in lines}


def compose() -> dict[str, Any]:
    def value(match: re.Match[str]) -> str:
        return SECRETS[match[1]]

    text = re.sub(r"\$\{(\w+):\?[^}]*\}", value, (CHECKOUT / "docker-compose.yml").read_text())
    assert "$" not in text, "every variable is required and known to this test"
    fields: dict[str, Any] = yaml.safe_load(text)
    return fields


@pytest.fixture(scope="module")
def by_procfile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("procfile")
    data, port = folder / "data", free_port()
    settings = {"STRONGROOM_DATA_DIR": str(data), "STRONGROOM_FLOWER_PORT": str(port)}
    processes = {name: start(folder, name, shlex.split(command), settings) for name, command in procfile().items()}
    started = Started(data, port, embedded_url(data) or "", processes)
    yield started
    stop(started)
    assert not processes_of(data)


@pytest.fixture(scope="module")
def by_compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Each container's command, with this host in the place of its file system, names and ports."""
    folder = tmp_path_factory.mktemp("compose")
    data, broker_port, flower_port = folder / "data", free_port(), free_port()
    fields = compose()
    translation = {
        "@broker:6379": f"@127.0.0.1:{broker_port}",
        "port 6379": f"port {broker_port}",
        "/etc/strongroom-broker.conf": str(folder / "broker.conf"),
        "redis-server": prepare_embedded(folder).command[0],
        "/data": str(data),
        "5555": str(flower_port),
        "0.0.0.0": "127.0.0.1",
    }

    def here(text: str) -> str:
        for there, replacement in translation.items():
            text = text.replace(there, replacement)
        return sys.executable if text == "python" else text

    (folder / "broker.conf").write_text(here(fields["configs"]["broker"]["content"]) + f'\ndir "{folder}"\n')
    processes = {}
    for name, container in fields["services"].items():
        settings = {key: here(text) for key, text in container["environment"].items()}
        processes[name] = start(folder, name, [here(word) for word in container["command"]], settings)
    url = here(fields["services"]["beat"]["environment"]["STRONGROOM_BROKER_URL"])
    started = Started(data, flower_port, url, processes)
    yield started
    stop(started)
    assert not processes_of(folder)


def test_the_procfile_names_every_part() -> None:
    assert tuple(procfile()) == parts.NAMES


def test_the_compose_file_names_every_part() -> None:
    assert tuple(compose()["services"]) == parts.NAMES


@pytest.mark.parametrize("name", parts.NAMES)
def test_each_command_of_the_procfile_becomes_ready(by_procfile: Started, by_compose: Started, name: str) -> None:
    await_that(lambda: by_procfile.is_ready(name), f"{name} is ready", within_s=60)


@pytest.mark.parametrize("name", parts.NAMES)
def test_each_command_of_the_compose_file_becomes_ready(by_compose: Started, name: str) -> None:
    await_that(lambda: by_compose.is_ready(name), f"{name} is ready", within_s=60)


def test_a_service_of_single_parts_is_found_by_status_and_by_clients(by_procfile: Started) -> None:
    data = by_procfile.data
    told = subprocess.run(
        [sys.executable, "-m", "workers", "status", "--json", "--data", str(data)],
        cwd=CHECKOUT,
        env=ENVIRON,
        capture_output=True,
        timeout=30,
        check=False,
    )
    fields = json.loads(told.stdout)
    assert told.returncode == 0, fields
    assert fields["ready"] is True
    assert fields["flower"]["address"] == f"http://127.0.0.1:{by_procfile.flower_port}"
    assert {part["name"] for part in fields["parts"]} == set(parts.NAMES)
    assert json.loads((data / "run" / "service.json").read_text())["broker_url"] == by_procfile.broker_url


@pytest.mark.parametrize("name", [name for name in parts.NAMES if name != "broker"])
def test_each_health_check_of_the_compose_file_tells_life_from_death(
    by_compose: Started, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = compose()["services"][name]["healthcheck"]["test"]
    assert test == ["CMD", "python", "-m", "workers.health", name]
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(by_compose.data))
    monkeypatch.setenv("STRONGROOM_BROKER_URL", by_compose.broker_url)
    monkeypatch.setenv("STRONGROOM_FLOWER_PORT", str(by_compose.flower_port))
    assert health(name) == 0
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("STRONGROOM_FLOWER_PORT", str(free_port()))
    assert health(name) == 1


def test_no_secret_of_the_compose_file_reaches_a_command_line_or_the_output(by_compose: Started) -> None:
    for name in parts.NAMES:
        await_that(lambda name=name: by_compose.is_ready(name), f"{name} is ready", within_s=60)  # type: ignore[misc]
    seen = " ".join(processes_of(by_compose.data.parent).values())
    seen += "".join((by_compose.data.parent / name).read_text() for name in parts.NAMES)
    assert not [secret for secret in SECRETS.values() if secret in seen]


def test_containers_have_no_more_rights_than_they_need() -> None:
    for name, container in compose()["services"].items():
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert container["healthcheck"]["test"], name
        if name != "broker":
            assert container["read_only"] is True, name
            assert container["volumes"] == ["data:/data"], name
    assert compose()["services"]["flower"]["ports"] == ["127.0.0.1:5555:5555"], "Flower's metrics ask for no password"
    assert "ports" not in compose()["services"]["broker"]
    assert "appendonly yes" in compose()["configs"]["broker"]["content"]


def test_the_image_is_made_from_locked_dependencies_and_runs_as_nobody_special() -> None:
    lines = (CHECKOUT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    allowed = {line.removeprefix("!") for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == allowed
    assert all((CHECKOUT / source).exists() for source in copied)
    assert {"strongroom", "config", "models", "storage", "tasks", "workers"} <= set(copied)
    assert any("--require-hashes" in line for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users == ["strongroom"]
    assert not re.search(r"https?://|--index-url|--find-links", "\n".join(lines))


def test_the_systemd_unit_waits_for_readiness_and_gives_the_service_time_to_stop() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case of names
    unit.read(CHECKOUT / "deploy" / "strongroom.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed", "the supervisor alone is asked to stop"
    assert service["ExecStart"].split()[1:] == ["up"]
    assert int(service["TimeoutStopSec"]) > 60 + 45
    assert service["NoNewPrivileges"] == "yes"
    assert service["User"] != "root"
