"""The demo's own ``strongroom up``: started as a child that cannot outlive the demo, awaited, stopped."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from workers.demo.folder import DemoFolder
from workers.demo.interruption import Deadline, Interruption
from workers.logs import tail
from workers.parts import CHECKOUT
from workers.processes import kill_group, spawn
from workers.service_lock import lock_service
from workers.service_state import FlowerState, ServiceState, read_state
from workers.supervisor import ServiceFailed

READY_WITHIN_S = 60.0
_PATIENCE_S, _HURRIED_S = 10.0, 0.3
_REQUESTS = 6


class DemoService:
    """The service on the demo's data folder."""

    def __init__(self, folder: DemoFolder, environ: Mapping[str, str], interruption: Interruption) -> None:
        self._folder = folder
        self._environ = environ
        self._interruption = interruption
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Must be called while this process has one thread."""
        command = (sys.executable, "-m", "workers", "up", "--data", str(self._folder.data))
        with self._folder.log.open("ab") as log:
            self._process = spawn(command, self._environ, CHECKOUT, log, ())

    def await_ready(self) -> ServiceState:
        """Return its state when all its parts are ready.

        Raises:
            ServiceFailed: it ended, or was not ready in time.
        """
        deadline = Deadline(READY_WITHIN_S)
        while (state := read_state(self._folder.data)) is None or not state.ready:
            if self._process is None or self._process.poll() is not None:
                raise self._failure("ended before it was ready")
            if deadline.over:
                raise self._failure(f"was not ready after {READY_WITHIN_S:.0f} s")
            self._interruption.pause(0.05)
        return state

    def stop(self, *, hurry: bool = False) -> None:
        """Stop it, and return when it has ended. Does nothing the second time.

        ``hurry``: no job of it matters any more. Whoever asks to stop meanwhile hurries it too: being asked again, the
        service stops waiting for its parts. When it does not end at all, it is killed, and its parts with it.
        """
        if self._process is None:
            return
        for _ in range(_REQUESTS):
            self._process.terminate()
            self._await_end(_HURRIED_S if hurry else _PATIENCE_S)
        if self._process.poll() is None:
            kill_group(self._process.pid)
            self._process.wait()
        self._process = None

    def _await_end(self, within_s: float) -> None:
        asked = self._interruption.asked
        deadline = Deadline(within_s)
        while self._process and self._process.poll() is None and not deadline.over and asked == self._interruption.asked:
            self._interruption.doze(0.05)

    def prove_gone(self) -> None:
        """Return when no process of the service is left: each holds the folder's lock for as long as it lives.

        Raises:
            DataFolderLocked: one is left after five seconds.
        """
        os.close(lock_service(self._folder.data))

    def _failure(self, what: str) -> ServiceFailed:
        log = self._folder.log
        return ServiceFailed(f"The service {what}.", f"The end of {log} says why.", {"log": tail(log)})


def flower_answers(flower: FlowerState) -> bool:
    """Tell whether Flower lets in who has the password, and nobody else."""
    password = Path(flower.password_file).read_text("utf-8").strip() if flower.password_file else ""
    secret = base64.b64encode(f"{flower.user}:{password}".encode()).decode("ascii")
    return _status(flower.address, {}) == 401 and _status(flower.address, {"Authorization": f"Basic {secret}"}) == 200


def _status(address: str, headers: Mapping[str, str]) -> int | None:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=5.0)  # knows no proxy of the environment's
    try:
        connection.request("GET", "/", headers=headers)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
