"""Taking waiting jobs along: many messages, one barrier."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.interventions import begin_anew, cancel_jobs
from models.leases import give_back, take_leases
from models.ledger import NewJob
from strongroom.inbox import InboxWriter
from strongroom.routes import PRIORITIES
from tasks.accepted import TOGETHER_FILES
from tests.support.catalogue import START
from tests.support.desk import Desk, crash_at, document, failing, observed

JOBS = [f"job-{number:08}" for number in range(1, 6)]


def _stage_all(desk: Desk) -> None:
    for number, job_id in enumerate(JOBS):
        desk.stage(job_id, document(version=f"{number}.0"))


def test_a_worker_takes_waiting_jobs_along_and_shares_one_barrier(desk: Desk) -> None:
    _stage_all(desk)
    steps: list[str] = []
    with observed(steps.append):
        desk.run(JOBS[2])
    assert [desk.job(job_id).state for job_id in JOBS] == ["done"] * 5
    assert steps.count("segment: fsync") == steps.count("catalogue: commit") == 1
    assert len({one.place.segment_sha256 for one in desk.revisions()}) == 1
    assert all(desk.receipt(job_id) for job_id in JOBS)
    assert desk.staged == []


def test_each_job_is_told_of_its_own_documents_alone(desk: Desk) -> None:
    desk.stage(JOBS[0], document(version="1"), b"no", names=["a", "b"])
    desk.stage(JOBS[1], document(version="2"), names=["c"])
    desk.run(JOBS[0])
    told = [desk.receipt(job_id) for job_id in JOBS[:2]]
    assert [[(one["name"], one["status"]) for one in receipt["documents"]] for receipt in told if receipt] == [
        [("a", "stored"), ("b", "failed")],
        [("c", "stored")],
    ]
    assert [desk.job(job_id).state for job_id in JOBS[:2]] == ["failed", "done"]
    assert desk.kept == [JOBS[0]]


def test_messages_of_jobs_that_were_taken_along_change_nothing(desk: Desk) -> None:
    _stage_all(desk)
    desk.run(JOBS[0])
    before = desk.jobs()
    for job_id in JOBS:
        desk.run(job_id)
    assert desk.jobs() == before
    assert len(desk.revisions()) == 5


def test_a_job_that_was_tried_before_runs_alone(root: Path, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.stage(JOBS[0], document(version="0.0"))
    desk.close()
    crash_at(2, root, lambda child: child.run(JOBS[0]))
    desk = open_desk()
    desk.stage(JOBS[1], document(version="1.0"))

    desk.run(JOBS[0])

    assert desk.job(JOBS[0]).state == "done"
    assert desk.find(JOBS[1]) is None
    assert desk.staged == [JOBS[1]]


def test_a_job_that_a_person_sent_again_runs_alone(desk: Desk) -> None:
    """It may have killed its worker before, though its attempts are counted from the beginning."""
    desk.stage(JOBS[0], document(version="0.0"))
    now = datetime.now(UTC)
    with desk.engine.database.write() as connection:
        cancel_jobs(connection, [], [NewJob(JOBS[0], "store", f"{JOBS[0]}.inbox")], {}, now)
        begin_anew(connection, [JOBS[0]], now)
    desk.stage(JOBS[1], document(version="1.0"))

    desk.run(JOBS[0])

    assert desk.job(JOBS[0]).state == "done"
    assert desk.find(JOBS[1]) is None


def test_a_job_that_kills_its_worker_harms_those_it_was_taken_along_with_once_only(
    root: Path, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk()
    _stage_all(desk)
    desk.close()
    crash_at(2, root, lambda child: child.run(JOBS[0]))
    desk = open_desk()
    assert {row.attempts for row in desk.jobs()} == {1}
    assert [desk.run(job_id).state for job_id in JOBS[1:]] == ["done"] * 4
    assert desk.job(JOBS[0]).state == "running"


def test_jobs_that_failed_together_are_all_tried_again(desk: Desk) -> None:
    _stage_all(desk)
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOBS[0])
    assert {row.state for row in desk.jobs()} == {"retrying"}
    assert [desk.run(job_id).state for job_id in JOBS] == ["done"] * 5


def test_what_is_broken_or_not_ours_is_not_taken_along(desk: Desk) -> None:
    _stage_all(desk)
    (desk.inbox / f"{JOBS[3]}.inbox").write_bytes(b"broken")
    os.mkfifo(desk.inbox / "fifo-00000001.inbox")
    (desk.inbox / "link-00000001.inbox").symlink_to(desk.inbox / f"{JOBS[1]}.inbox")
    (desk.inbox / "not ours.inbox").write_bytes((desk.inbox / f"{JOBS[1]}.inbox").read_bytes())
    (desk.inbox / "unfinished.1234.part").write_bytes(b"...")

    desk.run(JOBS[0])

    assert sorted(row.job_id for row in desk.jobs()) == [JOBS[0], JOBS[1], JOBS[2], JOBS[4]]
    assert {row.state for row in desk.jobs()} == {"done"}
    left = {path.name for path in desk.inbox.iterdir() if not path.is_dir()}
    assert left == {
        f"{JOBS[3]}.inbox",
        "fifo-00000001.inbox",
        "link-00000001.inbox",
        "not ours.inbox",
        "unfinished.1234.part",
    }


def test_large_jobs_are_not_taken_along(desk: Desk) -> None:
    desk.stage(JOBS[0], document())
    desk.stage(JOBS[1], document(version="2.0", text="x" * (9 << 20)))
    desk.run(JOBS[0])
    assert desk.staged == [JOBS[1]]


def test_no_more_are_taken_along_than_fit(desk: Desk) -> None:
    many = [f"job-{number:08}" for number in range(TOGETHER_FILES + 10)]
    for number, job_id in enumerate(many):
        desk.stage(job_id, document(version=f"{number}"), receipt=False)
    desk.run(many[0])
    assert len(desk.staged) == 9


def test_a_file_that_its_producer_takes_back_leaves_no_job_running(desk: Desk) -> None:
    _stage_all(desk)

    def take_back(step: str) -> None:
        if step == "ledger: committed":
            (desk.inbox / f"{JOBS[4]}.inbox").unlink(missing_ok=True)

    with observed(take_back):
        desk.run(JOBS[0])
    assert "running" not in {row.state for row in desk.jobs()}


def test_open_files_are_closed_whatever_happens(desk: Desk) -> None:
    _stage_all(desk)
    desk.run(JOBS[0])
    before = len(os.listdir("/proc/self/fd"))
    _stage_all(desk)
    (desk.inbox / f"{JOBS[3]}.inbox").write_bytes(b"broken")
    for number, job_id in enumerate(["job-10000001", "job-10000002"]):
        desk.stage(job_id, document(version=f"7.{number}")).rename(desk.inbox / f"renamed-{number}.inbox")
        with pytest.raises(AssertionError):
            desk.run(f"missing-{number}!")
        desk.run(f"renamed-{number}")
    for job_id in JOBS:
        desk.run(job_id)
    assert len(os.listdir("/proc/self/fd")) == before


def test_jobs_that_were_tried_before_do_not_keep_others_from_being_taken_along(desk: Desk) -> None:
    """They lie at the front of the folder, in whatever order it has: nothing behind them was looked at."""
    tried = [f"tried-{number:08}" for number in range(2 * TOGETHER_FILES)]
    for job_id in tried:
        desk.stage(job_id, document(version=job_id))
    with desk.engine.database.write("ledger") as connection:
        taken = take_leases(connection, [NewJob(one, "store") for one in tried], "dead", START, lambda _row: "alive")
        give_back(connection, [row.lease for row in taken.values()], START)
    _stage_all(desk)
    desk.run(JOBS[0])
    assert [desk.job(one).state for one in JOBS] == ["done"] * len(JOBS)
    assert {desk.job(one).state for one in tried} == {"queued"}


def test_where_stores_are_limited_none_is_taken_along(open_desk: Callable[..., Desk]) -> None:
    """It would run as one too many, and pass the line of those that wait for room."""
    desk = open_desk(limits={"store": 1})
    _stage_all(desk)
    desk.run(JOBS[0])
    assert [row.job_id for row in desk.jobs()] == [JOBS[0]]
    for job_id in JOBS[1:]:
        desk.run(job_id)
    assert [desk.job(one).state for one in JOBS] == ["done"] * len(JOBS)


def test_the_ledger_says_since_when_each_job_was_accepted_and_how_urgent_it_was(desk: Desk) -> None:
    """Whoever looks into the history wants to know how long jobs waited."""
    for number, job_id in enumerate(JOBS[:3]):
        with InboxWriter(desk.inbox, job_id, priority="high") as writer:
            writer.add(document(version=f"{number}.0"))
            os.utime(writer.commit(), (START.timestamp(), START.timestamp() if number < 2 else 5e9))
    desk.run(JOBS[0])
    rows = [desk.job(job_id) for job_id in JOBS[:3]]
    assert [row.created_at for row in rows[:2]] == [START, START]
    assert [row.priority for row in rows[1:]] == [PRIORITIES["high"]] * 2
    assert all(row.started_at is not None and row.created_at <= row.started_at for row in rows), "nor does it lie in the future"
