"""What a sweep costs those who are served meanwhile: the time of a store job, with and without one that never ends."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from bench.rows import Row, p95
from bench.service import CHECKOUT
from storage.engine import Engine
from storage.pace import Pace
from storage.scrub import Scrub
from strongroom.client import Client
from tasks.scrub import is_at_work

_ROUNDS = 5
_EACH = 150
"""Jobs of one round, with or without."""
_LARGE = 30
"""Documents of 20 MB, half of which does not compress."""
_ALWAYS = timedelta(seconds=1)
"""A promise that is broken as soon as it is kept: everything is read again and again."""


def beside_a_sweep(paths: Sequence[Path], data: Path) -> Row:
    """Measure one job after the other, in turn with and without a sweep of everything in a process of its own."""
    waiting = iter(paths)
    with Client.of_service(data) as client:
        _fill(data.parent / "large.json", client)
        alone: list[list[float]] = []
        beside: list[list[float]] = []
        _jobs(client, waiting)  # the first ones wake what sleeps
        for _ in range(_ROUNDS):
            alone.append(_jobs(client, waiting))
            with _sweep(data):
                beside.append(_jobs(client, waiting))
    quiet, swept = (p95([took for turn in one for took in turn]) for one in (alone, beside))
    return Row(
        f"a store job, one after the other, p95 of {_ROUNDS * _EACH}, while a sweep reads everything",
        f"{swept * 1e3:.1f} ms",
        f"without the sweep: {quiet * 1e3:.1f} ms, ratio {swept / quiet:.2f}",
        "under 1.05",
        swept < 1.05 * quiet,
    )


def _fill(path: Path, client: Client) -> None:
    """Store enough for a sweep to be at for a while."""
    for number in range(_LARGE):
        lines = (f"{random.getrandbits(4_000_000):x}" for _ in range(20))
        path.write_text(json.dumps({"library_id": "/bench/large", "version_id": f"{number}", "text": "".join(lines)}), "ascii")
        client.wait([client.store(path).unwrap()], timeout_s=60).unwrap()


def _jobs(client: Client, waiting: Iterator[Path]) -> list[float]:
    took = []
    for path in (next(waiting) for _ in range(_EACH)):
        start = time.perf_counter()
        (receipt,) = client.wait([client.store(path).unwrap()], timeout_s=60).unwrap()
        took.append(time.perf_counter() - start)
        assert receipt.status == "stored"
    return took


@contextmanager
def _sweep(data: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.sweeping", str(data)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        try:
            yield
            assert process.poll() is None, "the sweep ended"
        finally:
            process.kill()


def sweep_for_ever(data: Path) -> None:
    """Sweep as the service's job does, again and again."""
    with Engine(data).open() as engine:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        while True:
            pace = Pace(lambda: is_at_work(engine.folder.inbox))
            Scrub(engine.folder, engine.database, None, pace=pace).run(_ALWAYS)


if __name__ == "__main__":
    sweep_for_ever(Path(sys.argv[1]))
