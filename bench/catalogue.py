"""What people and jobs ask a catalogue of a million versions, beside SQLite reading the same rows by itself."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench.rows import Row, p95, seconds
from models.catalogue import find_version, list_libraries, list_versions
from models.sweeping import look_at, next_segments
from storage.cleanup import make_plan
from storage.engine import Engine
from storage.paths import tree_path
from storage.policies import parse_policies
from workers.garbage import settle

LARGE = 5_000
"""Versions of the two largest libraries; every other one has a fifth."""
_SMALL = LARGE // 5
_IN_A_SEGMENT = 250
_CALLS = 100
_GOAL_S = 0.050
_STEADY = parse_policies({"*": {"keep_last": 10, "within": "3500d"}})
_FIRST = parse_policies({"*": {"keep_last": 10}})
"""Of 5,000 versions 58 go, as they do week after week; or all but ten, as when a policy is new."""
_ROWS = "SELECT * FROM version JOIN object USING (content_sha256) WHERE library_id = ? AND current"

Question = Callable[[str], object]
"""Asks something about one library."""


def catalogue_rows(versions: int, scratch: Path) -> list[Row]:
    """Fill a catalogue with that many versions, in each library one every 17 hours up to now, and ask it."""
    now = datetime.now(UTC)
    settle()  # as a worker does
    with Engine(scratch / "catalogue").create() as engine:
        path = engine.folder.metadata / "catalogue.db"
        names = _fill(path, versions, now)
        with closing(sqlite3.connect(path)) as plain:
            return list(_ask(engine, plain, names, now))


def _fill(path: Path, versions: int, now: datetime) -> list[str]:
    """Write the rows that stores would leave, without storing; return the libraries, the two largest first."""
    sizes = [min(LARGE, versions // 2)] * 2
    sizes += [_SMALL] * ((versions - sum(sizes)) // _SMALL)
    names = [f"/bench/library-{number}" for number in range(len(sizes))]
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, size in zip(names, sizes, strict=True):
            _insert(connection, "library", [_library(name, size, now)])
        ids = ((name, number) for name, size in zip(names, sizes, strict=True) for number in range(size))
        _insert(connection, "segment", (_segment(number, now) for number in range(sum(sizes) // _IN_A_SEGMENT + 1)))
        _insert(connection, "version", (_version(at, *one, now) for at, one in enumerate(ids)))
        _insert(connection, "object", (_object(number) for number in range(sum(sizes))))
        connection.execute("ANALYZE")
    return names


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[dict[str, object]] | list[dict[str, object]]) -> None:
    rows = iter(rows)
    first = next(rows)
    marks = ", ".join("?" * len(first))
    statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({marks})"
    connection.execute(statement, tuple(first.values()))
    connection.executemany(statement, (tuple(row.values()) for row in rows))


def _library(name: str, size: int, now: datetime) -> dict[str, object]:
    facts = dict.fromkeys(("name", "description", "category", "language", "homepage_url", "repository_url"), "")
    sums = {"total_versions": size, "total_size_bytes": size * 30_000, "compressed_size_bytes": size * 7_000}
    latest = {"latest_version": f"1.{size - 1}", "latest_rank": 4, "latest_key": f"{size - 1:08}", "latest_at": _text(now)}
    return {"library_id": name, **facts, **sums, **latest, "created_at": _text(now), "updated_at": _text(now)}


def _version(number: int, name: str, minor: int, now: datetime) -> dict[str, object]:
    at = now - timedelta(hours=minor * 17)
    return {
        "version_id": f"{number:036x}",
        "library_id": name,
        "version": f"1.{minor}",
        "revision": 1,
        "current": 1,
        "order_rank": 4,
        "order_key": f"{minor:08}",
        "file_path": tree_path(name, f"1.{minor}"),
        "file_size_bytes": 30_000,
        "compressed_size_bytes": 7_000,
        "content_sha256": f"{number:064x}",
        "created_at": _text(at),
        "download_source": "",
        "processing_status": "pending",
        **dict.fromkeys(("chunk_count", "embedding_count", "vector_count", "access_count"), 0),
        "in_tree": 1,
        "details": "{}",
    }


def _segment(number: int, now: datetime) -> dict[str, object]:
    return {
        "segment_sha256": f"{number:064x}",
        "size_bytes": _IN_A_SEGMENT * 7_000,
        "object_count": _IN_A_SEGMENT,
        "condemned": 0,
        "created_at": _text(now - timedelta(days=30)),
    }


def _object(number: int) -> dict[str, object]:
    place = {"segment_sha256": f"{number // _IN_A_SEGMENT:064x}", "offset": number % _IN_A_SEGMENT * 7_000, "length": 7_000}
    return {"content_sha256": f"{number:064x}", "size_bytes": 30_000, "codec": "gzip", **place, "stored_sha256": f"{number:064x}"}


def _text(at: datetime) -> str:
    """Return an instant as SQLAlchemy writes it into SQLite."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _ask(engine: Engine, plain: sqlite3.Connection, names: list[str], now: datetime) -> Iterator[Row]:
    chooser = random.Random(1)

    def listed(name: str) -> object:
        with engine.database.read() as connection:
            return list(list_versions(connection, name))

    def one_of_it(name: str) -> object:
        with engine.database.read() as connection:
            return find_version(connection, name, tree_path(name, "1.7")), list(list_versions(connection, name, "1.8"))

    def all_libraries(_name: str) -> object:
        with engine.database.read() as connection:
            return list(list_libraries(connection))

    def planned(name: str) -> object:
        return make_plan(engine.database, _STEADY, now, name)

    def planned_first(name: str) -> object:
        return make_plan(engine.database, _FIRST, now, name)

    def next_batch(_name: str) -> object:
        with engine.database.read() as connection:
            return look_at(connection, next_segments(connection, f"{chooser.random() * 1000:064.0f}"), now)

    def rows_alone(name: str) -> object:
        return plain.execute(_ROWS, (name,)).fetchall()

    small, large = names[2:] or names, names[:2]
    for what, question, libraries, peer in (
        (f"list a library of {_SMALL:,}", listed, small, rows_alone),
        (f"list a library of {LARGE:,}", listed, large, rows_alone),
        ("find one version by its name", one_of_it, small, None),
        (f"list all {len(names):,} libraries", all_libraries, small, None),
        (f"retention plan of a library of {_SMALL:,}", planned, small, rows_alone),
        (f"retention plan of a library of {LARGE:,}", planned, large, rows_alone),
        (f"the first plan of a library of {_SMALL:,}: nearly all goes", planned_first, small, rows_alone),
        ("the next batch of a sweep", next_batch, small, None),
    ):
        yield _row(what, question, peer, [chooser.choice(libraries) for _ in range(_CALLS)])


def _row(what: str, question: Question, peer: Question | None, libraries: list[str]) -> Row:
    question(libraries[0])
    took = p95([seconds(partial(question, name)) for name in libraries])
    beside = f"SQLite, the same rows: {p95([seconds(partial(peer, name)) for name in libraries]) * 1e3:.1f} ms" if peer else ""
    return Row(f"catalogue: {what}, p95", f"{took * 1e3:.1f} ms", beside, "under 50 ms", took < _GOAL_S)
