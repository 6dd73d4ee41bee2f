"""Processes that a test starts, looks at, freezes and kills. None outlives the test run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workers.processes import death_bond, has_exited, kill_group

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("STRONGROOM_", "CELERY_", "FLOWER_"))}


class Process:
    """A command that can be started again and again, in a process group of its own, with its output in one log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str],
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self.name, self.log = name, log
        self._command, self._environment, self._is_ready, self._prepare = command, environment, is_ready, prepare
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and not has_exited(self._process.pid)

    def start(self) -> Process:
        """Start it, without waiting for anything."""
        assert not self.running
        self.kill()
        self._prepare()
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=death_bond(),  # noqa: PLW1509 # the library it calls is loaded before the fork
            )
        return self

    def await_ready(self, within_s: float = 60.0) -> Process:
        """Return when it is ready; fail with the end of its log when it is not in time."""
        deadline = time.monotonic() + within_s
        while not self._is_ready():
            assert self.running, f"{self.name} ended:\n{self.new_log()[-3000:]}"
            assert time.monotonic() < deadline, f"{self.name} was not ready in time:\n{self.new_log()[-3000:]}"
            time.sleep(0.01)
        return self

    def signal(self, number: int) -> None:
        """Send a signal to all of its group."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL all of its group and reap it."""
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
            self._process = None

    def stop(self, within_s: float = 60.0) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(within_s)
        self._process = None
        return code

    def new_log(self) -> str:
        """What it said since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode("utf-8", "replace")


def children_of(pid: int) -> list[int]:
    """Return the numbers of the live children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return sorted(found)


def processes_of(folder: Path) -> dict[int, str]:
    """Return the live processes that name ``folder`` in their command line or environment, with their command lines."""
    needle = os.fsencode(folder)
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
            command = (entry / "cmdline").read_bytes()
            if state != b"Z" and needle in command + (entry / "environ").read_bytes():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def await_that(condition: Callable[[], object], what: str, within_s: float = 60.0) -> float:
    """Return after how many seconds ``condition`` held; fail, saying ``what`` did not come true, when it does not in time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started
