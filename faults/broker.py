"""A broker of the suite's own, outside the service: it goes, stays away, and comes back with its data or without."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from faults.processes import await_that
from strongroom.errors import BrokerUnavailable
from workers.broker import ping, prepare_embedded
from workers.processes import death_bond


class Broker:
    """A Valkey in a folder of its own, set up as the embedded one is."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir(parents=True)
        self._folder = folder
        made = prepare_embedded(folder)
        self.url, self._command = made.url, made.command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=death_bond(),  # noqa: PLW1509  # the library it calls is loaded before the fork
            )
        await_that(self.answers, "the broker answers", 20)

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            ping(self.url, timeout_s=1.0)
        except BrokerUnavailable:
            return False
        return True

    def go(self, *, with_data: bool) -> None:
        """End it; ``with_data``: in order, its file flushed; else at once, and what it kept is thrown away."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM if with_data else signal.SIGKILL)
        self._process.wait(20)
        if not with_data:
            for kept in (self._folder / "run" / "broker").glob("appendonlydir*"):
                shutil.rmtree(kept)
        assert not self.answers(), "the broker is gone and answers"
