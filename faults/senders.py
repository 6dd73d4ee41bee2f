"""Producers: processes that send documents one a message, ring for each a second time later, and note what they were told."""

from __future__ import annotations

import hashlib
import heapq
import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from faults.documents import Paper, paper
from faults.doorbell import Doorbell
from strongroom.client import Client
from strongroom.result import Ok

TEAM = 2
RECEIPT_EVERY = 50
"""One of so many documents asks for a receipt."""
_PATIENCE_S = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """What the team sends."""

    data: Path
    notes: Path
    seed: int
    jobs: int
    libraries: int
    later_s: float
    """The second ring comes at most so much later."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt to hand a document over. ``said`` is yes, no, or perhaps: the client's answer."""

    job_id: str
    library_id: str
    version: str
    sha256: str
    said: str
    receipt: bool


class Team:
    """The sending processes, and the figures they share with the one that directs them."""

    def __init__(self, load: Load) -> None:
        self.load = load
        context = multiprocessing.get_context("spawn")
        self.released: Synchronized[int] = context.Value("q", 0)
        """Documents below this number may be sent."""
        self.accepted: Synchronized[int] = context.Value("q", 0)
        self.rung_twice: Synchronized[int] = context.Value("q", 0)
        shared = (self.released, self.accepted, self.rung_twice)
        self._members: list[BaseProcess] = [
            context.Process(target=_send, args=(load, number, os.getpid(), *shared), daemon=True) for number in range(TEAM)
        ]

    def start(self) -> None:
        """Set them to work."""
        self.load.notes.mkdir()
        for one in self._members:
            one.start()

    @property
    def finished(self) -> bool:
        """Whether everything was accepted and rung for twice; fail when a sender died."""
        codes = [one.exitcode for one in self._members]
        assert all(code in {None, 0} for code in codes), f"a sender ended with {codes}"
        return codes == [0] * TEAM

    def end(self) -> None:
        """Leave none of them."""
        for one in self._members:
            if one.pid is not None:
                one.kill()
                one.join()

    def notes(self) -> Iterator[Sent]:
        """Yield everything that was sent."""
        for path in sorted(self.load.notes.iterdir()):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield Sent(**json.loads(line))


@contextmanager
def team(load: Load) -> Iterator[Team]:
    """Run senders until the block is left."""
    made = Team(load)
    try:
        made.start()
        yield made
    finally:
        made.end()


def _send(load: Load, number: int, parent: int, released: Any, accepted: Any, rung_twice: Any) -> None:
    """Be one sender (shared values lose their type on the way into the process)."""
    with (load.notes / f"sender-{number}").open("w", encoding="utf-8") as notes, Client.of_service(load.data) as client:
        bell = _Bell(load, number)
        for one in range(number, load.jobs, TEAM):
            while one >= released.value:
                _add(rung_twice, bell.ring())
                _rest(parent)
            for attempt in range(1_000_000):
                said = _offer(client, paper(load.seed, one, attempt, load.libraries), receipt=one // TEAM % RECEIPT_EVERY == 0)
                notes.write(json.dumps(asdict(said)) + "\n")
                _add(rung_twice, bell.ring())
                if said.said == "yes":
                    bell.remember(said)
                    _add(accepted, 1)
                    break
                _rest(parent, _PATIENCE_S)
        while bell.waits:
            _add(rung_twice, bell.ring())
            _rest(parent)


def _offer(client: Client, one: Paper, *, receipt: bool) -> Sent:
    answer = client.store(one.data, receipt=receipt)
    digest = hashlib.sha256(one.data).hexdigest()
    if isinstance(answer, Ok):
        return Sent(answer.value.request_id, one.library_id, one.version, digest, "yes", receipt)
    # What is taken back after a refusal may have been seen by a worker before: stored or not, both are right.
    return Sent("", one.library_id, one.version, digest, "perhaps", receipt)


class _Bell:
    """Rings a second time for each job, later, whatever became of the first ring."""

    def __init__(self, load: Load, number: int) -> None:
        self._chooser = random.Random(f"{load.seed}:bell:{number}")  # noqa: S311  # to be repeated, not to be secret
        self._later_s = load.later_s
        self._doorbell = Doorbell(load.data)
        self._due: list[tuple[float, str, bool]] = []

    @property
    def waits(self) -> bool:
        return bool(self._due)

    def remember(self, sent: Sent) -> None:
        later = self._chooser.random() ** 2 * self._later_s
        heapq.heappush(self._due, (time.monotonic() + later, sent.job_id, sent.receipt))

    def ring(self) -> int:
        """Send what is due; return how many messages that were."""
        rung = 0
        while self._due and self._due[0][0] <= time.monotonic():
            due, job_id, receipt = heapq.heappop(self._due)
            if not self._doorbell.ring(job_id, receipt=receipt):
                heapq.heappush(self._due, (due + 1.0, job_id, receipt))
                break
            rung += 1
        return rung


def _add(counter: Any, count: int) -> None:
    with counter.get_lock():
        counter.value += count


def _rest(parent: int, seconds: float = 0.005) -> None:
    if os.getppid() != parent:
        os._exit(1)  # nobody directs it any more
    time.sleep(seconds)
