"""The whole way: client, broker, worker, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from celery import Celery

from bench.material import write_large_document
from bench.rows import Row, seconds
from storage.engine import Engine
from strongroom.client import Client
from strongroom.outgoing import Outgoing
from strongroom.service import service_broker_url

CHECKOUT = Path(__file__).resolve().parents[1]
_COMMAND = (sys.executable, "-m", "workers")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; what it says on standard error is shown."""
    return subprocess.run([*_COMMAND, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


@contextmanager
def service(data: Path) -> Iterator[Path]:
    """Run a service on a data folder."""
    command("up", "--detach", "--data", str(data), "--json")
    try:
        yield data
    finally:
        command("down", "--data", str(data), "--json")


def start_up(document: Path, scratch: Path) -> Row:
    """Measure from the start of ``up`` to the first stored document."""
    data = str(scratch / "start")

    def run() -> None:
        command("up", "--detach", "--data", data, "--json")
        command("store", str(document), "--wait", "--data", data, "--json")

    took = seconds(run)
    command("down", "--data", data, "--json")
    return Row(
        "from `strongroom up` to the first stored document",
        f"{took:.1f} s",
        "two commands, imports included",
        "under 5 s",
        took < 5,
    )


def through_the_queue(paths: Sequence[Path], data: Path, engine_rate: float) -> Row:
    """Measure many documents a message, to the last receipt, and how far the tree is behind then."""
    with Client.of_service(data) as client, Engine(data).open() as engine:
        start = time.perf_counter()
        tickets = client.store_many(Outgoing(path) for path in paths).unwrap()
        receipts = client.wait(tickets, timeout_s=300).unwrap()
        took = time.perf_counter() - start
        behind = len(paths) - sum(one.in_tree for one in engine.versions())
        while engine.tree.lag():
            time.sleep(0.02)
        lag = time.perf_counter() - start - took
    assert all(one.status == "stored" for one in receipts), [one.error for one in receipts if one.error][:1]
    rate = len(paths) / took
    return Row(
        f"through client, broker and worker, {len(paths)} documents",
        f"{rate:,.0f} documents/s; the tree {behind:,} documents behind, caught up {lag:.1f} s later",
        f"the engine: {engine_rate:,.0f}/s, ratio {rate / engine_rate:.2f}",
        "0.6 of the engine",
        rate >= 0.6 * engine_rate,
    )


def one_a_message(paths: Sequence[Path], data: Path) -> Row:
    """Measure one document a message beside tasks that do nothing, with the same pool and acknowledgement."""
    noop = noop_rate(len(paths), data)
    with Client.of_service(data) as client:
        start = time.perf_counter()
        tickets = [client.store(path).unwrap() for path in paths]
        receipts = client.wait(tickets, timeout_s=300).unwrap()
        rate = len(paths) / (time.perf_counter() - start)
    assert all(one.status == "stored" for one in receipts), [one for one in receipts if one.status != "stored"][:1]
    return Row(
        f"one document a message, {len(paths)} documents, in the tree",
        f"{rate:,.0f} documents/s",
        f"Celery tasks that do nothing: {noop:,.0f}/s, ratio {rate / noop:.2f}",
        "0.4 (we dream of 0.7)",
        rate >= 0.4 * noop,
    )


def noop_rate(count: int, data: Path) -> float:
    """Send and run tasks that do nothing on a worker of the same pool, events and acknowledgement; return tasks a second."""
    from bench.noop import TASK, done_count, noop_app  # noqa: PLC0415

    url = service_broker_url(data)
    environment = {**os.environ, "STRONGROOM_DATA_DIR": str(data), "STRONGROOM_BROKER_URL": url}
    arguments = ("worker", "-Q", "noop", "-c", "2", "-E", "--without-gossip", "--without-mingle", "-n", "noop@bench")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "bench.noop", *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    app = noop_app(url)
    counter = data / "tmp" / "noop"
    counter.mkdir(exist_ok=True)
    try:
        _run_noop(app, TASK, counter, 1)
        before = done_count(counter)
        return count / seconds(lambda: _run_noop(app, TASK, counter, before + count, count))
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(20)


def _run_noop(app: Celery, task: str, counter: Path, until: int, count: int = 1) -> None:
    from bench.noop import done_count  # noqa: PLC0415

    for _ in range(count):
        app.send_task(task, args=[str(counter)], queue="noop", ignore_result=True)
    while done_count(counter) < until:
        time.sleep(0.005)


def large_document(scratch: Path, data: Path, size: int = 200_000_000) -> list[Row]:
    """Store, read and verify a document of 200 MB; report the peak resident memory of each process that touches it."""
    path = scratch / "large.json"
    write_large_document(path, size)
    peaks = {"client": _peak([*_COMMAND, "store", str(path), "--wait", "--json", "--data", str(data)])}
    for process in _workers(data):
        name = "long" if "long" in " ".join(process.cmdline()) else "short"
        peaks[f"worker {name}"] = max(peaks.get(f"worker {name}", 0), _high_water(process.pid))
    output = scratch / "large.out"
    peaks["get"] = _peak([*_COMMAND, "get", "/bench/large", "-o", str(output), "--data", str(data)])
    peaks["verify"] = _peak([*_COMMAND, "verify", "/bench/large", "--json", "--data", str(data)])
    same = path.read_bytes() == output.read_bytes()
    worst = max(peaks.values())
    told = ", ".join(f"{name} {peak / 1e6:.0f}" for name, peak in peaks.items())
    return [
        Row("resident memory, document of 200 MB, each process", f"{told} MB", "", "each under 150 MB", worst < 150e6 and same)
    ]


def _workers(data: Path) -> list[psutil.Process]:
    state = json.loads((data / "run" / "service.json").read_bytes())
    family = psutil.Process(state["pid"]).children(recursive=True)
    return [one for one in family if "worker" in one.cmdline() and "celery" in " ".join(one.cmdline())]


def _high_water(pid: int) -> int:
    """Return VmHWM of proc_pid_status(5) in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _peak(arguments: Sequence[str]) -> int:
    """Run a command and return its peak resident memory in bytes.

    Read from /proc while it runs: what wait4 tells counts the fork of this process too, before the command began.
    """
    process = subprocess.Popen(arguments, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        with suppress(FileNotFoundError, ProcessLookupError):
            peak = max(peak, _high_water(process.pid))
        time.sleep(0.01)
    assert process.returncode == 0, arguments
    return peak
