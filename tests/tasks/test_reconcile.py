from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.ledger import postpone_job
from strongroom.errors import BrokerUnavailable
from tasks.reconcile import PATIENCE, SETTLED_S, run_reconcile
from tasks.verify import run_verify
from tests.support.desk import Desk, crash_at, document, failing, observed

JOB, OTHER = "job-00000001", "job-00000002"
STORE = ("strongroom.store", {"inbox": f"{JOB}.inbox"}, "short")


def _aged(path: Path) -> Path:
    os.utime(path, (0, 0))
    return path


def _is_due(desk: Desk, job_id: str, since: timedelta = timedelta(0)) -> None:
    with desk.engine.database.write("ledger") as connection:
        postpone_job(connection, job_id, datetime.now(UTC) - since, {"code": "x", "message": "m", "hint": "h"})


def test_an_accepted_file_whose_message_was_lost_is_sent_and_stored(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    assert run_reconcile(desk.services) == 1
    assert desk.sent == [STORE]
    desk.deliver()
    assert desk.job(JOB).state == "done"
    assert run_reconcile(desk.services) == 0


def test_a_fresh_file_is_left_to_its_own_message(desk: Desk) -> None:
    path = desk.stage(JOB, document())
    assert run_reconcile(desk.services) == 0
    os.utime(path, (0, datetime.now(UTC).timestamp() - SETTLED_S - 1))
    assert run_reconcile(desk.services) == 1


def test_while_messages_wait_in_its_queue_no_file_is_thought_lost(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    desk.queues["short"] = 1
    assert run_reconcile(desk.services) == 0
    desk.queues["short"] = 0
    desk.queues["long"] = 1
    assert run_reconcile(desk.services) == 1, "a long verification kept small files waiting"


def test_a_large_file_may_wait_in_the_long_queue(desk: Desk) -> None:
    path = desk.stage(JOB, document())
    os.truncate(path, 33 << 20)
    _aged(path)
    desk.queues["long"] = 1
    assert run_reconcile(desk.services) == 0
    desk.queues["long"] = 0
    assert run_reconcile(desk.services) == 1


def test_a_job_whose_process_died_is_sent_again_and_then_left_alone_for_a_while(
    root: Path, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk()
    _aged(desk.stage(JOB, document()))
    desk.close()
    crash_at(3, root, lambda child: child.run(JOB))
    desk = open_desk()

    assert [run_reconcile(desk.services) for _ in range(3)] == [1, 0, 0]

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
    assert run_reconcile(desk.services) == 1
    assert run_reconcile(desk.services) == 0


def test_a_running_job_of_a_living_process_is_not_sent_again(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk()
    _aged(one.stage(JOB, document()))
    again: list[int] = []

    def meanwhile(step: str) -> None:
        if step == "segment: flush":
            again.append(run_reconcile(other.services))

    with observed(meanwhile):
        one.run(JOB)
    assert again == [0]


def test_a_job_to_be_tried_again_is_sent_when_its_time_has_come_and_not_before(desk: Desk) -> None:
    _aged(desk.stage(JOB, document()))
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOB)
    _is_due(desk, JOB, since=timedelta(seconds=-5))
    assert run_reconcile(desk.services) == 0
    _is_due(desk, JOB)
    assert run_reconcile(desk.services) == 1
    desk.deliver()
    assert desk.job(JOB).state == "done"


def test_a_verification_is_sent_again_with_what_it_was_asked(root: Path, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.stage(JOB, document())
    desk.run(JOB)
    desk.close()
    crash_at(1, root, lambda child: run_verify(child.services, {"library_id": "/a/b", "version": "1.0"}, OTHER))
    desk = open_desk()
    assert run_reconcile(desk.services) == 1
    ((task, arguments, queue),) = desk.sent
    assert (task, arguments, queue) == (
        "strongroom.verify",
        {"library_id": "/a/b", "version": "1.0", "request_id": OTHER},
        "long",
    )
    run_verify(desk.services, arguments, "another-message")
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
    assert [run_reconcile(desk.services) for _ in range(3)] == [0, 0, 0]
    assert desk.jobs() == []


def test_what_only_looks_like_a_job_becomes_a_failed_one_once(desk: Desk) -> None:
    (desk.inbox / "link-00000001.inbox").symlink_to("/etc/passwd")
    os.utime(desk.inbox / "link-00000001.inbox", (0, 0), follow_symlinks=False)
    os.mkfifo(desk.inbox / "fifo-00000001.inbox")
    _aged(desk.inbox / "fifo-00000001.inbox")

    assert run_reconcile(desk.services) == 2
    desk.deliver()
    assert run_reconcile(desk.services) == 0

    assert {(row.job_id, row.state) for row in desk.jobs()} == {("link-00000001", "failed"), ("fifo-00000001", "failed")}
    assert {path.name for path in desk.services.failed.iterdir()} == {"link-00000001.inbox", "fifo-00000001.inbox"}


def test_a_broker_that_is_down_loses_nothing(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        desk.run(JOB)
    _is_due(desk, JOB)
    desk.send_fails_with = BrokerUnavailable("down")
    with pytest.raises(BrokerUnavailable):
        run_reconcile(desk.services)
    desk.send_fails_with = None
    _is_due(desk, JOB, PATIENCE)
    assert run_reconcile(desk.services) == 1
    desk.deliver()
    assert desk.job(JOB).state == "done"


def test_two_reconcilers_send_a_due_job_once(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk()
    one.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")):
        one.run(JOB)
    _is_due(one, JOB)
    assert run_reconcile(one.services) + run_reconcile(other.services) == 1
