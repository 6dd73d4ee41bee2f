"""``python -m bench --profile``: where the time of a document goes, beside what no program that does the same can do without."""

from __future__ import annotations

import cProfile
import hashlib
import os
import pstats
import resource
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from isal import isal_zlib
from rich.console import Console
from rich.table import Table

from bench import peers
from bench.engine import BATCH, NAIVE, store_in_batches
from bench.parts import Part, parts_of
from bench.rows import seconds
from storage.codecs import encoder_of
from storage.engine import Engine
from storage.store import Storing
from workers.garbage import settle

RUNS = 3
"""Of each measurement: the fastest counts, which met the least of the machine's other work."""

GZIP, DIGESTS, PARSING = "isal, level 3", "three SHA-256", "orjson"
SYNC, BLUEPRINT = "one file of 30 KB, written and synced", "the blueprint, synced as we are"


@dataclass(frozen=True, slots=True)
class Profile:
    """Microseconds a document, of processor time: other programs do not count, nor does waiting for the disk.

    ``wall_us`` and ``cpu_us`` are of the engine as it comes, the parts of one thread alone. ``floor``: what others need for
    the same documents. ``syncs``: of one batch, besides those of SQLite's commit.
    """

    documents: int
    wall_us: float
    cpu_us: float
    alone_us: float
    parts: list[Part]
    floor: dict[str, float]
    syncs: int

    @property
    def locked_us(self) -> float:
        """What holds the interpreter's lock: no number of threads makes one process faster than this."""
        return sum(part.us - part.free_us for part in self.parts)


def profile(paths: Sequence[Path], scratch: Path) -> Profile:
    """Measure; takes a minute for 5,000 documents."""
    us = 1e6 / len(paths)
    usual = [_ingest(paths, scratch / "engine") for _ in range(RUNS)]
    alone = min(_ingest(paths, scratch / "engine", _Inline())[1] for _ in range(RUNS))
    profilers = [cProfile.Profile(time.thread_time) for _ in range(RUNS)]
    profiled = min(profilers, key=lambda one: _ingest(paths, scratch / "engine", _Inline(), one.runcall)[1])
    stats: Any = pstats.Stats(profiled)  # its entries are not in its type
    syncs = sum(entry[1] for function, entry in stats.stats.items() if "posix.fsync" in function[2])
    return Profile(
        len(paths),
        min(wall for wall, _ in usual) * us,
        min(cpu for _, cpu in usual) * us,
        alone * us,
        parts_of(stats.stats, alone, len(paths)),
        _floor(paths, scratch),
        round(syncs * BATCH * us / 1e6),
    )


class _Inline(ThreadPoolExecutor):
    """Runs what it is given at once, in the thread that asks: a profiler sees one thread."""

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:  # any function and result, as in the class above
        del timeout, chunksize
        return iter([fn(*given) for given in zip(*iterables, strict=False)])


def _call(call: Callable[..., None], *given: object) -> None:
    call(*given)


def _ingest(
    paths: Sequence[Path], root: Path, threads: ThreadPoolExecutor | None = None, run: Callable[..., None] = _call
) -> tuple[float, float]:
    """Store everything into a fresh folder; return wall and processor time in seconds."""
    shutil.rmtree(root, ignore_errors=True)
    with Engine(root).create() as engine:
        options = engine.options
        storing = Storing(engine.folder, engine.database, encoder_of(options.codec), options.limits, threads)
        settle()
        before = _processor_time()
        wall = seconds(lambda: run(store_in_batches, storing.store, paths))
        cpu = _processor_time() - before
        storing.close()
    return wall, cpu


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _floor(paths: Sequence[Path], scratch: Path) -> dict[str, float]:
    """Measure what the same documents cost without a store around them, one thread, microseconds each."""
    plain = [path.read_bytes() for path in paths]
    stored = [isal_zlib.compress(one, 3, 31) for one in plain]
    naive = peers.blueprint(paths[:NAIVE], scratch / "naive") / len(paths[:NAIVE])
    return {
        GZIP: _each(plain, lambda one: isal_zlib.compress(one, 3, 31)),
        DIGESTS: _each(plain, _sha256) + 2 * _each(stored, _sha256),
        PARSING: _each(plain, orjson.loads),
        SYNC: 1e6 / peers.synced_files(scratch / "disk", 500, 30_000),
        BLUEPRINT: naive * 1e6,
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _each(values: Sequence[bytes], call: Callable[[bytes], object]) -> float:
    def run() -> float:
        start = time.thread_time()
        for one in values:
            call(one)
        return time.thread_time() - start

    return min(run() for _ in range(RUNS)) / len(values) * 1e6


def print_profile(found: Profile) -> None:
    """Print the profile, what is beside it, and what that means for the rows of the table."""
    title = f"{found.documents} documents of 30 KB, batches of {BATCH}, one process"
    table = Table("part", "µs a document", "of it without the lock", header_style="bold", title=title)
    for part in found.parts:
        table.add_row(part.what, f"{part.us:.0f}", f"{part.free_us:.0f}")
    table.add_section()
    table.add_row("together, one thread", f"{found.alone_us:.0f}", f"{found.alone_us - found.locked_us:.0f}")
    table.add_row("the engine as it comes: wall", f"{found.wall_us:.0f}", "")
    table.add_row("the engine as it comes: processor", f"{found.cpu_us:.0f}", "")
    table.add_section()
    for what, cost in found.floor.items():
        table.add_row(f"by itself: {what}", f"{cost:.0f}", "")
    console = Console(width=120)
    console.print(table)
    for line in _meaning(found):
        console.print(line)


def _meaning(found: Profile) -> list[str]:
    floor, cores = found.floor, os.cpu_count() or 1
    tenth, spread = floor[BLUEPRINT] / 10, found.cpu_us / cores
    least = floor[GZIP] + floor[DIGESTS] + floor[PARSING]
    reach = "out of reach" if max(spread, found.locked_us) > tenth else "within reach"
    own = f"Packing, hashing and parsing by themselves take {least:.0f} of one core, the engine {spread:.0f} of each of {cores}"
    return [
        f"The lock is held for {found.locked_us:.0f} µs: one process stores at most {1e6 / found.locked_us:,.0f} a second.",
        f"A batch becomes durable by {found.syncs} syncs and SQLite's commit; the blueprint syncs six times a document.",
        f"Ten times the blueprint's rate leaves {tenth:.0f} µs a document. {own}: {reach}.",
    ]
