"""tasks/admission.py: a job begins when what it may need is free, waits otherwise, and goes on by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from models.admission import promised_bytes
from models.due import running_jobs
from models.ledger import NewJob, find_jobs
from storage.engine import Options
from storage.governor import Governor, Space, store_peak
from storage.quotas import parse_quotas
from strongroom.errors import DiskFull
from tasks.accepted import claim
from tasks.admission import needs_of_store, wake_parked
from tasks.heart import Heart
from tasks.jobs import run_job
from tasks.verify import VERIFY
from tests.support.desk import Desk, crash_at, document, failing, steps_of

ONE, TWO, THREE = "job-one-0001", "job-two-0002", "job-three-003"
Open = Callable[..., Desk]


def _free(desk: Desk, free_bytes: int, reserve_bytes: int = 0) -> None:
    """Have that much be free on the disk, as far as this process can see."""
    desk.engine.governor = Governor(desk.root, reserve_bytes, lambda _path: Space(1 << 40, free_bytes))


def _needs(desk: Desk, job_id: str) -> int:
    return needs_of_store(desk.services, f"{job_id}.inbox")


def test_a_job_without_space_is_parked_uncounted_and_stored_once_when_there_is(desk: Desk) -> None:
    desk.stage(ONE, document())
    needed = _needs(desk, ONE)
    _free(desk, needed + 999, reserve_bytes=1000)
    row = desk.run(ONE)
    assert (row.state, row.attempts, row.needs_bytes) == ("parked", 0, needed)
    assert row.error is not None
    assert (row.error["code"], row.error["context"]) == (
        "not_enough_space",
        {"needs_bytes": needed, "room_bytes": needed - 1},
    )
    assert desk.staged == [ONE]
    assert desk.revisions() == []
    assert wake_parked(desk.services) == 0
    assert desk.reconcile() == 0

    _free(desk, needed + 1000, reserve_bytes=1000)
    assert wake_parked(desk.services) == 1
    assert desk.reconcile() == 1
    assert desk.deliver() == 1
    assert (desk.job(ONE).state, len(desk.revisions()), desk.staged) == ("done", 1, [])
    assert wake_parked(desk.services) == 0


def test_what_needs_nothing_goes_on_when_the_reserve_is_being_used_and_so_does_reading(desk: Desk) -> None:
    desk.stage(ONE, document())
    assert desk.run(ONE).state == "done"
    _free(desk, 0, reserve_bytes=1 << 30)
    run_job(VERIFY, desk.services, {"request_id": TWO}, TWO)
    assert desk.job(TWO).state == "done"
    assert desk.engine.read("/a/b") == document()


def test_space_that_a_running_job_may_need_is_not_given_twice_and_is_free_again_when_it_ends(desk: Desk, open_desk: Open) -> None:
    desk.stage(ONE, document())
    desk.stage(TWO, document(version="2.0"))
    other = open_desk(name="other:2")
    for each in (desk, other):
        _free(each, _needs(desk, ONE) + 100)

    with other.services.presence.at_work() as owner:
        held = claim(other.services, owner, NewJob(ONE, "store", f"{ONE}.inbox", needs_bytes=_needs(desk, ONE)))
    assert held is not None
    assert other.run(TWO).state == "parked"
    assert "running jobs may need" in str(dict(other.job(TWO).error or {}))
    assert wake_parked(other.services) == 0
    with desk.engine.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET state = 'queued', owner = '' WHERE job_id = 'job-one-0001'")
    assert desk.run(ONE).state == "done"
    assert wake_parked(other.services) == 1


def test_two_workers_that_admit_at_once_never_both_take_the_last_space(open_desk: Open) -> None:
    needed, rounds = 1000, 20
    desks = [open_desk(name=f"worker:{number}") for number in range(3)]
    for each in desks:
        _free(each, needed * 3 // 2)
    for number in range(rounds):
        with ExitStack() as stack:
            owners = [stack.enter_context(each.services.presence.at_work()) for each in desks]
            together = threading.Barrier(len(desks))

            def admit(
                index: int, number: int = number, owners: list[str] = owners, together: threading.Barrier = together
            ) -> None:
                together.wait()
                job = NewJob(f"round-{number:04}-{index}", "store", "x.inbox", needs_bytes=needed)
                claim(desks[index].services, owners[index], job)

            threads = [threading.Thread(target=admit, args=(index,)) for index in range(len(desks))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with desks[0].engine.database.write() as connection:
                assert len(running_jobs(connection)) == 1
                assert promised_bytes(connection) == needed
                connection.exec_driver_sql("UPDATE job SET state = 'done' WHERE state = 'running'")


def test_only_as_many_are_taken_along_as_there_is_room_for(desk: Desk) -> None:
    for number, name in enumerate((ONE, TWO, THREE)):
        desk.stage(name, document(version=f"{number}.0"))
    _free(desk, 2 * _needs(desk, ONE) + 10)
    desk.run(ONE)
    with desk.engine.database.read() as connection:
        assert sorted(find_jobs(connection, [ONE, TWO, THREE])) in ([ONE, TWO], sorted([ONE, THREE]))
    assert len(desk.revisions()) == 2


def test_those_who_waited_longest_are_woken_first_and_only_as_many_as_fit(desk: Desk) -> None:
    _free(desk, 0)
    for number, name in enumerate((ONE, TWO, THREE)):
        desk.stage(name, document(version=f"{number}.0"))
        assert desk.run(name).state == "parked"
    _free(desk, _needs(desk, ONE) + _needs(desk, TWO) + 10)
    assert wake_parked(desk.services) == 2
    assert desk.reconcile() == 2
    assert [message["inbox"] for _, message, _ in desk.sent] == [f"{ONE}.inbox", f"{TWO}.inbox"]


def test_the_heart_wakes_what_waits(desk: Desk) -> None:
    desk.stage(ONE, document())
    _free(desk, 0)
    desk.run(ONE)
    _free(desk, 1 << 30)
    assert Heart(desk.services).reconcile()
    assert desk.deliver() == 1
    assert desk.job(ONE).state == "done"


def test_a_ledger_that_cannot_write_on_the_full_disk_has_the_message_come_again(desk: Desk) -> None:
    desk.stage(ONE, document())
    _free(desk, 0)
    with failing("ledger: commit", DiskFull("no space")), pytest.raises(DiskFull):
        desk.run(ONE)
    assert desk.find(ONE) is None
    assert desk.run(ONE).state == "parked"


def test_a_crash_anywhere_between_parking_and_the_end_loses_nothing(root: Path, open_desk: Open) -> None:
    desk = open_desk()
    desk.stage(ONE, document())
    steps = steps_of(root, partial(_park_and_go_on, name=ONE))
    assert {"ledger: commit", "segment: rename"} <= set(steps), steps
    for number in range(0, len(steps), 3):
        name = f"crash-{number:04}"
        desk.stage(name, document(version=f"{number}.1"))
        crash_at(number, root, partial(_park_and_go_on, name=name))
        desk.reconcile()
        _free(desk, 1 << 30)
        desk.run(name)
        assert desk.job(name).state == "done"
        assert len([one for one in desk.revisions() if one.version == f"{number}.1"]) == 1


def _park_and_go_on(desk: Desk, name: str) -> None:
    _free(desk, 0)
    desk.run(name)
    _free(desk, 1 << 30)
    wake_parked(desk.services)
    desk.run(name)


def test_the_peak_of_a_store_is_its_file_in_a_segment_and_in_the_tree() -> None:
    assert store_peak(10 << 20) > 20 << 20


def _limited(**limits: object) -> Options:
    return Options(quotas=parse_quotas(limits))


def test_a_job_over_a_quota_waits_uncounted_and_goes_on_when_the_quota_is_raised(open_desk: Open) -> None:
    desk = open_desk(options=_limited(**{"/a/b": 10}))
    desk.stage(ONE, document())
    row = desk.run(ONE)
    assert (row.state, row.attempts, (row.error or {})["code"]) == ("parked", 0, "quota_exceeded")
    assert (desk.staged, desk.kept, desk.receipt(ONE), desk.revisions()) == ([ONE], [], None, [])
    assert wake_parked(desk.services) == 0
    desk.close()

    desk = open_desk(options=_limited(**{"/a/b": "1MB"}))
    assert wake_parked(desk.services) == 1
    assert desk.reconcile() == 1
    assert desk.deliver() == 1
    assert (desk.job(ONE).state, len(desk.revisions()), desk.staged) == ("done", 1, [])


def test_a_job_over_a_quota_keeps_no_other_that_was_taken_along_from_being_stored(open_desk: Open) -> None:
    desk = open_desk(options=_limited(**{"/full": 10}))
    for name, library in ((ONE, "/full"), (TWO, "/a/b"), (THREE, "/full")):
        desk.stage(name, document(library))
    desk.run(ONE)
    assert {name: desk.job(name).state for name in (ONE, TWO, THREE)} == {ONE: "parked", TWO: "done", THREE: "parked"}
    assert desk.staged == sorted([ONE, THREE])
    assert len(desk.revisions("/a/b")) == 1


def test_a_job_of_many_documents_waits_as_a_whole_and_until_all_of_it_fits(open_desk: Open) -> None:
    documents = [document("/full", f"{number}.0", text="x" * number) for number in range(3)]
    roomy = open_desk()
    roomy.stage(ONE, documents[0])
    roomy.run(ONE)
    size = roomy.revisions("/full")[0].place.length
    desk = open_desk(name="test:2", options=_limited(**{"/full": 2 * size + size // 2}))
    desk.stage(TWO, *documents, document("/other"))
    assert desk.run(TWO).state == "parked"
    assert (len(desk.revisions("/full")), desk.revisions("/other")) == (1, [])
    assert wake_parked(desk.services) == 0, "it was tried again though not all of it fits"

    larger = open_desk(name="test:3", options=_limited(**{"/full": 4 * size}))
    assert wake_parked(larger.services) == 1
    assert larger.reconcile() == 1
    larger.deliver()
    assert larger.job(TWO).state == "done"
    assert [len(larger.revisions(name)) for name in ("/full", "/other")] == [3, 1]


def test_a_job_that_was_tried_before_goes_on_where_the_quota_stopped_it(open_desk: Open) -> None:
    documents = [document("/a/b", f"{number}.0") for number in range(2)]
    desk = open_desk(options=_limited(**{"/a/b": 100}))
    desk.stage(ONE, *documents)
    with failing("segment: fsync", OSError(5, "Input/output error")):
        assert desk.run(ONE).state == "retrying"
    assert desk.run(ONE).state == "parked"
    assert 0 < len(desk.revisions()) < 2
    larger = open_desk(name="test:2", options=_limited(**{"/a/b": "1MB"}))
    assert wake_parked(larger.services) == 1
    assert larger.run(ONE).state == "done"
    assert len(larger.revisions()) == 2
