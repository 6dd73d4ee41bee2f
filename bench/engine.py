"""The engine by itself: ingest, reading, verification, what is saved."""

from __future__ import annotations

import gzip
import json
import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from bench import peers
from bench.material import CorpusEntry
from bench.rows import Row, in_turn, p95, seconds
from storage.engine import Engine
from storage.intake import Incoming, incoming
from strongroom.contracts import DocumentReceipt
from workers.garbage import settle

BATCH = 500
NAIVE = 500
"""Documents for the naive peer: its rate does not depend on how many there are."""


def from_file(path: Path) -> Incoming:
    """Return a file as a document to store. Read unbuffered: it is read whole, or in large pieces."""
    name = str(path)
    return incoming(partial(_open, name), os.stat(name).st_size, name)


def _open(name: str) -> BinaryIO:
    return cast("BinaryIO", open(name, "rb", buffering=0))


def ingest(paths: Sequence[Path], scratch: Path) -> tuple[list[Row], float]:
    """Measure durable ingest; return the rows and our documents a second."""
    ours, two, restic, naive = in_turn(
        3,
        lambda: _store_all(paths, scratch / "engine"),
        lambda: _store_in_two(paths, scratch / "engines"),
        lambda: peers.restic(paths[0].parent, scratch) or float("nan"),
        lambda: peers.blueprint(paths[:NAIVE], scratch / "naive") * len(paths) / NAIVE,
    )
    rate, two_rate, restic_rate, naive_rate = (len(paths) / took for took in (ours, two, restic, naive))
    disk = peers.synced_files(scratch / "disk", 500, 30_000)
    what = f"ingest, {len(paths)} documents of 30 KB, batches of {BATCH}"
    known = not math.isnan(restic_rate)
    rows = [
        Row(
            what,
            f"{rate:,.0f} documents/s",
            f"{peers.restic_version()}: {restic_rate:,.0f}/s, ratio {rate / restic_rate:.2f}"
            if known
            else "restic is not installed",
            "1.5 times restic",
            rate >= 1.5 * restic_rate if known else None,
        ),
        Row(
            "the same in two processes, as the service runs it",
            f"{two_rate:,.0f} documents/s",
            f"restic, both cores: {restic_rate:,.0f}/s, ratio {two_rate / restic_rate:.2f}"
            if known
            else "restic is not installed",
            "1.5 times restic",
            two_rate >= 1.5 * restic_rate if known else None,
        ),
        Row(
            "the same, beside the naive blueprint",
            f"{rate:,.0f} documents/s",
            f"blueprint, synced: {naive_rate:,.0f}/s, ratio {rate / naive_rate:.1f}",
            "10 times the blueprint",
            rate >= 10 * naive_rate,
        ),
        Row("the disk: files of 30 KB, each synced", f"{disk:,.0f} files/s", "", "printed", None),
    ]
    return rows, rate


def _store_all(paths: Sequence[Path], root: Path) -> float:
    shutil.rmtree(root, ignore_errors=True)
    with Engine(root).create() as engine:
        settle()
        return seconds(lambda: store_in_batches(engine.store, paths))


def _store_in_two(paths: Sequence[Path], root: Path) -> float:
    """Store with two processes on one folder, started beforehand; return the seconds until both are done."""
    shutil.rmtree(root, ignore_errors=True)
    Engine(root).create().close()
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    halves = [paths[::2], paths[1::2]]
    workers = [context.Process(target=_store_when_told, args=(half, root, ready, go)) for half in halves]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()

    def run() -> None:
        go.set()
        for worker in workers:
            worker.join()

    took = seconds(run)
    assert [worker.exitcode for worker in workers] == [0, 0]
    return took


def _store_when_told(paths: Sequence[Path], root: Path, ready: Semaphore, go: Event) -> None:
    with Engine(root).open() as engine:
        settle()
        ready.release()
        go.wait()
        store_in_batches(engine.store, paths)


def store_in_batches(store: Callable[[Sequence[Incoming]], Sequence[DocumentReceipt]], paths: Sequence[Path]) -> None:
    """Store files, BATCH at a time."""
    for at in range(0, len(paths), BATCH):
        receipts = store([from_file(path) for path in paths[at : at + BATCH]])
        assert all(one.status == "stored" for one in receipts)


def corpus_rows(entries: Sequence[CorpusEntry], scratch: Path) -> list[Row]:
    """Measure on the corpus: what is saved, reading, verification."""
    if not entries:
        return [Row("the corpus", "not here", "", "saved, reading, verify: not measured", None)]
    with Engine(scratch / "corpus").create() as engine:
        receipts = engine.store([from_file(one.path) for one in entries])
        assert all(one.status == "stored" for one in receipts)
        engine.tree.catch_up()
        return [*_saved(engine), *_reading(engine), _verifying(engine)]


def _saved(engine: Engine) -> list[Row]:
    total = engine.totals()
    each = [1 - one.place.length / one.place.size_bytes for one in engine.versions()]
    worst = min(each)
    return [
        Row(
            f"saved on the corpus, {total.versions} documents, {total.size_bytes / 1e6:.0f} MB",
            f"{total.compression_ratio:.1%}, least {worst:.2%}",
            "",
            "over 72 %, each over 60 %",
            total.compression_ratio > 0.72 and worst > 0.6,
        )
    ]


def _reading(engine: Engine) -> list[Row]:
    small = [one for one in engine.versions() if one.place.length < 1_000_000]
    files = {(one.library_id, one.version): engine.folder.root / one.file_path for one in small}

    def ours(parse: Callable[[bytes], object]) -> list[float]:
        return [_took(partial(lambda it: parse(engine.read(it.library_id, it.version)), one)) for one in small]

    def standard(parse: Callable[[bytes], object]) -> list[float]:
        return [_took(partial(lambda it: parse(gzip.decompress(it.read_bytes())), path)) for path in files.values()]

    ours(len)  # warm, so that both find the files in memory
    plain, parsed = in_turn(3, lambda: p95(ours(len)), lambda: p95(ours(orjson.loads)))
    their_plain, their_parsed = in_turn(3, lambda: p95(standard(len)), lambda: p95(standard(json.loads)))
    what = f"read p95, {len(small)} documents under 1 MB compressed"
    return [
        _read_row(f"{what}: verified bytes", plain, their_plain, 0.015),
        _read_row(f"{what}: parsed", parsed, their_parsed, 0.040),
    ]


def _took(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _read_row(what: str, ours: float, theirs: float, limit: float) -> Row:
    peer = f"gzip and json of the standard library, unverified: {theirs * 1e3:.1f} ms"
    goal = f"under {limit * 1e3:.0f} ms and faster"
    return Row(what, f"{ours * 1e3:.1f} ms", peer, goal, ours < limit and ours < theirs)


def _verifying(engine: Engine) -> Row:
    segments = [path for path in engine.folder.segments.rglob("*") if path.is_file() and not path.suffix]
    size = sum(path.stat().st_size for path in segments)
    ours, theirs = in_turn(5, lambda: seconds(engine.verify), lambda: peers.sha256sum(segments))
    return Row(
        f"verify, {size / 1e6:.0f} MB stored",
        f"{size / ours / 1e6:,.0f} MB/s",
        f"sha256sum: {size / theirs / 1e6:,.0f} MB/s, ratio {theirs / ours:.2f}",
        "0.8 of sha256sum",
        theirs / ours >= 0.8,
    )
