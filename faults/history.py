"""A ledger with a long history: what commands and workers ask of it, and how old rows go."""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from config.settings import Settings
from faults.rows import Row
from faults.service import scratch
from faults.sizes import Sizes
from faults.tell import Tell
from models.ledger import NewJob
from models.listing import count_states, newest_jobs
from storage.engine import Engine
from tasks.accepted import claim
from tasks.prune import prune
from tasks.reconcile import run_reconcile, take_back_leases
from tasks.services import Services
from tasks.watch import Watch
from workers.accepted_files import unentered
from workers.cli.jobs_why import _look  # what the command looks at; it has no other name
from workers.prepare import prepare
from workers.why import why

_CALLS = 200
_DAYS = 120
"""The history reaches so far back."""
_KEPT_DAYS = 90
_QUEUED, _FAILED_OF = 2_000, 500
"""Jobs that wait, and one in so many that failed."""
_COLUMNS = (
    "job_id, kind, subject, state, priority, asked_by, attempts, queue, owner, token, renewals, payload,"
    " created_at, started_at, finished_at, due_at, sent_at, sends, outcome, error"
)


class _Busy:
    """A broker whose queues are never empty."""

    sent = 0

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:  # noqa: ARG002 - Broker's
        """Take the message."""
        self.sent += 1

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """Say that every message waits still."""
        return dict.fromkeys(queues, 2 * _QUEUED)


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Fill a ledger, ask it, prune it."""
    chooser = random.Random(f"{seed}:history")  # noqa: S311  # to be repeated, not to be secret
    with scratch(keep=sizes.keep) as folder:
        settings = Settings(data_dir=folder / "data")
        prepare(settings)
        path = settings.data_dir / "metadata" / "catalogue.db"
        now = datetime.now(UTC)
        with closing(sqlite3.connect(path)) as connection, connection:
            marks = ", ".join("?" * len(_COLUMNS.split(",")))
            connection.executemany(f"INSERT INTO job ({_COLUMNS}) VALUES ({marks})", _rows(sizes.history, now))  # noqa: S608
        tell(f"{sizes.history:,} rows are there")
        with Engine(settings.data_dir).open() as engine:
            broker = _Busy()
            with closing(_presence(services := Services(engine, broker))):
                rows = [_row(sizes, *one) for one in _measure(settings, services, path, sizes.history, chooser)]
                assert broker.sent >= _CALLS, "the reconciler had nothing to send"
                return [*rows, _prune(sizes, services, path, now, tell)]


def _presence(services: Services) -> Any:  # a Presence, which has a close()
    return services.presence


def _rows(count: int, now: datetime) -> Iterator[tuple[object, ...]]:
    """Yield rows as the workers leave them: the last ones wait, the others have ended, evenly over _DAYS."""
    step = timedelta(days=_DAYS) / count
    outcome = json.dumps({"stored": 1, "unchanged": 0, "failed": 0})
    error = json.dumps({"code": "not_json", "message": "It is no JSON.", "hint": "", "category": "input", "retryable": False})
    for number in range(count):
        at = now - step * (count - number)
        waits = number >= count - _QUEUED
        failed = not waits and number % _FAILED_OF == 0
        state = "queued" if waits else "failed" if failed else "done"
        times = (_text(at), None, None) if waits else (_text(at), _text(at), _text(at + timedelta(seconds=0.1)))
        due = (_text(now + timedelta(hours=1)), _text(now)) if waits else (None, None)
        said = (None, None) if waits else (None, error) if failed else (outcome, None)
        who = ("", 0) if waits else (f"host:{number % 4}:w:lock:{number}", 1)
        name = _name(number)
        yield (
            *(name, "store", f"/history/{number % 5000} {number}", state, 3, "producer", 0 if waits else 1, "short"),
            *(*who, 0, f"{name}.inbox", *times, *due, 0, *said),
        )


def _name(number: int) -> str:
    return f"{number:016x}{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}"


def _text(at: datetime) -> str:
    """Return an instant as SQLAlchemy writes it into SQLite."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _measure(
    settings: Settings, services: Services, path: Path, count: int, chooser: random.Random
) -> Iterator[tuple[str, list[float]]]:
    engine = services.engine
    ended, waiting = count - _QUEUED, iter(range(count - _QUEUED, count))

    def list_newest() -> None:
        with engine.database.read() as connection:
            newest_jobs(connection, [], None, 50)
            count_states(connection)
        unentered(engine.database, engine.folder.inbox)

    def list_failed() -> None:
        with engine.database.read() as connection:
            assert len(newest_jobs(connection, ["failed", "quarantined", "cancelled"], None, 50)) >= min(50, ended // _FAILED_OF)

    def explain() -> None:
        number = chooser.choice(
            (chooser.randrange(ended), chooser.randrange(ended, count), chooser.randrange(0, ended, _FAILED_OF))
        )
        assert why(_look(engine, settings, _name(number)))

    def claim_new() -> None:
        with services.presence.at_work() as owner:
            assert claim(services, owner, NewJob(f"new-{chooser.getrandbits(64):016x}", "store", "x.inbox"))

    def claim_waiting() -> None:
        with services.presence.at_work() as owner:
            assert claim(services, owner, NewJob(_name(next(waiting)), "store", "x.inbox"))

    yield "jobs: the newest 50, and how many in each state", _times(list_newest)
    yield "jobs: the newest 50 that failed", _times(list_failed)
    yield "why: done, failed or waiting", _times(explain)
    yield "claim: a job that is new", _times(claim_new)
    yield "claim: a job that waits", _times(claim_waiting)
    _end_running(path)
    watch = Watch(services.database, services.presence)
    due = iter(range(count - _QUEUED, count))

    def reconcile() -> None:
        assert take_back_leases(services, watch) == 1, "the lease of the dead was not taken back"
        assert run_reconcile(services) >= 1, "what was due was not sent"

    yield "reconcile: one dead worker, one job due", _times(reconcile, lambda: _let_die(path, _name(next(due))))


def _times(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    took = []
    for _ in range(_CALLS):
        before()
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return took


def _end_running(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        ended = _text(datetime.now(UTC))
        connection.execute("UPDATE job SET state = 'done', finished_at = ? WHERE state = 'running'", (ended,))


def _let_die(path: Path, job_id: str) -> None:
    """Have a job be run by a process that is no more."""
    values = ("host:1:worker:0123456789abcdef:1", _text(datetime.now(UTC)), job_id)
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE job SET state = 'running', owner = ?, started_at = ?, finished_at = NULL WHERE job_id = ?", values
        )


def _row(sizes: Sizes, what: str, took: Sequence[float]) -> Row:
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    measured = f"{p95:.1f} ms, median {statistics.median(took):.1f} ms, most {max(took):.1f} ms"
    return Row(f"history of {sizes.history:,}, {what}: p95", f"under {sizes.history_ms:.0f} ms", measured, p95 < sizes.history_ms)


def _prune(sizes: Sizes, services: Services, path: Path, now: datetime, tell: Tell) -> Row:
    """Have the policy remove what is older than _KEPT_DAYS, and compare with a count of our own."""
    limit = _text(now - timedelta(days=_KEPT_DAYS))
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        old, total = (
            int(connection.execute(f"SELECT count(*) FROM job {where}").fetchone()[0])  # noqa: S608  # the text is our own
            for where in (f"WHERE finished_at < '{limit}'", "")
        )
        tell(f"{old:,} of {total:,} rows are older than {_KEPT_DAYS} days")
        start = time.perf_counter()
        pruned = prune(services, now, _KEPT_DAYS, 10 * sizes.history)
        took = time.perf_counter() - start
        left, still_old = (
            int(connection.execute(f"SELECT count(*) FROM job {where}").fetchone()[0])  # noqa: S608  # as above
            for where in ("", f"WHERE finished_at < '{limit}'")
        )
    met = 0 < old == pruned.jobs == total - left and still_old == 0
    measured = f"{pruned.jobs:,} of {old:,} in {took:.1f} s; {left:,} younger ones stay"
    with suppress(ZeroDivisionError):
        measured += f"; {pruned.jobs / took:,.0f} a second"
    return Row(
        f"history of {sizes.history:,}: what is older than {_KEPT_DAYS} days is pruned", "all of it, nothing else", measured, met
    )
