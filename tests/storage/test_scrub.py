"""storage/scrub.py and coverage.py: everything is read in time, damage is reported and repaired, canaries must be found."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text, update

from models.findings import open_findings
from models.scrubbing import Due, claim_batch, mark_suspect, next_batch
from models.tables import Segment, table_of
from storage import scrub as scrubbing
from storage.canary import KINDS, clear, missed, plant
from storage.coverage import report_coverage
from storage.engine import Engine, Options
from storage.fetches import Fetches
from storage.fresh import fresh_sha256
from storage.pace import LOOK_S, Pace
from storage.read import file_sha256
from storage.scrub import Scrub, Scrubbed
from strongroom.errors import IntegrityError
from strongroom.result import Err, Ok, capture
from tests.support.archive import body, document, unfinished, view
from tests.support.crash import crash_at
from tests.support.faults import faults
from tests.support.thorough import stride

PERIOD = timedelta(days=30)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def filled(engine: Engine) -> Engine:
    for number in range(6):
        engine.store([document("/a/b", f"{number}.0", body(n=number, text="x" * 500))])
    return engine


def run(engine: Engine, clock: Clock, *, repair: bool = False) -> Scrubbed:
    return Scrub(engine.folder, engine.database, engine.repair if repair else None, clock=clock).run(PERIOD)


def segment(engine: Engine, version: str) -> Path:
    return engine.folder.segment(engine.find("/a/b", version).place.segment_sha256)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def rows(engine: Engine, column: str) -> dict[str, object]:
    with engine.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(text(f"SELECT segment_sha256, {column} FROM segment"))}


def test_what_is_new_is_read_by_the_next_scrub_and_then_left_alone(filled: Engine, clock: Clock) -> None:
    first = run(filled, clock)
    assert (first.segments, first.bad_segments, first.damaged, first.findings) == (6, [], [], [])
    assert first.canaries == len(KINDS)
    assert run(filled, clock).segments == 0
    filled.store([document("/new", "1.0", body(new=1))])
    assert run(filled, clock).segments == 1


def test_hourly_scrubs_read_everything_twice_in_each_period_whatever_its_size(filled: Engine, clock: Clock) -> None:
    run(filled, clock)
    with filled.database.write() as connection:  # as if each had a gigabyte
        connection.execute(update(table_of(Segment)).values(size_bytes=1 << 30))
    read = 0
    for _ in range(24 * 15):
        clock.now += timedelta(hours=2)
        done = Scrub(filled.folder, filled.database, None, clock=clock).run(PERIOD, every=timedelta(hours=2))
        read += done.segments
        assert done.segments <= 1, "no bursts"
        assert report_coverage(filled.database, 30, clock.now).is_kept
    assert 12 <= read <= 18 * 6


def test_what_waited_too_long_goes_first_and_is_read_at_once(filled: Engine, clock: Clock) -> None:
    run(filled, clock)
    clock.now += PERIOD * 0.9
    assert run(filled, clock).segments == 6


def test_damage_is_reported_kept_as_a_suspect_and_read_again_each_time(filled: Engine, clock: Clock) -> None:
    run(filled, clock)
    flip(segment(filled, "2.0"))
    with filled.database.write() as connection:
        mark_suspect(connection, [segment(filled, "2.0").name])
    for times in (1, 2):
        clock.now += timedelta(hours=1)
        done = run(filled, clock)
        assert [one.version for one in done.damaged] == ["2.0"]
        assert rows(filled, "checked_bad")[segment(filled, "2.0").name] == times
    with filled.database.read() as connection:
        found = [tuple(row) for row in connection.execute(text("SELECT code, subject FROM finding WHERE closed_at IS NULL"))]
    assert found == [("damaged", "/a/b 2.0 (revision 1)")]
    shutil.copy(_mended(filled, "2.0"), segment(filled, "2.0"))
    clock.now += timedelta(hours=1)
    assert run(filled, clock).damaged == []
    assert not any(rows(filled, "suspect").values())
    with filled.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM finding WHERE closed_at IS NULL")) == 0


def test_damage_that_another_worker_was_given_to_read_is_not_over(filled: Engine, clock: Clock) -> None:
    flip(segment(filled, "3.0"))
    assert [one.version for one in run(filled, clock).damaged] == ["3.0"]
    clock.now += timedelta(hours=1)
    with filled.database.write("claim") as connection:  # and was killed
        assert claim_batch(connection, 1, Due(clock.now, clock.now), clock.now, clock.now + timedelta(minutes=30))
    done = run(filled, clock)
    assert (done.bad_segments, [one.version for one in done.damaged]) == ([], ["3.0"])
    with filled.database.read() as connection:
        assert [one.code for one in open_findings(connection)] == ["damaged"]


def _mended(engine: Engine, version: str) -> Path:
    path = engine.folder.tmp / "mended"
    flipped = bytearray(segment(engine, version).read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(bytes(flipped))
    return path


def test_damage_is_repaired_by_the_scrub_that_finds_it(filled: Engine, clock: Clock) -> None:
    filled.store([document("/two", "1.0", body(n=1)), document("/two", "2.0", body(n=2))])
    filled.tree.catch_up()
    path = filled.folder.segment(filled.find("/two", "1.0").place.segment_sha256)
    flip(path)
    done = run(filled, clock, repair=True)
    assert ([one.version for one in done.repaired], done.damaged, done.findings) == (["2.0"], [], [])
    assert not any(rows(filled, "suspect").values())
    assert file_sha256(path) == path.name


def test_a_scrub_that_does_not_see_planted_damage_fails_and_raises_an_alarm(
    filled: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(path: Path, _pace: object) -> str:
        return path.name

    monkeypatch.setattr(scrubbing, "fresh_sha256", blind)
    with pytest.raises(IntegrityError, match="cut short"):
        run(filled, clock)
    with filled.database.read() as connection:
        assert connection.scalar(text("SELECT code FROM finding WHERE closed_at IS NULL")) == "canary_missed"
    assert set(rows(filled, "checked_at").values()) == {None}, "it vouches for nothing"
    monkeypatch.undo()
    assert run(filled, clock).segments == 6
    with filled.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM finding WHERE closed_at IS NULL")) == 0
    assert not list((filled.folder.run / "canaries").iterdir())


def test_each_kind_of_canary_is_what_it_says(engine: Engine) -> None:
    canaries = plant(engine.folder)
    bad = {one.name for one in canaries if fresh_sha256(one.folder.segment(one.name)) != one.name}
    assert missed(canaries, bad) == []
    assert missed(canaries, set()) == [kind for kind in KINDS if kind != "whole"]
    assert missed(canaries, {one.name for one in canaries}) == ["whole"]
    clear(canaries)


def test_a_scrub_that_is_killed_loses_one_batch_at_most(filled: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "BATCH_BYTES", 1)
    for step in ("scrub: commit", "scrub: committed", "findings: committed"):
        with crash_at(step):
            run(filled, clock)
    with crash_at(9):  # after some batches
        run(filled, clock)
    read = sum(value is not None for value in rows(filled, "checked_at").values())
    claimed = sum(value is not None for value in rows(filled, "claimed_until").values())
    assert claimed <= 3
    assert run(filled, clock).segments == 6 - read - claimed
    clock.now += scrubbing.CLAIM * 2
    run(filled, clock)
    assert None not in rows(filled, "checked_at").values()


def test_a_call_that_fails_anywhere_is_told_and_the_next_scrub_finds_and_repairs_all(
    filled: Engine, clock: Clock, scratch: Path
) -> None:
    options = Options(fetches=Fetches(producer=lambda _wanted: iter([body(n=1, text="x" * 500)])))
    flip(segment(filled, "1.0"))
    before = view(filled)
    filled.close()
    number, fired = 0, True
    while fired:
        number += stride(3)
        shutil.rmtree(scratch / "copy", ignore_errors=True)
        with Engine(Path(shutil.copytree(filled.folder.root, scratch / "copy", symlinks=True)), options).open() as engine:
            with faults(number, (errno.ENOSPC, errno.EIO)[number % 2]) as injected:
                outcome = capture(lambda engine=engine: run(engine, clock, repair=True))  # type: ignore[misc]
            assert isinstance(outcome, Ok) or outcome.problem.code in {"disk_full", "io_error"}, injected.calls[-1]
            fired = injected.fired
            assert unfinished(engine) == [], injected.calls[-1]
            assert not list(engine.folder.run.glob("canaries/*")), injected.calls[-1]
            assert isinstance(outcome, Err) or not outcome.value.damaged, injected.calls[-1]
            clock.now += timedelta(hours=2)
            assert run(engine, clock, repair=True).damaged == []
            assert view(engine) == before
    assert number > 15, "hardly anything was made to fail"


def test_what_one_worker_claimed_no_other_is_given_until_its_time_is_over(filled: Engine) -> None:
    due, until = Due(NOW, NOW), NOW + timedelta(minutes=30)
    with filled.database.write() as connection:
        first = claim_batch(connection, 700, due, NOW, until)
        second = claim_batch(connection, 1 << 20, due, NOW, until)
        assert (len({*first, *second}), len(first) + len(second)) == (6, 6)
        assert claim_batch(connection, 1 << 20, due, NOW, until) == []
        assert len(claim_batch(connection, 1 << 20, due, until + timedelta(seconds=1), until)) == 6


@pytest.fixture
def many(engine: Engine) -> Iterator[Connection]:
    with engine.database.write() as connection:
        connection.execute(
            text(
                "WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < 100000) "
                "INSERT INTO segment (segment_sha256, size_bytes, object_count, condemned, created_at, checked_at) "
                "SELECT printf('%064x', n * 7919 % 100003), 80000, 1, 0, :stored, datetime(:now, '-' || n || ' seconds') FROM one"
            ),
            {"stored": NOW - timedelta(days=40), "now": f"{NOW:%Y-%m-%d %H:%M:%S}"},
        )
    with engine.database.read() as connection:
        yield connection


def test_the_next_batch_of_a_large_catalogue_is_found_by_its_index(many: Connection) -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        batch = next_batch(many, 64 << 20, Due(NOW, NOW), NOW)
        took.append(time.perf_counter() - began)
        assert len(batch) == 838
    assert min(took) < 0.05


def test_coverage_tells_danger_before_the_promise_breaks(filled: Engine, clock: Clock) -> None:
    run(filled, clock)
    report = report_coverage(filled.database, 30, clock.now)
    assert (report.state, report.segments, report.never_checked, report.debt_bytes) == ("kept", 6, 0, 0)
    assert report.done_at is not None
    later = clock.now + timedelta(days=28)
    assert report_coverage(filled.database, 30, later).state == "in danger"
    assert report_coverage(filled.database, 30, clock.now + timedelta(days=8)).state == "in danger", "nothing was read for a week"
    broken = report_coverage(filled.database, 30, clock.now + timedelta(days=31))
    assert (broken.state, broken.is_kept, broken.debt_segments) == ("broken", False, 6)


def test_an_empty_store_keeps_its_promise(engine: Engine, clock: Clock) -> None:
    assert run(engine, clock).segments == 0
    assert report_coverage(engine.database, 30, clock.now).state == "kept"


def test_a_pace_stands_aside_for_others_and_keeps_to_its_limit() -> None:
    aside = Pace(busy=lambda: True)
    began = time.perf_counter()
    for _ in range(4):
        aside(1 << 20)
    assert aside.yielded_s > 0
    limited = Pace(most_mb_s=100)
    for _ in range(5):
        limited(1 << 20)
    assert time.perf_counter() - began > 0.04
    free = Pace()
    began = time.perf_counter()
    for _ in range(1000):
        free(1 << 20)
    assert time.perf_counter() - began < 2


def test_a_pace_stands_aside_between_two_jobs_too() -> None:
    looks = [True, False, False]
    pace = Pace(busy=lambda: looks.pop(0))
    while looks:
        pace(1 << 20)
    assert pace.yielded_s > 1.5 * LOOK_S, "until the third look, not until the second"


def test_a_fresh_read_hashes_as_any_other_and_names_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    assert fresh_sha256(path) == file_sha256(path)
    assert fresh_sha256(tmp_path / "none") == ""
