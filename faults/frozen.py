"""A worker freezes with a job in hand, somebody else does the job, and the frozen one wakes up: it must commit nothing."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

from faults.book import opened
from faults.documents import paper
from faults.held import APP, Held
from faults.processes import await_that, is_stopped
from faults.rows import Row
from faults.service import WORKERS, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from storage.engine import Engine
from strongroom.client import Client

_MOST_S = 30.0
_FENCED = "the lease was lost"
"""What a worker logs that came too late."""


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Freeze one process after the other; each wakes while its job is in another's hands, and both go on at once."""
    took: list[float] = []
    with scratch(keep=sizes.keep) as folder, service(folder, app=APP) as running, opened(running.data) as book:
        with Client.of_service(running.data) as client:
            held = Held(running, book, client)
            for number in range(sizes.freezes):
                took.append(_trial(held, paper(seed, 10 * number + 5, 0, 10).data))
                tell(f"trial {number + 1}: frozen, its job runs again after {took[-1]:.2f} s")
        await_that(lambda: _fenced(running.data) >= sizes.freezes, "everyone who woke says that he came too late", 30)
        fenced, states = _fenced(running.data), book.counts()
        with Engine(running.data).open() as engine:
            revisions = [one.revision for one in engine.versions()]
    return _rows(sizes, took, fenced, states, revisions)


def _trial(held: Held, document: bytes) -> float:
    """Return the seconds from the freeze until another process was in the middle of the job."""
    first = held.begin(document)
    frozen_s = time.monotonic()
    os.kill(first.pid, signal.SIGSTOP)
    await_that(lambda: is_stopped(first.pid), f"{first.pid} is stopped", 5)
    second = held.await_held(first.job_id, but=first.pid)
    took = time.monotonic() - frozen_s
    os.kill(first.pid, signal.SIGCONT)
    last = held.let_go(first.job_id)
    assert last.owner == second.owner, "another run than the one that held the lease ended the job"
    assert last.attempts == 2, f"attempt {last.attempts} after one freeze"
    return took


def _fenced(data: Path) -> int:
    return sum((data / "logs" / f"{worker}.log").read_text("utf-8", "replace").count(_FENCED) for worker in WORKERS)


def _rows(sizes: Sizes, took: list[float], fenced: int, states: dict[str, int], revisions: list[int]) -> list[Row]:
    what = f"{sizes.freezes} workers frozen with a job in hand"
    most = max(took)
    once = states == {"done": sizes.freezes} and revisions == [1] * sizes.freezes
    return [
        Row(
            f"{what}: the job runs again, longest",
            f"{_MOST_S:.0f} s at most",
            f"{most:.1f} s; median {statistics.median(took):.1f} s",
            most <= _MOST_S,
        ),
        Row(
            f"{what}: what they commit when they wake",
            "nothing",
            f"{fenced} came too late and were refused; {len(revisions)} versions, one revision each"
            if once
            else f"{states}, {revisions}",
            once and fenced == sizes.freezes,
        ),
    ]
