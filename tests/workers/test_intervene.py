"""workers/intervene.py: retry, cancel and discard lose nothing, wherever they are cut off, and the next call heals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.leases import end_job, take_leases
from models.ledger import NewJob, State, queue_jobs
from storage.documents import Limits
from storage.engine import Engine, Options
from strongroom.errors import InvalidRequest, NotFound, PayloadMissing, StorageError
from tests.support.catalogue import START
from tests.support.crash import crash_at, steps_of
from tests.support.desk import Desk, document, observed
from workers import kept
from workers.intervene import Answer, cancel, discard, retry

ONE, TWO = "job-00001", "job-00002"
TOO_LARGE = document(text="x" * 3000)


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    """A worker that takes no document of more than 2,000 bytes."""
    desk = Desk(data, options=Options(limits=Limits(document_bytes=2000)))
    yield desk
    desk.close()


def cured(desk: Desk) -> Desk:
    """The same worker with the cause taken away."""
    desk.close()
    return Desk(desk.root)


def fail(desk: Desk, job_id: str = ONE, **more: Any) -> None:
    """Have a job fail since its document is too large."""
    desk.stage(job_id, TOO_LARGE, **more)
    assert desk.run(job_id).state == "failed"
    assert job_id in desk.kept


def enter(desk: Desk, state: State, kind: str = "verify", payload: str = "{}", job_id: str = ONE) -> None:
    """Enter a job that has no file."""
    job = NewJob(job_id, kind, payload, queue="long")
    with desk.engine.database.write() as connection:
        if state == "queued":
            queue_jobs(connection, [job], START, START)
            return
        lease = take_leases(connection, [job], desk.name, START, lambda _row: "dead")[job_id].lease
        if state != "running":
            end_job(connection, lease, state, START, error={"code": "x", "message": "m", "hint": "h"})


def refusal(answer: Answer, job_id: str = ONE) -> StorageError:
    assert answer.changed == []
    return answer.refused[job_id]


# Retry.


def test_a_failed_job_is_done_once_its_cause_is_cured(desk: Desk) -> None:
    fail(desk)
    token = desk.job(ONE).token
    assert retry(desk.engine, [ONE]) == Answer([ONE])
    row = desk.job(ONE)
    assert (row.state, row.attempts, row.asked_by) == ("queued", 0, "producer")
    assert (row.error or {})["code"] == "document_too_large"
    assert row.token > token
    assert (desk.staged, desk.kept) == ([ONE], [])
    again = cured(desk)
    assert again.reconcile() == 1, "it is due at once, and needs no message of ours"
    again.deliver()
    assert (again.job(ONE).state, again.job(ONE).error) == ("done", None)
    assert len(again.revisions()) == 1
    again.close()


def test_a_job_that_fails_again_can_be_retried_again(desk: Desk) -> None:
    fail(desk)
    for _ in range(3):
        assert retry(desk.engine, [ONE]).changed == [ONE]
        desk.reconcile()
        desk.deliver()
        assert (desk.job(ONE).state, desk.job(ONE).attempts, desk.kept) == ("failed", 1, [ONE])


def test_many_are_retried_at_once_and_each_that_cannot_be_says_why(desk: Desk) -> None:
    for number in range(5):
        fail(desk, f"many-0000{number}")
    (desk.services.failed / "many-00003.inbox").unlink()
    answer = retry(desk.engine, [f"many-0000{number}" for number in range(5)] + ["unknown-1", "many-00000"])
    assert answer.changed == ["many-00000", "many-00001", "many-00002", "many-00004"]
    assert {name: type(error) for name, error in answer.refused.items()} == {"many-00003": PayloadMissing, "unknown-1": NotFound}
    assert desk.job("many-00003").state == "failed"


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_a_job_that_has_not_failed_is_not_retried(desk: Desk, state: State) -> None:
    enter(desk, state)
    before = desk.job(ONE)
    error = refusal(retry(desk.engine, [ONE]))
    assert isinstance(error, InvalidRequest)
    assert state in error.message
    assert desk.job(ONE) == before


def test_an_accepted_file_that_the_ledger_does_not_know_is_not_retried(desk: Desk) -> None:
    desk.stage(ONE, document())
    assert "queued" in refusal(retry(desk.engine, [ONE])).message
    assert desk.find(ONE) is None


def test_a_verification_is_retried_from_the_message_in_its_row(desk: Desk) -> None:
    enter(desk, "failed", payload='{"library_id": "/a/b", "request_id": "job-00001"}')
    assert retry(desk.engine, [ONE]).changed == [ONE]
    desk.reconcile()
    assert desk.sent == [("strongroom.verify", {"library_id": "/a/b", "request_id": ONE}, "long")]


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        ("store", '{"nonsense": 1}', "nonsense"),
        ("verify", '{"contract": 999}', "contract 999"),
        ("store", "[" * 100_000, "gone"),
        ("store", '{"a": ' * 100_000, "cannot be read"),
        ("store", f'{{"inbox": "{ONE}.inbox"}}', "gone"),
        ("teleport", "{}", "no task"),
        ("store", f"{ONE}.message", "could not be read"),
        ("store", f"{ONE}.inbox", "gone"),
    ],
)
def test_a_job_that_no_worker_could_begin_is_not_sent_for_ever(desk: Desk, kind: str, payload: str, words: str) -> None:
    enter(desk, "failed", kind, payload)
    before = desk.job(ONE)
    assert words in refusal(retry(desk.engine, [ONE])).message
    assert desk.job(ONE) == before


@pytest.mark.parametrize("name", ["../job-00001", "/etc/passwd", "", "a\0b-000000", "\udcff-0000000", "x" * 5000, "--all"])
def test_a_word_that_is_no_id_names_no_job(desk: Desk, name: str) -> None:
    fail(desk)
    for call in (retry, lambda *words: cancel(*words, "ann"), lambda *words: discard(*words, "ann")):
        assert isinstance(refusal(call(desk.engine, [name]), name), NotFound)
    assert desk.kept == [ONE]


def test_a_kept_file_that_a_restored_ledger_does_not_know_goes_back_and_is_a_job_again(desk: Desk) -> None:
    desk.stage(ONE, document())
    desk.services.failed.mkdir()
    (desk.inbox / f"{ONE}.inbox").rename(desk.services.failed / f"{ONE}.inbox")
    assert retry(desk.engine, [ONE]) == Answer([ONE])
    assert desk.run(ONE).state == "done"


# Cancel.


def test_a_job_that_waits_is_cancelled_and_kept_and_its_producer_told(desk: Desk) -> None:
    desk.stage(ONE, document())
    with desk.engine.database.write() as connection:
        queue_jobs(connection, [NewJob(ONE, "store", f"{ONE}.inbox")], START, START)
    assert cancel(desk.engine, [ONE], "ann@here") == Answer([ONE])
    assert (desk.job(ONE).state, desk.staged, desk.kept) == ("cancelled", [], [ONE])
    receipt = desk.receipt(ONE) or {}
    assert (receipt["state"], receipt["error"]["code"]) == ("failed", "cancelled")
    assert "ann@here" in receipt["error"]["message"]
    assert desk.run(ONE).state == "cancelled", "its message may still come"
    assert desk.revisions() == []


def test_an_accepted_file_that_the_ledger_does_not_know_is_cancelled_too(desk: Desk) -> None:
    desk.stage(ONE, document(), receipt=False, names=["a.json"])
    assert cancel(desk.engine, [ONE], "ann").changed == [ONE]
    row = desk.job(ONE)
    assert (row.state, row.subject, row.payload, row.asked_by) == ("cancelled", "a.json", f"{ONE}.inbox", "producer")
    assert desk.kept == [ONE]
    assert desk.receipt(ONE) is None, "nobody asked for one"


def test_a_damaged_file_is_cancelled_all_the_same(desk: Desk) -> None:
    (desk.inbox / f"{ONE}.inbox").write_bytes(b"not what was accepted")
    assert cancel(desk.engine, [ONE], "ann").changed == [ONE]
    assert (desk.job(ONE).state, desk.kept) == ("cancelled", [ONE])


def test_a_running_job_is_cancelled_and_whoever_runs_it_stores_nothing(desk: Desk) -> None:
    desk.stage(ONE, document())
    seen: list[str] = []

    def observe(step: str) -> None:
        if step == "segment: flush" and not seen:
            seen.append(desk.job(ONE).state)
            cancel(desk.engine, [ONE], "ann")

    with observed(observe):
        row = desk.run(ONE)
    assert seen == ["running"]
    assert (row.state, desk.revisions(), desk.staged, desk.kept) == ("cancelled", [], [], [ONE])
    assert (desk.receipt(ONE) or {})["error"]["code"] == "cancelled"


def test_a_cancelled_job_is_retried_and_done(desk: Desk) -> None:
    desk.stage(ONE, document())
    cancel(desk.engine, [ONE], "ann")
    assert retry(desk.engine, [ONE]).changed == [ONE]
    desk.reconcile()
    desk.deliver()
    assert (desk.job(ONE).state, desk.staged, desk.kept) == ("done", [], [])
    assert (desk.receipt(ONE) or {})["state"] == "done"


@pytest.mark.parametrize("state", ["done", "failed", "quarantined"])
def test_a_job_that_has_ended_is_not_cancelled(desk: Desk, state: State) -> None:
    enter(desk, state)
    assert state in refusal(cancel(desk.engine, [ONE], "ann")).message
    assert desk.job(ONE).state == state


def test_a_message_that_waits_in_the_ledger_is_cancelled_and_its_producer_told(desk: Desk) -> None:
    enter(desk, "queued", "store", json.dumps({"contract": 999, "receipt": True}))
    enter(desk, "queued", "verify", "{}", TWO)
    assert cancel(desk.engine, [ONE, TWO], "ann").changed == [ONE, TWO]
    assert (desk.receipt(ONE) or {})["error"]["code"] == "cancelled"
    assert desk.receipt(TWO) is None


# Discard.


def test_what_is_discarded_is_gone_and_the_row_says_by_whom(desk: Desk) -> None:
    fail(desk)
    assert discard(desk.engine, [ONE], "ann@here") == Answer([ONE])
    assert (desk.kept, desk.staged) == ([], [])
    assert (desk.job(ONE).outcome or {})["discarded"]["by"] == "ann@here"
    assert "ann@here" in refusal(retry(desk.engine, [ONE])).message


def test_a_message_that_could_not_be_read_is_discarded_with_its_file(desk: Desk) -> None:
    enter(desk, "failed", "message", f"{ONE}.message")
    desk.services.failed.mkdir()
    (desk.services.failed / f"{ONE}.message").write_text("{}")
    assert discard(desk.engine, [ONE], "ann").changed == [ONE]
    assert list(desk.services.failed.iterdir()) == []


def test_a_job_that_has_not_ended_must_be_cancelled_first(desk: Desk) -> None:
    desk.stage(ONE, document())
    enter(desk, "running", job_id=TWO)
    answer = discard(desk.engine, [ONE, TWO], "ann")
    assert all("cancel" in error.hint.lower() for error in answer.refused.values())
    assert (answer.changed, desk.staged) == ([], [ONE])


def test_nothing_of_a_done_job_is_discarded(desk: Desk) -> None:
    desk.stage(ONE, document())
    desk.run(ONE)
    assert "stored" in refusal(discard(desk.engine, [ONE], "ann")).message
    assert len(desk.revisions()) == 1


# Crashes.


def _waits(desk: Desk) -> None:
    desk.stage(ONE, document())


def _failed(desk: Desk) -> None:
    desk.stage(ONE, TOO_LARGE)
    desk.run(ONE)


CALLS: dict[str, tuple[Callable[[Desk], None], Callable[[Desk], Answer]]] = {
    "retry": (_failed, lambda desk: retry(desk.engine, [ONE])),
    "cancel": (_waits, lambda desk: cancel(desk.engine, [ONE], "ann")),
    "discard": (_failed, lambda desk: discard(desk.engine, [ONE], "ann")),
}
STEPS = {"retry": 7, "cancel": 7, "discard": 4}


CRASHES = [(call, step) for call, steps in STEPS.items() for step in range(1, steps + 1)]


@pytest.mark.parametrize("call", CALLS)
def test_the_crashes_below_are_at_every_step(desk: Desk, call: str) -> None:
    prepare, change = CALLS[call]
    prepare(desk)
    assert len(steps_of(lambda: change(desk))) == STEPS[call]


@pytest.mark.parametrize(("call", "step"), CRASHES)
def test_a_crash_anywhere_loses_nothing_and_the_rerun_heals(desk: Desk, call: str, step: int) -> None:
    prepare, change = CALLS[call]
    prepare(desk)
    payload = next(desk.root.rglob(f"{ONE}.inbox")).read_bytes()
    with crash_at(step):
        change(desk)
    if call != "discard":
        assert [path.read_bytes() for path in desk.root.rglob(f"{ONE}.inbox")] == [payload]
    answer = change(desk)
    if answer.refused:
        assert (call, desk.job(ONE).state) == ("retry", "queued"), "its crash came after all was done"
    row = desk.job(ONE)
    expected: tuple[object, ...] = {
        "retry": ("queued", [ONE], []), "cancel": ("cancelled", [], [ONE]), "discard": ("failed", [], []),
    }[call]  # fmt: skip
    assert (row.state, desk.staged, desk.kept) == expected
    if call == "cancel":
        assert (desk.receipt(ONE) or {})["error"]["code"] == "cancelled"


@pytest.mark.parametrize("step", range(1, STEPS["retry"] + 1))
def test_a_retry_that_was_cut_off_and_never_called_again_leaves_the_payload_and_a_row_that_tells(desk: Desk, step: int) -> None:
    fail(desk)
    with crash_at(step):
        retry(desk.engine, [ONE])
    again = cured(desk)
    with again.engine.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET due_at = '2000-01-01 00:00:00.000000' WHERE due_at IS NOT NULL")
    again.reconcile()
    again.deliver()
    row = again.job(ONE)
    assert row.state in {"done", "failed"}
    assert row.state == "done" or kept.kept_at(again.inbox, ONE) is not None
    again.close()


@pytest.mark.parametrize("step", range(1, STEPS["cancel"] + 1))
def test_a_cancel_that_was_cut_off_is_finished_by_a_worker_or_had_not_begun(desk: Desk, step: int) -> None:
    desk.stage(ONE, document())
    with crash_at(step):
        cancel(desk.engine, [ONE], "ann")
    row = desk.run(ONE)
    if row.state == "cancelled":
        assert (desk.staged, desk.kept, desk.revisions()) == ([], [ONE], [])
        assert (desk.receipt(ONE) or {})["error"]["code"] == "cancelled"
    else:
        assert (row.state, step) == ("done", 1)


def test_a_full_copy_of_the_folder_keeps_its_meaning(desk: Desk, tmp_path: Path) -> None:
    """Retry works on a restored folder, where everything is owned by somebody new and nothing runs."""
    fail(desk)
    desk.close()
    copy = Path(shutil.copytree(desk.root, tmp_path / "copy"))
    with Engine(copy) as engine:
        assert retry(engine.open(), [ONE]).changed == [ONE]
    assert (copy / "inbox" / f"{ONE}.inbox").exists()
