"""One part as a running process: started, found ready, found dead, started again with growing pauses, stopped step by step."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from workers.liveness import remove_sign
from workers.logs import PartLog
from workers.parts import CHECKOUT, Part, StopStep
from workers.processes import has_exited, kill_group, spawn
from workers.service_state import PartState
from workers.watch import Seen, Watcher

SOON_S = 1.0
"""The pause before a start that somebody waits for. With the start itself it is under 2 s."""

START_WITHIN_S = 60.0
_STEADY_AFTER_S = 20.0
_HURRY_S = 3.0


class Child:
    """Holds at most one live process of ``part`` at a time."""

    def __init__(self, part: Part, data: Path, keep_open: int) -> None:
        self.part = part
        self.log = PartLog(data / "logs" / f"{part.name}.log")
        self.ready = False
        self.was_ready = False
        self.restarts = 0
        self.failures = 0
        self._data = data
        self._keep_open = keep_open
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._ended_s = 0.0
        self._due_s = 0.0
        self._steps: list[StopStep] | None = None
        self._patience_until_s = 0.0
        self._hurried = 0
        self._watchers: list[Watcher] = []
        self._silent = False

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return self._process.pid if self._process else None

    @property
    def state(self) -> PartState:
        """What others may know about it."""
        if self._process is None:
            word = "restarting" if self.failures else "waiting"
        elif self._steps is not None:
            word = "stopping"
        elif self._silent:
            word = "silent"
        else:
            word = "ready" if self.ready else "starting"
        return PartState(self.part.name, self.pid, word, self.restarts)

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started_s

    @property
    def due_in_s(self) -> float:
        """Seconds until it may be started (again)."""
        return max(0.0, self._due_s - time.monotonic())

    def start(self) -> None:
        """Start the process. The first time, or again: then it counts as a restart."""
        remove_sign(self._data, self.part.name)
        with self.log.open() as output:
            self._process = spawn(self.part.command, self.part.environment, CHECKOUT, output, (self._keep_open,))
        self._started_s = time.monotonic()
        self._silent = False
        self.restarts += 1 if self.failures else 0

    def becomes_ready(self) -> bool:
        """Look whether the process has become ready; True once for each process."""
        if self._process is None or self.ready or not self.part.is_ready():
            return False
        self.ready = self.was_ready = True
        self._watchers = [Watcher(watch, time.monotonic()) for watch in self.part.watches]
        return True

    def end_if_silent(self, seen: Seen) -> str | None:
        """Kill the process when it runs and does not work; return what is wrong with it. The next ``reap`` finds it dead.

        SIGKILL, and the whole group: a frozen process takes no other signal, and what it started must not outlive it.
        """
        if self._process is None or self._steps is not None or self._silent:
            return None
        complaint = self._complaint(seen)
        if complaint is not None:
            self._silent = True
            kill_group(self._process.pid)
        return complaint

    def _complaint(self, seen: Seen) -> str | None:
        if self.ready:
            found = [watcher.complains(seen, time.monotonic()) for watcher in self._watchers]
            return next((complaint for complaint in found if complaint), None)
        late = self.was_ready and seen.broker_answers and self.age_s > START_WITHIN_S
        return f"was not ready after {START_WITHIN_S:.0f} s" if late else None

    def hurry(self) -> None:
        """Cut its pause short: jobs wait. One that was never ready keeps its pauses, since more of the same would not help."""
        if self.was_ready:
            self._due_s = min(self._due_s, self._ended_s + SOON_S)

    def reap(self) -> str | None:
        """Return how the process ended, if it did since the last call. What is left of it goes first: its group, its sign.

        Sets when to start again: at once after the first death, then after 1, 2, 4 ... 30 seconds (``longest_pause_s``), from the
        beginning when it held for 20 seconds.
        """
        if self._process is None or not has_exited(self._process.pid):
            return None
        kill_group(self._process.pid)
        code = self._process.wait()
        held_s = self.age_s
        self.failures = 1 if held_s > _STEADY_AFTER_S else self.failures + 1
        self._ended_s = time.monotonic()
        pause_s = 0.0 if self.failures == 1 else min(self.part.longest_pause_s, 2.0 ** min(self.failures - 2, 10))
        self._due_s = self._ended_s + pause_s
        self._process, self.ready = None, False
        remove_sign(self._data, self.part.name)
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def ask_to_stop(self) -> None:
        """Send the first signal of the part's stop. One that never became ready has no work to finish: it gets little time."""
        steps = self.part.stop_steps if self.ready else ((self.part.stop_steps[0][0], _HURRY_S),)
        self._steps = list(steps)
        self._next_step()

    def keep_stopping(self, hurries: int) -> None:
        """Go on to the next step when the patience with this one is over, and once for each time somebody asked to hurry.

        A worker's next step gives its jobs back to the queue; after the last step the process is killed.
        """
        while self._hurried < hurries:
            self._hurried += 1
            self._next_step()
        if time.monotonic() >= self._patience_until_s:
            self._next_step()

    def kill(self) -> None:
        """Kill the process and everything in its group, and reap it."""
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
            self._process, self.ready = None, False
            remove_sign(self._data, self.part.name)

    def _next_step(self) -> None:
        if self._process is None or self._steps is None:
            return
        if not self._steps:
            kill_group(self._process.pid)
            return
        signal_, patience_s = self._steps.pop(0)
        self._patience_until_s = time.monotonic() + patience_s
        with suppress(ProcessLookupError):
            self._process.send_signal(signal_)
