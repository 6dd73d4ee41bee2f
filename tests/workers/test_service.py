from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from strongroom.errors import BrokerUnavailable
from tests.support.processes import await_that, processes_of
from workers.broker import ping, prepare_embedded
from workers.service_lock import lock_service

CHECKOUT = Path(__file__).parents[2]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")}
PARTS = ["broker", "worker-short", "worker-long", "beat", "flower"]


def strongroom(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "workers", *map(str, words)]
    return subprocess.run(command, cwd=CHECKOUT, env=ENVIRON | settings, capture_output=True, text=True, timeout=60, check=False)


def begin(*words: str | Path, **settings: str) -> subprocess.Popen[bytes]:
    """Start a command."""
    command = [sys.executable, "-m", "workers", *map(str, words)]
    return subprocess.Popen(command, cwd=CHECKOUT, env=ENVIRON | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def state_of(data: Path) -> dict[str, Any]:
    """Read what the supervisor keeps up to date: half a second faster than the command."""
    fields: dict[str, Any] = json.loads((data / "run" / "service.json").read_text())
    return fields


@dataclass(frozen=True)
class Running:
    data: Path
    pid: int
    said_by_systemd: bytes

    def part(self, name: str) -> dict[str, Any]:
        return next(part for part in state_of(self.data)["parts"] if part["name"] == name)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(60)
        process = begin("up", "--data", folder / "data", NOTIFY_SOCKET=str(folder / "notify"))
        try:
            yield Running(folder / "data", process.pid, systemd.recv(100))
            assert strongroom("down", "--data", folder / "data").returncode == 0
            assert process.wait(60) == 0
            assert systemd.recv(100) == b"STOPPING=1"
            assert not processes_of(folder)
            assert not (folder / "data" / "run" / "service.json").exists()
        finally:
            process.kill()
            process.wait()


def test_a_ready_service_says_so_to_systemd_and_to_programs(service: Running) -> None:
    assert service.said_by_systemd == b"READY=1"
    told = strongroom("status", "--data", service.data, "--json")
    assert told.returncode == 0
    fields = json.loads(told.stdout)
    assert fields["ready"] is True
    assert fields["data"] == str(service.data)
    assert [part["name"] for part in fields["parts"]] == PARTS
    assert {part["state"] for part in fields["parts"]} == {"ready"}


def test_flower_shows_its_pages_only_to_who_knows_the_password(service: Running) -> None:
    flower = state_of(service.data)["flower"]
    assert flower["address"].startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
        urllib.request.urlopen(flower["address"] + "/workers", timeout=10)
    refusal.value.close()
    password = Path(flower["password_file"]).read_text().strip()
    token = base64.b64encode(f"{flower['user']}:{password}".encode()).decode()
    request = urllib.request.Request(flower["address"] + "/workers", headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=10) as page:
        assert page.status == 200


def test_no_password_stands_in_a_command_line_a_log_or_a_file_that_others_may_read(service: Running) -> None:
    password = (service.data / "run" / "flower-password").read_text().strip()
    commands = processes_of(service.data)
    assert len(commands) >= len(PARTS)
    assert not [command for command in commands.values() if password in command]
    for file in (path for path in service.data.rglob("*") if path.is_file()):
        if password in file.read_text("utf-8", "replace"):
            assert file.stat().st_mode & 0o077 == 0, file
            assert file.parent.name == "run", file


def test_parts_that_were_killed_are_back(service: Running) -> None:
    before = {name: service.part(name) for name in PARTS}
    for part in before.values():
        os.kill(part["pid"], signal.SIGKILL)
    for name, part in before.items():
        await_that(lambda name=name: service.part(name)["restarts"] == 1, f"{name} is started again")  # type: ignore[misc]
        assert service.part(name)["pid"] != part["pid"]
    await_that(lambda: state_of(service.data)["ready"], "all are ready again")


def test_a_second_service_on_the_folder_is_refused_and_told_who_holds_it(service: Running) -> None:
    refusal = strongroom("up", "--data", service.data, "--detach", "--json")
    assert refusal.returncode == 1
    error = json.loads(refusal.stdout)["error"]
    assert error["code"] == "data_folder_locked"
    assert f"process {service.pid}" in error["message"]
    assert state_of(service.data)["ready"] is True


def test_a_part_of_its_own_is_refused_while_a_service_runs(service: Running) -> None:
    part = subprocess.run(
        [sys.executable, "-m", "workers.part", "worker-short"],
        cwd=CHECKOUT,
        env=ENVIRON | {"STRONGROOM_DATA_DIR": str(service.data)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert part.returncode == 1
    assert f"process {service.pid}" in part.stderr


def test_of_two_services_one_may_be_killed_and_nothing_of_it_remains(service: Running, tmp_path: Path) -> None:
    assert strongroom("up", "--detach", "--quiet", "--data", tmp_path).returncode == 0
    assert "worker-short ready after" in (tmp_path / "logs" / "service.log").read_text(), "quiet is who started it, not the log"
    other = state_of(tmp_path)
    ours = state_of(service.data)
    assert other["ready"]
    assert ours["ready"]
    assert other["broker_url"] != ours["broker_url"]
    assert other["flower"]["address"] != ours["flower"]["address"]

    os.kill(other["pid"], signal.SIGKILL)
    await_that(lambda: not processes_of(tmp_path), "nothing of it remains")
    told = strongroom("status", "--data", tmp_path, "--json")
    assert told.returncode == 3
    assert json.loads(told.stdout)["ready"] is False
    assert state_of(service.data)["ready"], "the other one goes on"

    os.close(lock_service(tmp_path))
    assert strongroom("down", "--data", tmp_path).returncode == 0, "stopping what does not run is no failure"


MOMENTS: dict[str, Callable[[Path], object]] = {
    "at once": lambda _data: True,
    "the folder is locked": lambda data: (data / "metadata" / "service.lock").exists(),
    "the broker starts": lambda data: (data / "logs" / "broker.log").exists(),
    "a worker starts": lambda data: (data / "logs" / "worker-short.log").exists(),
    "a worker starts in the background": lambda data: (data / "logs" / "worker-short.log").exists(),
    "a worker is ready": lambda data: (data / "run" / "worker-short.alive").exists(),
}


def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    folders = {moment: tmp_path / moment.replace(" ", "-") for moment in MOMENTS}
    processes = {
        moment: begin("up", *["--detach"] * ("in the background" in moment), "--data", folder)
        for moment, folder in folders.items()
    }
    waiting = set(MOMENTS)

    def interrupt_those_whose_moment_has_come() -> bool:
        for moment in [moment for moment in waiting if MOMENTS[moment](folders[moment])]:
            processes[moment].send_signal(signal.SIGINT)
            waiting.remove(moment)
        return not waiting

    try:
        await_that(interrupt_those_whose_moment_has_come, "every moment came", within_s=60)
        codes = {moment: process.wait(30) for moment, process in processes.items()}
        assert not processes_of(tmp_path)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        for left in processes_of(tmp_path):
            os.kill(left, signal.SIGKILL)
    assert codes.pop("at once") in {0, 1, 130, -signal.SIGINT}, "Python itself may not have been ready"
    assert codes.pop("a worker starts in the background") == 130
    assert set(codes.values()) == {0}, codes


def test_a_running_job_ends_within_the_grace_period_or_goes_back_to_the_queue(tmp_path: Path) -> None:
    script = Path(__file__).with_name("slow_service.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=CHECKOUT,
        env=ENVIRON | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as words:
        assert words.readline() == b"READY\n"
        embedded = prepare_embedded(tmp_path)
        quick, slow = tmp_path / "quick", tmp_path / "slow"
        with Celery(broker=embedded.url, set_as_current=False) as producer:
            for file, seconds in ((quick, 1.0), (slow, 600.0)):
                producer.send_task("slow.nap", (str(file), seconds), queue="short", ignore_result=True)
        await_that(lambda: quick.exists() and slow.exists(), "both jobs run")
        process.terminate()
        assert process.wait(20) == 0
    assert quick.read_text() == "started\nended\n"
    assert slow.read_text() == "started\n"
    assert not processes_of(tmp_path)
    with subprocess.Popen(embedded.command, stdout=subprocess.DEVNULL) as broker:
        try:
            await_that(lambda: answers(embedded.url), "the broker is there again")
            with redis.Redis(unix_socket_path=str(tmp_path / "run" / "broker.sock")) as client:
                assert client.llen("short") == 1
                assert client.hlen("unacked") == 0
        finally:
            broker.terminate()


def answers(url: str) -> bool:
    try:
        ping(url, timeout_s=0.5)
    except BrokerUnavailable:
        return False
    return True


def test_a_service_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refusal = strongroom("up", "--detach", "--json", "--data", tmp_path, STRONGROOM_FLOWER_PORT=str(port))
    assert refusal.returncode == 1
    error = json.loads(refusal.stdout)["error"]
    assert error["code"] == "configuration"
    assert str(port) in error["message"]
    assert not processes_of(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    refusal = strongroom("up", "--detach", "--json", "--data", tmp_path)
    assert refusal.returncode == 1
    assert json.loads(refusal.stdout)["error"]["code"] == "data_folder"
