"""Schedulers as real processes on a clock that is told to them: what beat's process runs, over and over, without its pauses."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from config.settings import Settings
from faults.processes import is_alive, kill
from strongroom.errors import StorageError
from workers.schedules import Clerk

BEATS = 2
_CONTEXT = get_context("fork")  # a killed one is back in milliseconds; whoever forks has one thread and no open database


class _Deaf:
    """A broker that takes every message and forgets it: what is due stays due in the ledger, and that is what counts."""

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        """Take the message."""

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """Say that nothing waits."""
        return dict.fromkeys(queues, 0)


class Beats:
    """Two schedulers on one data folder. The clock may jump, and they may be killed at any point."""

    def __init__(self, settings: Settings, log: Path, chooser: random.Random) -> None:
        self._settings, self._log, self._chooser = settings, log, chooser
        # Without locks: one who is killed, or stopped, while holding a lock would hold it for ever.
        self._clock = _CONTEXT.RawValue("d", 0.0)
        self._looks = _CONTEXT.RawArray("q", BEATS)
        self._inside = _CONTEXT.RawArray("b", BEATS)
        self._members: list[BaseProcess | None] = [None] * BEATS
        self.killed = 0
        self.killed_inside = 0
        """How many of those were in the middle of a look."""

    def tell(self, now: datetime) -> None:
        """Set the clock."""
        self._clock.value = now.timestamp()

    def await_look(self) -> None:
        """Return when one that lives has begun and ended a look since now; fail when none does."""
        before = self._counts()
        deadline = time.monotonic() + 120
        while not any(now >= then + 2 for now, then in zip(self._counts(), before, strict=True)):
            assert time.monotonic() < deadline, "no scheduler looks any more"
            assert self.alive, "no scheduler lives"
            time.sleep(0.0005)

    def _counts(self) -> list[int]:
        return [self._looks[number] for number in range(BEATS)]

    @property
    def alive(self) -> int:
        """How many live."""
        return sum(one is not None and one.is_alive() for one in self._members)

    def start(self) -> None:
        """Start those that do not live."""
        for number, one in enumerate(self._members):
            if one is None or not one.is_alive():
                self._inside[number] = 0
                arguments = (self._settings, self._log, number, os.getpid(), self._clock, self._looks, self._inside)
                made = _CONTEXT.Process(target=_beat, args=arguments, daemon=True)
                made.start()
                self._members[number] = made

    def kill_one(self, number: int | None = None) -> None:
        """SIGKILL one, in the middle of a look if that can be had."""
        number = self._chooser.randrange(BEATS) if number is None else number
        one = self._members[number]
        if one is None or one.pid is None or not one.is_alive():
            return
        time.sleep(self._chooser.random() * 0.002)
        os.kill(one.pid, signal.SIGSTOP)  # to see where it stands
        inside = bool(self._inside[number])
        kill(one.pid)
        one.join()
        self.killed += 1
        self.killed_inside += inside

    def end(self) -> None:
        """Leave none."""
        for one in self._members:
            if one is not None and one.pid is not None and is_alive(one.pid):
                one.kill()
                one.join()


@contextmanager
def beats(settings: Settings, log: Path, chooser: random.Random) -> Iterator[Beats]:
    """Run the schedulers until the block is left."""
    made = Beats(settings, log, chooser)
    try:
        yield made
    finally:
        made.end()


def _beat(settings: Settings, log: Path, number: int, parent: int, clock: Any, looks: Any, inside: Any) -> None:
    """Be one scheduler (shared values lose their type on the way into the process)."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    clerk = Clerk(settings, _Deaf())
    now: Callable[[], datetime] = lambda: datetime.fromtimestamp(clock.value, UTC)  # noqa: E731
    while os.getppid() == parent:
        inside[number] = 1
        with suppress(StorageError):  # as beat does: it looks again
            clerk.look(now)
        inside[number] = 0
        looks[number] += 1
        time.sleep(0.001)
