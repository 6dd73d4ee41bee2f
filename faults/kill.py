"""A worker is killed with a job in hand: how long until the job runs again."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from faults.book import opened
from faults.documents import paper
from faults.held import APP, Held
from faults.processes import is_alive, kill
from faults.rows import Row
from faults.service import WORKERS, Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from strongroom.client import Client

MOST_S, MEDIAN_S = 30.0, 12.0
_WAYS = ("child", "worker with its pool", "worker without its pool")
_BOUNDS_S = (1, 2, 4, 8, 12, 16, 20, 30)


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Kill in one way after the other, in random order, and measure each time."""
    chooser = random.Random(f"{seed}:kill")  # noqa: S311  # to be repeated, not to be secret
    ways = [_WAYS[number % len(_WAYS)] for number in range(sizes.trials)]
    chooser.shuffle(ways)
    took: dict[str, list[float]] = {way: [] for way in _WAYS}
    with scratch(keep=sizes.keep) as folder, service(folder, app=APP) as running, opened(running.data) as book:
        with Client.of_service(running.data) as client:
            for number, way in enumerate(ways):
                seconds = _trial(Held(running, book, client), way, paper(seed, number, 0, 10).data)
                took[way].append(seconds)
                tell(f"trial {number + 1}: {way} killed, its job runs again after {seconds:.2f} s")
        done = book.counts()
    every = [seconds for some in took.values() for seconds in some]
    for line in histogram(every):
        tell(line)
    return _rows(sizes, took, every, done)


def _trial(held: Held, way: str, document: bytes) -> float:
    """Return the seconds from the kill until another process was in the middle of the job."""
    first = held.begin(document)
    killed_s = time.monotonic()
    _kill(held.running, way, first.pid)
    second = held.await_held(first.job_id, but=first.pid)
    took = time.monotonic() - killed_s
    held.let_go(first.job_id)
    assert second.attempts == 2, f"attempt {second.attempts} after one death"
    return took


def _kill(running: Service, way: str, child: int) -> None:
    if way == "child":
        kill(child)
        return
    worker = next(name for name in WORKERS if child in running.pool(name))
    pid = running.pid(worker)
    assert pid is not None
    with suppress(ProcessLookupError):
        if way == "worker with its pool":
            os.killpg(pid, signal.SIGKILL)
        kill(pid)
    assert not is_alive(pid)


def histogram(seconds: Sequence[float]) -> list[str]:
    """Return lines with how many fell between the bounds."""
    counts = Counter(next((bound for bound in _BOUNDS_S if one < bound), None) for one in seconds)
    lines, low = [], 0
    for bound in _BOUNDS_S:
        lines.append(f"{low:>4} to {bound:>2} s  {counts[bound]:>4}  {'#' * round(50 * counts[bound] / len(seconds))}")
        low = bound
    return [*lines, f"    over {low} s  {counts[None]:>4}"]


def _rows(sizes: Sizes, took: dict[str, list[float]], every: Sequence[float], done: dict[str, int]) -> list[Row]:
    what = f"{sizes.trials} workers killed with a job in hand"
    each = ", ".join(f"{way} {len(some)} (most {max(some):.1f} s)" for way, some in took.items() if some)
    most, median = max(every), statistics.median(every)
    spread = ", ".join(f"{_share(every, bound)} under {bound} s" for bound in (1, 2, 4, 12))
    return [
        Row(f"{what}: the job runs again, longest", f"{MOST_S:.0f} s at most", f"{most:.1f} s; {each}", most <= MOST_S),
        Row(f"{what}: the median", f"under {MEDIAN_S:.0f} s", f"{median:.1f} s; {spread}", median < MEDIAN_S),
        Row(f"{what}: all fired, all jobs done", "every one", f"{done}", done == {"done": sizes.trials} and all(took.values())),
    ]


def _share(every: Sequence[float], bound: float) -> int:
    return sum(one < bound for one in every)
