from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from models.due import AT_ONCE, PATIENCE, SETTLED
from models.leases import end_job, take_leases
from models.ledger import NewJob, queue_jobs
from models.tables import Job, table_of
from storage.journal import read_journal
from strongroom.errors import BrokerUnavailable
from tasks.jobs import run_job
from tasks.reconcile import OVERLOOKED, run_reconcile
from tasks.verify import VERIFY
from tests.support.desk import Desk, crash_at, document, failing, observed

JOB, OTHER = "job-00000001", "job-00000002"
STORE = ("strongroom.store", {"inbox": f"{JOB}.inbox"}, "short")


def _aged(path: Path, seconds: float = 30.0) -> Path:
    then = datetime.now(UTC).timestamp() - seconds
    os.utime(path, (then, then))
    return path


def _is_due(desk: Desk, job_id: str, since: timedelta = timedelta(0)) -> None:
    due_at = datetime.now(UTC) - since
    with desk.engine.database.write("ledger") as connection:
        connection.execute(update(table_of(Job)).where(table_of(Job).c.job_id == job_id).values(due_at=due_at))


def test_an_accepted_file_whose_message_was_lost_is_sent_and_stored(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    assert desk.reconcile() == 1
    assert desk.sent == [STORE]
    desk.deliver()
    assert desk.job(JOB).state == "done"
    assert desk.reconcile() == 0


def test_a_fresh_file_is_left_to_its_own_message(desk: Desk) -> None:
    path = desk.stage(JOB, document())
    assert desk.reconcile() == 0
    os.utime(path, (0, datetime.now(UTC).timestamp() - SETTLED.total_seconds() - 1))
    assert desk.reconcile() == 1


def test_a_file_from_before_the_clock_was_set_back_is_not_left_until_its_time_comes(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()), -OVERLOOKED.total_seconds() / 2)
    _aged(desk.stage(OTHER, document()), -2 * OVERLOOKED.total_seconds())
    desk.queues["short"] = 2
    assert desk.reconcile() == 1, "one was overlooked for long"
    desk.queues["short"] = 0
    desk.sent.clear()
    assert desk.reconcile() == 1
    assert desk.sent == [STORE]


def test_while_messages_wait_in_its_queue_no_file_is_thought_lost(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    desk.queues["short"] = 1
    assert desk.reconcile() == 0
    desk.queues["short"] = 0
    desk.queues["long"] = 1
    assert desk.reconcile() == 1, "a long verification kept small files waiting"


def test_a_file_that_was_overlooked_for_long_is_sent_though_messages_wait(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()), OVERLOOKED.total_seconds() + 1)
    desk.queues["short"] = 1
    assert [desk.reconcile() for _ in range(3)] == [1, 0, 0]


def test_what_was_sent_is_known_to_the_ledger_with_the_time_it_was_accepted(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()), 30)
    desk.reconcile()
    row = desk.job(JOB)
    assert (row.state, row.attempts, row.priority, row.payload) == ("queued", 0, 3, f"{JOB}.inbox")
    assert 25 < (datetime.now(UTC) - row.created_at).total_seconds() < 40


def test_as_many_messages_are_lost_as_there_are_fewer_than_jobs(desk: Desk) -> None:
    """A broker that forgot everything gets new messages at once: its queue is not empty when somebody looks."""
    for number in range(10):
        _aged(desk.stage(f"job-{number:08}", document(version=f"{number}")), 60 - number)
    desk.queues["short"] = 7
    assert desk.reconcile() == 3
    assert [arguments["inbox"] for _, arguments, _ in desk.sent] == [f"job-{number:08}.inbox" for number in range(3)]
    desk.queues["short"] = 10
    assert desk.reconcile() == 0


def test_a_large_file_may_wait_in_the_long_queue(desk: Desk) -> None:
    path = desk.stage(JOB, document())
    os.truncate(path, 33 << 20)
    _aged(path)
    desk.queues["long"] = 1
    assert desk.reconcile() == 0
    desk.queues["long"] = 0
    assert desk.reconcile() == 1


def test_a_job_whose_process_died_is_sent_again_and_then_left_alone_for_a_while(
    root: Path, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk()
    _aged(desk.stage(JOB, document()))
    desk.close()
    crash_at(3, root, lambda child: child.run(JOB))
    desk = open_desk()

    assert [desk.reconcile() for _ in range(3)] == [1, 0, 0]

    assert desk.sent == [STORE]
    row = desk.job(JOB)
    assert row.due_at is not None
    assert (row.state, row.attempts) == ("queued", 1)
    assert PATIENCE - timedelta(seconds=5) < row.due_at - datetime.now(UTC) <= PATIENCE
    desk.deliver()
    assert desk.job(JOB).state == "done"


def test_a_job_that_was_sent_again_in_vain_is_sent_once_more(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOB)
    _is_due(desk, JOB, PATIENCE)
    assert desk.reconcile() == 1
    assert desk.reconcile() == 0


def test_a_running_job_of_a_living_process_is_not_sent_again(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk()
    _aged(one.stage(JOB, document()))
    again: list[int] = []

    def meanwhile(step: str) -> None:
        if step == "segment: flush":
            again.append(other.reconcile())

    with observed(meanwhile):
        one.run(JOB)
    assert again == [0]


def test_a_job_to_be_tried_again_is_sent_when_its_time_has_come_and_not_before(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOB)
    _is_due(desk, JOB, since=timedelta(seconds=-5))
    assert desk.reconcile() == 0
    _is_due(desk, JOB)
    assert desk.reconcile() == 1
    desk.deliver()
    assert desk.job(JOB).state == "done"


def test_a_verification_is_sent_again_with_what_it_was_asked(root: Path, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.stage(JOB, document())
    desk.run(JOB)
    desk.close()
    crash_at(1, root, lambda child: run_job(VERIFY, child.services, {"library_id": "/a/b", "version": "1.0"}, OTHER))
    desk = open_desk()
    assert desk.reconcile() == 1
    ((task, arguments, queue),) = desk.sent
    assert (task, arguments, queue) == (
        "strongroom.verify",
        {"library_id": "/a/b", "version": "1.0", "request_id": OTHER},
        "long",
    )
    run_job(VERIFY, desk.services, arguments, "another-message")
    assert desk.job(OTHER).state == "done"


def test_names_that_are_not_ours_are_left_alone(desk: Desk) -> None:
    for name in (
        "x.inbox",
        "a b c d e f g.inbox",
        "-0000000.inbox",
        "job-00000001.inbox.part",
        "README",
        f"{'a' * 65}.inbox",
        "é.inbox",
    ):
        _aged_file = desk.inbox / name
        _aged_file.write_bytes(b"not ours")
        _aged(_aged_file)
    (desk.inbox / "failed").mkdir()
    assert [desk.reconcile() for _ in range(3)] == [0, 0, 0]
    assert desk.jobs() == []


def test_what_only_looks_like_a_job_becomes_a_failed_one_once(desk: Desk) -> None:
    (desk.inbox / "link-00000001.inbox").symlink_to("/etc/passwd")
    os.utime(desk.inbox / "link-00000001.inbox", (0, 0), follow_symlinks=False)
    os.mkfifo(desk.inbox / "fifo-00000001.inbox")
    _aged(desk.inbox / "fifo-00000001.inbox")

    assert desk.reconcile() == 2
    desk.deliver()
    assert desk.reconcile() == 0

    assert {(row.job_id, row.state) for row in desk.jobs()} == {("link-00000001", "failed"), ("fifo-00000001", "failed")}
    assert {path.name for path in desk.services.failed.iterdir()} == {"link-00000001.inbox", "fifo-00000001.inbox"}


def test_a_broker_that_is_down_loses_nothing(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOB)
    _is_due(desk, JOB)
    desk.send_fails_with = BrokerUnavailable("down")
    with pytest.raises(BrokerUnavailable):
        desk.reconcile()
    desk.send_fails_with = None
    _is_due(desk, JOB, PATIENCE)
    assert desk.reconcile() == 1
    desk.deliver()
    assert desk.job(JOB).state == "done"


def test_a_flood_of_due_jobs_leaves_time_to_look_for_lost_leases(desk: Desk) -> None:
    now = datetime.now(UTC)
    with desk.engine.database.write("ledger") as connection:
        queue_jobs(
            connection, [NewJob(f"job-{number:08d}", "verify", "{}", queue="long") for number in range(AT_ONCE + 1)], now, now
        )
    seconds = itertools.count()
    assert run_reconcile(desk.services, lambda: 60.0 * next(seconds)) == AT_ONCE, "the first portion took a minute"
    assert run_reconcile(desk.services) == 1


def test_a_kind_that_only_a_newer_release_has_is_left_to_it_and_holds_nothing_up(desk: Desk) -> None:
    now = datetime.now(UTC)
    with desk.engine.database.write("ledger") as connection:
        jobs = [NewJob("newer-00000001", "teleport", "{}"), NewJob(OTHER, "verify", "{}", queue="long")]
        queue_jobs(connection, jobs, now, now)
    assert desk.reconcile() == 1
    assert [task for task, _, _ in desk.sent] == ["strongroom.verify"]
    assert desk.job("newer-00000001").state == "queued"


def test_two_reconcilers_send_a_due_job_once(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk()
    one.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        one.run(JOB)
    _is_due(one, JOB)
    assert one.reconcile() + other.reconcile() == 1


def _frozen_until_its_lease_is_gone(one: Desk, other: Desk) -> Callable[[str], None]:
    """Return an observer that stands for a process that is frozen before its commit, while another one watches."""
    done: list[str] = []

    def observe(step: str) -> None:
        if step == "catalogue: commit" and not done:
            done.append(step)
            for now_s in range(0, 20, 2):
                other.now_s = now_s
                other.reconcile()
            assert other.sent == [STORE], "the frozen job was sent again"
            other.deliver()
            assert other.job(JOB).state == "done"

    return observe


def test_a_frozen_worker_that_wakes_commits_nothing(open_desk: Callable[..., Desk]) -> None:
    """The other one cannot commit while the frozen one is inside its transaction: so it froze just before that."""
    one, other = open_desk(), open_desk()
    one.stage(JOB, document(text="x"))
    frozen = _frozen_until_its_lease_is_gone(one, other)
    with observed(lambda step: frozen("catalogue: commit") if step == "segment: fsync folder" else None):
        row = one.run(JOB)
    assert (row.state, row.attempts) == ("done", 2)
    assert len(one.revisions()) == 1
    assert one.engine.verify().damaged == []


def test_a_cancelled_job_is_not_committed_and_the_disk_does_not_tell_of_it(desk: Desk) -> None:
    desk.stage(JOB, document())

    def cancel(step: str) -> None:
        if step == "segment: flush":
            with desk.engine.database.write("ledger") as connection:
                values = {"state": "cancelled", "token": table_of(Job).c.token + 1}
                connection.execute(update(table_of(Job)).where(table_of(Job).c.job_id == JOB).values(values))

    with observed(cancel):
        row = desk.run(JOB)
    assert row.state == "cancelled"
    assert desk.revisions() == []
    assert [entry["void"]["version"] for entry in read_journal(desk.engine.folder.journal) if "void" in entry] == ["1.0"]


def test_jobs_taken_along_with_a_lost_one_are_given_back_untried(desk: Desk) -> None:
    desk.stage(JOB, document())
    desk.stage(OTHER, document(version="2.0"))

    def lose(step: str) -> None:
        if step == "segment: flush":
            with desk.engine.database.write("ledger") as connection:
                values = {"token": table_of(Job).c.token + 1}
                connection.execute(update(table_of(Job)).where(table_of(Job).c.job_id == OTHER).values(values))

    with observed(lose):
        row = desk.run(JOB)
    assert (row.state, row.attempts) == ("queued", 0)
    assert desk.revisions() == []
    assert desk.run(JOB).state == "done"


def test_jobs_above_the_limit_of_their_kind_are_sent_when_there_is_room_and_not_before(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(limits={"store": 1})
    names = [f"job-{number:08}" for number in range(1, 6)]
    with desk.services.presence.at_work() as owner:
        with desk.engine.database.write() as connection:
            lease = take_leases(connection, [NewJob("held", "store")], owner, datetime.now(UTC), lambda _: "alive")["held"].lease
        for name in names:
            _aged(desk.stage(name, document(version=name)), 5.0)
            assert desk.run(name).state == "queued"
        for _ in range(3):
            _time_passes(desk, timedelta(minutes=5))
            assert desk.reconcile() == 0, "they were sent again every two seconds"
        with desk.engine.database.write() as connection:
            end_job(connection, lease, "done", datetime.now(UTC))
    assert desk.reconcile() == 1
    assert desk.reconcile() == 0, "the one that was sent takes the room"
    while desk.deliver():
        desk.reconcile()
    assert {desk.job(name).state for name in names} == {"done"}


def _time_passes(desk: Desk, time: timedelta) -> None:
    job = table_of(Job)
    with desk.engine.database.write() as connection:
        for row in connection.execute(select(job.c.job_id, job.c.due_at, job.c.sent_at)).all():
            then = {"due_at": row.due_at and row.due_at - time, "sent_at": row.sent_at and row.sent_at - time}
            connection.execute(update(job).where(job.c.job_id == row.job_id).values(then))
