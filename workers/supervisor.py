"""The loop that keeps the parts of one service running, and stops them in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from strongroom.errors import StorageError
from workers.child import SOON_S, START_WITHIN_S, Child
from workers.console import Console
from workers.logs import tail
from workers.parts import Part
from workers.service_state import PartState
from workers.signals import Signals
from workers.watch import Seen, pause_after_look

LOOK_EVERY_S = 2.0
_GIVE_UP_AFTER_DEATHS = 2


class ServiceFailed(StorageError):
    """A part died, or did not become ready, while the service was starting."""

    code = "service_failed"
    category = "configuration"


class Supervisor:
    """Runs ``parts`` as children of this process, which must have one thread only.

    ``publish(parts, ready, stopping)`` is called whenever something about them has changed. ``look`` tells what waits for them:
    one that is silent while something does is killed and started again, and nobody rests for long while jobs wait.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        data: Path,
        lock: int,
        *,
        signals: Signals,
        console: Console,
        publish: Callable[[tuple[PartState, ...], bool, bool], None],
        look: Callable[[], Seen] = Seen,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._children = [Child(part, data, lock) for part in parts]
        self._by_name = {child.part.name: child for child in self._children}
        self._signals = signals
        self._console = console
        self._publish_to = publish
        self._look_around = look
        self._look_every_s = look_every_s
        self._look_at_s = 0.0
        self._published: object = None
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether every part is."""
        return all(child.ready for child in self._children)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start the parts, call ``on_ready`` once when all are ready, and keep them running until a signal asks to stop.

        On return, however that comes about, no process of the service is left.

        Raises:
            ServiceFailed: a part died twice, or was not ready in time, before the service was ready.
        """
        try:
            self._until_ready()
            if not self._signals.stops:
                on_ready()
            while not self._signals.stops:
                self._turn()
                self._look()
                self._signals.wait(self._pause_s())
        finally:
            try:
                self._stop()
            finally:
                for child in self._children:
                    child.kill()

    def _until_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not self.ready and not self._signals.stops:
            self._turn()
            for child in self._children:
                if child.failures >= _GIVE_UP_AFTER_DEATHS:
                    raise _failure(child, "ends as soon as it starts")
                if time.monotonic() > deadline and not child.ready:
                    raise _failure(child, f"was not ready after {START_WITHIN_S:.0f} s")
            self._signals.wait(0.02)

    def _turn(self) -> None:
        for child in self._children:
            self._note_death(child)
        for child in self._children:
            if self._may_start(child):
                child.start()
        for child in self._children:
            if child.becomes_ready():
                again = f" again (restart {child.restarts})" if child.restarts else ""
                self._console.event(child.part.name, f"ready{again} after {child.age_s:.1f} s", "dim")
        self._look_after_logs()
        self._publish()

    def _look(self) -> None:
        """Look whether the parts work, and whether jobs wait for one that rests."""
        started = time.monotonic()
        if started < self._look_at_s:
            return
        seen = self._look_around()
        for child in self._children:
            complaint = child.end_if_silent(seen)
            if complaint:
                self._console.event(child.part.name, f"{complaint}: it is killed and started again", "bold red")
            if seen.jobs_wait:
                child.hurry()
        took_s = time.monotonic() - started
        resting = any(child.pid is None for child in self._children)
        every_s = min(SOON_S, self._look_every_s) if resting else self._look_every_s
        self._look_at_s = started + took_s + pause_after_look(took_s, every_s)
        self._publish()

    def _note_death(self, child: Child) -> None:
        ended = child.reap()
        if ended and not self._stopping:
            when = f"in {child.due_in_s:.0f} s" if child.due_in_s else "now"
            self._console.event(child.part.name, f"died ({ended}); it is started again {when}", "bold red")

    def _may_start(self, child: Child) -> bool:
        if child.pid is not None or child.due_in_s:
            return False
        first = self._by_name.get(child.part.after or "")
        return first is None or first.was_ready

    def _pause_s(self) -> float:
        if not self.ready:
            return 0.05
        return 0.25 if self._console.follows else 1.0

    def _look_after_logs(self) -> None:
        for child in self._children:
            # A full disk must not stop the service that could free it.
            with suppress(OSError):
                if self._console.follows:
                    for line in child.log.new_lines():
                        self._console.line(child.part.name, line)
                child.log.cap()

    def _publish(self) -> None:
        now = (tuple(child.state for child in self._children), self.ready and not self._stopping, self._stopping)
        if now != self._published:
            with suppress(OSError):
                self._publish_to(*now)
                self._published = now

    def _stop(self) -> None:
        self._stopping = True
        first = min(self._signals.stops, 1)
        self._console.event("service", "stopping; running jobs may finish (Ctrl-C again: they go back to the queue)")
        for wave in sorted({child.part.stop_wave for child in self._children}):
            members = [child for child in self._children if child.part.stop_wave == wave and child.pid]
            for child in members:
                child.ask_to_stop()
            while any(child.pid for child in members):
                for child in members:
                    self._note_death(child)
                    child.keep_stopping(hurries=self._signals.stops - first)
                self._look_after_logs()
                self._publish()
                self._signals.wait(0.05)


def _failure(child: Child, what: str) -> ServiceFailed:
    lines = tail(child.log.path)
    return ServiceFailed(f"{child.part.name} {what}.", f"The end of {child.log.path} says why.", {"log": lines})
