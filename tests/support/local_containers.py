"""pytest-celery's containers as real local processes: the same classes and calls, no Docker engine.

Not its readiness and log calls: those match lines of an earlier start, and poll once a second.
"""

from __future__ import annotations

import os
import signal as signals
import subprocess
from pathlib import Path
from typing import Any

import redis
from pytest_celery import CeleryWorkerContainer, RedisContainer

from tests.support.processes import ENVIRON, Process, await_that, children_of


class _Local:
    """What a test does with a container, done with a process."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def id(self) -> str:
        return f"{self.process.pid:012}"

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def status(self) -> str:
        return "running" if self.process.running else "exited"

    @property
    def pids(self) -> list[int]:
        """The process and its children: for a worker, its pool."""
        return [self.process.pid, *children_of(self.process.pid)]

    def ready(self) -> bool:
        self.process.await_ready()
        return True

    def logs(self) -> str:
        return self.process.new_log()

    def wait_for_log(self, text: str, within_s: float = 20.0) -> None:
        await_that(lambda: text in self.logs(), f"{self.name} logs {text!r}", within_s)

    def reload(self) -> None:
        """Nothing is remembered that could be out of date."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal)
        if number == signals.SIGKILL:
            self.process.kill()
        else:
            self.process.signal(number)

    def restart(self, timeout: float = 20.0) -> None:
        if self.process.running:
            self.process.stop(timeout)
        self.process.start().await_ready()

    def teardown(self) -> None:
        """The processes belong to the session, which ends them."""

    def exec_run(self, command: list[str], **_options: object) -> tuple[int, bytes]:
        done = subprocess.run(command, env=ENVIRON, capture_output=True, check=False)
        return done.returncode, done.stdout


class LocalBroker(_Local, RedisContainer):
    """The embedded Valkey as pytest-celery's Redis."""

    def __init__(self, process: Process, url: str, socket: Path) -> None:
        super().__init__(process)
        self._url, self._socket = url, socket

    @property
    def client(self) -> Any:
        return redis.Redis(unix_socket_path=os.fspath(self._socket), decode_responses=True)

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {"url": self._url, "host_url": self._url}


class LocalWorker(_Local, CeleryWorkerContainer):
    """One of the service's workers as pytest-celery's worker."""

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {}
