"""A worker freezes with a job in hand, somebody else does the job, and the frozen one wakes up: it must commit nothing."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.book import opened
from faults.documents import paper
from faults.held import APP, Held
from faults.processes import NeverCameTrue, await_that, children_of, is_alive, is_stopped
from faults.rows import Row
from faults.service import Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from storage.engine import Engine
from strongroom.client import Client
from strongroom.routes import SHORT_QUEUE
from strongroom.service import service_broker_url
from workers.parts import CHECKOUT
from workers.processes import death_bond

_MOST_S = 30.0
_FENCED = "the lease was lost"
"""What a worker logs that came too late."""
_REPLACED_WITHIN_S = 12.0
"""Its siblings give it 5 s to deny that it is frozen. One that is woken just then may be killed before it says anything."""
_WAYS = ("a worker", "a process of its pool")


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Freeze whole workers, which wake while another has the job and go on, and processes of a pool, which are replaced."""
    took: list[float] = []
    fates: Counter[str] = Counter()
    with scratch(keep=sizes.keep) as folder, service(folder, app=APP) as running, opened(running.data) as book:
        with _second_worker(running) as second, Client.of_service(running.data) as client:
            held = Held(running, book, client)
            for number in range(sizes.freezes):
                way = _WAYS[number % len(_WAYS)]
                took.append(_trial(held, second, way, paper(seed, 10 * number + 5, 0, 10).data, fates))
                tell(f"trial {number + 1}: {way} is frozen, its job runs again after {took[-1]:.2f} s")
            await_that(lambda: _fenced(folder) >= fates["woke"], "everyone who woke says that he came too late", 30)
        fenced, states = _fenced(folder), book.counts()
        with Engine(running.data).open() as engine:
            revisions = [one.revision for one in engine.versions()]
    return _rows(sizes, took, fates, fenced, states, revisions)


@contextmanager
def _second_worker(running: Service) -> Iterator[int]:
    """Run another worker for short jobs beside the service's own: somebody must be there who does not freeze."""
    arguments = ("worker", "-Q", SHORT_QUEUE, "-c", "1", "-n", "second@%h", "--without-gossip", "--without-mingle", "-l", "INFO")
    environment = {**running.environment, "STRONGROOM_BROKER_URL": service_broker_url(running.data)}
    log = running.data.parent / "second.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", APP, *arguments],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=death_bond(),  # noqa: PLW1509  # the library it calls is loaded before the fork
        )
    try:
        await_that(lambda: " ready." in log.read_text("utf-8", "replace"), "the second worker is ready", 30)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _trial(held: Held, second: int, way: str, document: bytes, fates: Counter[str]) -> float:
    """Return the seconds from the freeze until another process was in the middle of the job."""
    first = held.begin(document)
    main = second if first.pid in children_of(second) else held.running.pid("worker-short")
    assert main is not None, "the worker died before it was frozen"
    frozen_s = time.monotonic()
    if way == "a worker":
        os.killpg(main, signal.SIGSTOP)
    else:
        os.kill(first.pid, signal.SIGSTOP)
    await_that(lambda: is_stopped(first.pid), f"{first.pid} is stopped", 5)
    other = held.await_held(first.job_id, but=first.pid)
    took = time.monotonic() - frozen_s
    _wake(way, first.pid, main, fates)
    last = held.let_go(first.job_id)
    assert last.owner == other.owner, "another run than the one that held the lease ended the job"
    assert last.attempts == 2, f"attempt {last.attempts} after one freeze"
    return took


def _wake(way: str, child: int, main: int, fates: Counter[str]) -> None:
    """Let it go on, if it was not killed meanwhile by another process of its pool."""
    with suppress(NeverCameTrue):
        if way != "a worker":
            await_that(lambda: not is_alive(child), "the frozen process is killed, to be replaced", _REPLACED_WITHIN_S)
            fates["replaced"] += 1
            return
    os.killpg(main, signal.SIGCONT)
    fates["woke"] += 1


def _fenced(folder: Path) -> int:
    logs = (folder / "second.log", folder / "data" / "logs" / "worker-short.log")
    return sum(log.read_text("utf-8", "replace").count(_FENCED) for log in logs)


def _rows(
    sizes: Sizes, took: list[float], fates: Counter[str], fenced: int, states: dict[str, int], revisions: list[int]
) -> list[Row]:
    what = f"{sizes.freezes} frozen with a job in hand"
    most = max(took)
    once = states == {"done": sizes.freezes} and revisions == [1] * sizes.freezes
    met = once and fenced == fates["woke"] > 0 and fates.total() == sizes.freezes
    said = f"{fates['woke']} woke, {fenced} refused; {fates['replaced']} replaced; {states}, revisions {dict(Counter(revisions))}"
    return [
        Row(f"{what}: the job runs again, longest", f"{_MOST_S:.0f} s at most", _told(most, took), most <= _MOST_S),
        Row(f"{what}: what they commit when they wake", "nothing", said, met),
    ]


def _told(most: float, took: list[float]) -> str:
    return f"{most:.1f} s; median {statistics.median(took):.1f} s"
