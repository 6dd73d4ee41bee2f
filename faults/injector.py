"""Faults at random: each is seen to have fired, or it does not count."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import redis

from faults.book import Book, Entry
from faults.messages import broker_of, message_count
from faults.processes import NeverCameTrue, await_that, children_of, is_alive, is_stopped, kill
from faults.service import WORKERS, Service
from workers.processes import birth_of

_AIMING_S = 1.0
_MISSES = 5
_SPARED = 0.8

Fault = Callable[[], str | None]
"""Fires; returns what it did, or None when there was nothing to hit just now."""


@dataclass
class Frozen:
    """Processes that SIGSTOP holds: number and birth of each, and until when."""

    what: str
    processes: list[tuple[int, str]]
    until_s: float
    jobs: list[Entry]
    """What they had in hand."""


@dataclass
class Injector:
    """Breaks a service that runs on the embedded broker. ``fired`` counts what was seen to happen."""

    service: Service
    book: Book
    chooser: random.Random
    freeze_s: tuple[float, float]
    fired: Counter[str] = field(default_factory=Counter)
    in_hand: Counter[str] = field(default_factory=Counter)
    """How many of those hit a process that was running a job."""
    messages_lost: int = 0
    """What the flushed broker held."""
    woken: Counter[str] = field(default_factory=Counter)
    """Frozen processes: how many went on, how many were killed meanwhile, and how many jobs they came too late for."""
    _frozen: list[Frozen] = field(default_factory=list)
    _deck: list[str] = field(default_factory=list)
    _misses: int = 0

    @property
    def kinds(self) -> dict[str, Fault]:
        """Every kind of fault."""
        return {
            "child killed": self._kill_child,
            "worker killed": self._kill_worker,
            "broker killed": self._kill_broker,
            "child frozen": self._freeze_child,
            "worker frozen": self._freeze_worker,
            "broker flushed": self._flush_broker,
        }

    @property
    def least(self) -> int:
        """How often the rarest kind has fired."""
        return min(self.fired[kind] for kind in self.kinds)

    def fire(self) -> str | None:
        """Let one fault happen; return what it did. The kinds come in rounds of random order, so that none is rare."""
        kinds = self.kinds
        if not self._deck:
            self._deck = sorted(kinds)
            self.chooser.shuffle(self._deck)
            if not self.fired:  # what takes longest comes first, once: else a short run would wait for it at its end
                self._deck.sort(key=lambda kind: "frozen" in kind)
        for kind in reversed(self._deck):
            done = kinds[kind]()
            if done is not None:
                self._deck.remove(kind)
                self.fired[kind] += 1
                return f"{kind}: {done}"
        return None

    def thaw(self, *, everything: bool = False) -> list[str]:
        """Let those frozen processes go on whose time has come, or all."""
        said = []
        for one in list(self._frozen):
            if everything or time.monotonic() >= one.until_s:
                self._frozen.remove(one)
                said.append(f"thawed: {one.what}: {self._wake(one)}")
        return said

    def _kill_child(self) -> str | None:
        found = self._stopped_child()
        if found is None:
            return None
        pid, worker, jobs = found
        with suppress(ProcessLookupError):
            kill(pid)
            self.in_hand["child killed"] += bool(jobs)
            return f"{pid} of {worker}, {jobs} jobs in hand"
        return None

    def _kill_worker(self) -> str | None:
        worker = self.chooser.choice(WORKERS)
        pid = self.service.pid(worker)
        if pid is None or is_stopped(pid):
            return None
        pool = children_of(pid)
        if any(map(is_stopped, pool)) and self.chooser.random() < _SPARED:
            return None  # else few that were frozen would ever wake
        jobs = self._jobs_of(pool)
        alone = self.chooser.random() < 0.5
        with suppress(ProcessLookupError):
            if not alone:
                os.killpg(pid, signal.SIGKILL)
            kill(pid)
            self.in_hand["worker killed"] += bool(jobs)
            return f"{worker} {'without' if alone else 'with'} its pool, {jobs} jobs in hand"
        return None

    def _kill_broker(self) -> str | None:
        pid = self.service.pid("broker")
        with suppress(ProcessLookupError):
            if pid is not None:
                kill(pid)
                return str(pid)
        return None

    def _freeze_child(self) -> str | None:
        found = self._stopped_child()
        return self._freeze("child frozen", f"a child of {found[1]}", [found[0]]) if found else None

    def _freeze_worker(self) -> str | None:
        worker = self.chooser.choice(WORKERS)
        pid = self.service.pid(worker)
        return self._freeze("worker frozen", worker, [pid, *children_of(pid)]) if pid and not is_stopped(pid) else None

    def _freeze(self, kind: str, what: str, pids: list[int]) -> str | None:
        processes = [(pid, birth) for pid in pids if (birth := birth_of(pid))]
        if not processes:
            return None
        for pid, _ in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        with suppress(NeverCameTrue):  # in an uninterruptible sleep it stops when that ends
            await_that(lambda: all(is_stopped(pid) or not is_alive(pid) for pid, _ in processes), f"{what} is stopped", 5)
        held = [one for one in processes if is_stopped(one[0])]
        if not held:
            return None
        pids = [pid for pid, _ in held]
        jobs = [one for one in self.book.running() if one.pid in pids]
        self.in_hand[kind] += bool(jobs)
        took = self.chooser.uniform(*self.freeze_s)
        self._frozen.append(Frozen(what, processes, time.monotonic() + took, jobs))
        return f"{what}, {len(held)} processes for {took:.1f} s, {len(jobs)} jobs in hand"

    def _wake(self, one: Frozen) -> str:
        there = [pid for pid, birth in one.processes if birth_of(pid) == birth]
        for pid in there:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        lost = sum(self._was_taken_over(job) for job in one.jobs) if there else 0
        self.woken["went on"] += len(there)
        self.woken["killed meanwhile"] += len(one.processes) - len(there)
        self.woken["too late"] += lost
        return f"{len(there)} of {len(one.processes)} are still there, {lost} jobs were taken over"

    def _was_taken_over(self, job: Entry) -> bool:
        now = self.book.entry(job.job_id)
        return now is not None and (now.owner, now.attempts) != (job.owner, job.attempts)

    def _flush_broker(self) -> str | None:
        with suppress(redis.RedisError, OSError), broker_of(self.service.data) as client:
            waiting = message_count(client)
            if waiting == 0:
                return None  # of nothing, nothing could be lost
            client.flushall()
            self.messages_lost += waiting
            return f"{waiting} messages"
        return None

    def _stopped_child(self) -> tuple[int, str, int] | None:
        """Stop a pool process at any moment; return it, its worker, and how many jobs it has in hand.

        A job takes milliseconds: only a process that stands still can be looked at. One without a job goes on, and the next is
        tried, for a while; then it is another fault's turn. When that went wrong a few times, one is taken as it is.
        """
        deadline = time.monotonic() + _AIMING_S
        while True:
            pools = {pid: worker for worker in WORKERS for pid in self.service.pool(worker) if not is_stopped(pid)}
            if not pools:
                return None
            pid = self.chooser.choice(sorted({one.pid for one in self.book.running()} & pools.keys()) or sorted(pools))
            with suppress(ProcessLookupError, NeverCameTrue):
                os.kill(pid, signal.SIGSTOP)
                await_that(partial(is_stopped, pid), f"{pid} is stopped", 1)
                jobs = self._jobs_of([pid])
                if jobs or self._misses >= _MISSES:
                    self._misses = 0
                    return pid, pools[pid], jobs
                os.kill(pid, signal.SIGCONT)
            if time.monotonic() > deadline:
                self._misses += 1
                return None

    def _jobs_of(self, pids: list[int]) -> int:
        return sum(one.pid in pids for one in self.book.running())
