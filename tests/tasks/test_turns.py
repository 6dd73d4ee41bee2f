"""tasks/turns.py: who has waited long for room gets it, and nobody is held up for long by one that never fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from models.ledger import JobRow
from models.tables import Job, table_of
from storage.engine import Options
from storage.governor import Governor, Space
from storage.quotas import parse_quotas
from tasks.admission import needs_of_store, wake_parked
from tasks.jobs import run_job
from tasks.reconcile import send_due
from tasks.turns import PATIENCE, TURN, is_turn, kept_bytes
from tasks.verify import VERIFY
from tests.support.desk import Desk, document, failing

LARGE, SMALL = "job-large-01", "job-small-01"
OPEN = datetime(2020, 1, 1, tzinfo=UTC)
"""The first of ten minutes that are nobody's turn; the ten after them are one. Long ago: what is accepted now comes later."""
NEXT_TURN = OPEN + TURN
Open = Callable[..., Desk]


@dataclass
class Clock:
    now: datetime = OPEN

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Disk:
    """What one process sees of a disk."""

    free_bytes: int
    total_bytes: int = 1 << 40

    def __call__(self, _path: object) -> Space:
        return Space(self.total_bytes, self.free_bytes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(open_desk: Open, clock: Clock) -> Open:
    """Opens desks that ask this clock whose turn it is."""

    def open_one(**options: object) -> Desk:
        desk = open_desk(**options)
        desk.services.presence.close()
        desk.services = replace(desk.services, clock=clock)
        return desk

    return open_one


def _see(desk: Desk, disk: Disk) -> None:
    desk.engine.governor = Governor(desk.root, 0, disk)


def _stage(desk: Desk, job_id: str, version: str, library_id: str = "/a/b", size: int = 10) -> int:
    """Put a job into the inbox; return what it needs of the disk."""
    desk.stage(job_id, document(library_id, version, text="x" * size))
    return needs_of_store(desk.services, f"{job_id}.inbox")


def _accepted_at(desk: Desk, job_id: str, at: datetime, **values: object) -> None:
    job = table_of(Job)
    with desk.engine.database.write() as connection:
        changed = connection.execute(update(job).where(job.c.job_id == job_id).values(created_at=at, **values))
        assert changed.rowcount == 1


def _kept(desk: Desk, now: datetime) -> int:
    with desk.engine.database.read() as connection:
        return kept_bytes(desk.services, connection, now)


def _code(row: JobRow) -> tuple[str, str]:
    return row.state, (row.error or {}).get("code", "")


@pytest.fixture
def waiting(opened: Open, clock: Clock) -> tuple[Desk, Disk, int]:
    """A large job that lacks one byte and has waited for a quarter of an hour when the turn begins; what it needs."""
    clock.now = NEXT_TURN - timedelta(minutes=1)
    desk, disk = opened(), Disk(0)
    needed = _stage(desk, LARGE, "1.0", size=2 << 20)
    disk.free_bytes = needed - 1
    _see(desk, disk)
    assert _code(desk.run(LARGE)) == ("parked", "not_enough_space")
    _accepted_at(desk, LARGE, NEXT_TURN - timedelta(minutes=15))
    return desk, disk, needed


def test_every_other_ten_minutes_are_a_turn() -> None:
    minutes = [is_turn(OPEN + timedelta(minutes=number)) for number in range(60)]
    assert minutes == ([False] * 10 + [True] * 10) * 3


def test_in_a_turn_a_later_job_waits_though_it_would_fit_and_the_one_that_waited_goes_first(
    waiting: tuple[Desk, Disk, int], clock: Clock
) -> None:
    desk, disk, needed = waiting
    _stage(desk, SMALL, "2.0")
    clock.now = NEXT_TURN
    row = desk.run(SMALL)
    assert _code(row) == ("parked", "not_enough_space")
    assert "are kept for jobs that have waited for long" in (row.error or {})["message"]
    assert wake_parked(desk.services) == 0
    disk.free_bytes = needed
    assert wake_parked(desk.services) == 1
    assert desk.run(SMALL).state == "parked"
    assert desk.run(LARGE).state == "done"
    assert wake_parked(desk.services) == 1
    assert desk.run(SMALL).state == "done"


def test_one_that_was_woken_keeps_its_turn_while_its_message_is_behind_those_of_others(
    waiting: tuple[Desk, Disk, int], clock: Clock
) -> None:
    desk, disk, needed = waiting
    _stage(desk, SMALL, "2.0")
    clock.now, disk.free_bytes = NEXT_TURN, needed
    assert wake_parked(desk.services) == 1
    assert send_due(desk.services) == 1
    assert desk.job(LARGE).state == "queued"
    assert _code(desk.run(SMALL)) == ("parked", "not_enough_space")
    assert wake_parked(desk.services) == 0
    assert desk.run(LARGE).state == "done"
    assert wake_parked(desk.services) == 1


def test_between_the_turns_a_later_job_goes_when_it_fits(waiting: tuple[Desk, Disk, int], clock: Clock) -> None:
    desk, _, _ = waiting
    _stage(desk, SMALL, "2.0")
    clock.now = NEXT_TURN + timedelta(minutes=9)
    assert desk.run(SMALL).state == "parked"
    clock.now = NEXT_TURN + TURN
    assert wake_parked(desk.services) == 1
    assert desk.run(SMALL).state == "done"
    assert desk.job(LARGE).state == "parked"


def test_who_was_accepted_less_than_ten_minutes_ago_has_no_turn_and_who_came_before_is_not_held_up(
    waiting: tuple[Desk, Disk, int], clock: Clock
) -> None:
    desk, _, needed = waiting
    clock.now = NEXT_TURN
    assert _kept(desk, clock.now) == needed
    _accepted_at(desk, LARGE, NEXT_TURN - PATIENCE + timedelta(seconds=1))
    assert _kept(desk, clock.now) == 0
    _accepted_at(desk, LARGE, NEXT_TURN - PATIENCE)
    _stage(desk, SMALL, "2.0")
    clock.now = OPEN
    with failing("segment: fsync", OSError(5, "Input/output error")):
        assert desk.run(SMALL).state == "retrying"
    _accepted_at(desk, SMALL, NEXT_TURN - PATIENCE - timedelta(seconds=1))
    clock.now = NEXT_TURN
    assert desk.run(SMALL).state == "done"


def test_what_needs_no_room_always_goes(waiting: tuple[Desk, Disk, int], clock: Clock) -> None:
    desk, _, _ = waiting
    clock.now = NEXT_TURN
    run_job(VERIFY, desk.services, {"request_id": SMALL}, SMALL)
    assert desk.job(SMALL).state == "done"


def test_what_a_worker_takes_along_waits_as_well(waiting: tuple[Desk, Disk, int], clock: Clock) -> None:
    desk, disk, needed = waiting
    first = _stage(desk, SMALL, "2.0")
    _stage(desk, "job-other-01", "3.0")
    disk.free_bytes = needed + first - 1
    _accepted_at(desk, LARGE, NEXT_TURN - timedelta(minutes=15), needs_bytes=needed - 1)
    clock.now = NEXT_TURN
    assert desk.run(SMALL).state == "done"
    assert desk.find("job-other-01") is None


def test_a_document_that_is_larger_than_the_disk_holds_nobody_up(waiting: tuple[Desk, Disk, int], clock: Clock) -> None:
    desk, disk, needed = waiting
    disk.total_bytes = needed - 1
    _stage(desk, SMALL, "2.0")
    clock.now = NEXT_TURN
    assert desk.run(SMALL).state == "done"


def test_a_nightly_job_keeps_nothing_unless_it_fits_beside_what_is_stored(waiting: tuple[Desk, Disk, int]) -> None:
    desk, disk, needed = waiting
    _accepted_at(desk, LARGE, OPEN, kind="compress")
    assert _kept(desk, NEXT_TURN) == 0
    disk.free_bytes = needed
    assert _kept(desk, NEXT_TURN) == needed


def test_jobs_that_never_fit_together_leave_the_others_half_of_the_time(waiting: tuple[Desk, Disk, int]) -> None:
    desk, disk, needed = waiting
    together = needed
    for number in range(3):
        together += _stage(desk, f"job-more-{number:04}", f"{number}.1", size=2 << 20)
        assert desk.run(f"job-more-{number:04}").state == "parked"
        _accepted_at(desk, f"job-more-{number:04}", OPEN - number * timedelta(minutes=7))
    kept = [_kept(desk, OPEN + timedelta(minutes=number)) for number in range(60)]
    assert kept == ([0] * 10 + [together] * 10) * 3
    assert disk.free_bytes < needed


@pytest.mark.parametrize("turns", [True, False])
def test_room_that_comes_bit_by_bit_comes_together_for_the_large_one_and_only_in_turns(
    waiting: tuple[Desk, Disk, int], clock: Clock, turns: bool
) -> None:
    desk, disk, needed = waiting
    disk.free_bytes, minutes = needed // 2, 0
    while desk.job(LARGE).state == "parked" and minutes < 25:
        minutes += 1
        clock.now = OPEN + timedelta(minutes=minutes) if turns else OPEN
        disk.free_bytes += needed // 8
        small = f"job-small-{minutes:04}"
        while disk.free_bytes >= _stage(desk, small, f"{minutes}.2", size=needed // 20) and desk.run(small).state == "done":
            disk.free_bytes -= needs_of_store(desk.services, f"{small}.inbox") or needed // 10
            small += "x"
        (desk.inbox / f"{small}.inbox").unlink(missing_ok=True)
        desk.run(LARGE)
    assert (desk.job(LARGE).state == "done") == turns


# --- quotas ---


def _limited(opened: Open, **limits: object) -> Desk:
    return opened(options=Options(quotas=parse_quotas(limits)))


def _full(opened: Open, limit_bytes: int = 2000, **limits: object) -> Desk:
    """A library in which a large job waits for room, and some is left for small ones."""
    desk = _limited(opened, **{"/a/b": limit_bytes, **limits})
    for job_id, version in (("job-first-01", "0.1"), (LARGE, "1.0")):
        _stage_random(desk, job_id, version)
        desk.run(job_id)
    assert _code(desk.job(LARGE)) == ("parked", "quota_exceeded")
    _accepted_at(desk, LARGE, OPEN)
    return desk


def _stage_random(desk: Desk, job_id: str, version: str) -> None:
    from random import Random

    desk.stage(job_id, document("/a/b", version, text=Random(version).randbytes(800).hex()))


def test_in_a_turn_a_later_job_of_the_same_library_waits_and_those_of_others_go(opened: Open, clock: Clock) -> None:
    desk = _full(opened, 1300)
    for name, library in ((SMALL, "/a/b"), ("job-other-01", "/c/d")):
        _stage(desk, name, "2.0", library)
    clock.now = NEXT_TURN
    assert _code(desk.run(SMALL)) == ("parked", "quota_exceeded")
    message = (desk.job(SMALL).error or {})["message"]
    assert message.endswith(f"is kept for jobs that have waited for long, the first of them {LARGE}.")
    desk.run("job-other-01")
    assert desk.job("job-other-01").state == "done"
    assert len(desk.revisions()) == 1
    assert wake_parked(desk.services) == 0
    clock.now = NEXT_TURN + TURN
    assert wake_parked(desk.services) == 1
    assert desk.run(SMALL).state == "done"


def test_who_was_accepted_before_the_one_that_has_a_turn_is_not_held_up(opened: Open, clock: Clock) -> None:
    desk = _full(opened, 1300)
    _stage(desk, SMALL, "2.0")
    clock.now = NEXT_TURN
    assert desk.run(SMALL).state == "parked"
    _accepted_at(desk, SMALL, OPEN - timedelta(seconds=1))
    assert desk.run(SMALL).state == "done"


def test_when_there_is_room_in_a_turn_the_one_that_waited_goes_and_the_others_behind_it(opened: Open, clock: Clock) -> None:
    _full(opened, 1300).close()
    clock.now = NEXT_TURN
    desk = _limited(opened, **{"/a/b": 2000})
    _stage(desk, SMALL, "2.0", size=900)
    assert wake_parked(desk.services) == 1
    desk.run(LARGE)
    desk.run(SMALL)
    assert (desk.job(LARGE).state, desk.job(SMALL).state) == ("done", "done")


def test_a_job_that_is_larger_than_the_quota_holds_nobody_up(opened: Open, clock: Clock) -> None:
    _full(opened, 1300).close()
    desk = _limited(opened, **{"/a/b": 850})
    with desk.engine.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM version")
    _stage(desk, SMALL, "2.0")
    clock.now = NEXT_TURN
    assert desk.run(SMALL).state == "done"


def test_the_total_is_kept_too_and_a_job_that_goes_one_by_one_waits_as_well(opened: Open, clock: Clock) -> None:
    desk = _full(opened, 10**6, total=1300)
    desk.stage(SMALL, document("/c/d", "1.0"), document("/c/d", "2.0"))
    with failing("segment: fsync", OSError(5, "Input/output error")):
        assert desk.run(SMALL).state == "retrying"
    clock.now = NEXT_TURN
    assert _code(desk.run(SMALL)) == ("parked", "quota_exceeded")
    clock.now = NEXT_TURN + TURN
    assert desk.run(SMALL).state == "done"
