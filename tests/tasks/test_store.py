from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom import durable, numbering
from strongroom.contracts import DocumentOptions
from strongroom.errors import BrokerUnavailable, DiskFull, TransientIO
from strongroom.inbox import InboxWriter
from tests.support.desk import Desk, crash_at, document, failing, largest_file, observed, steps_of

JOB, OTHER = "job-00000001", "job-00000002"


def test_a_staged_document_is_stored_shown_and_told_and_its_file_goes(desk: Desk) -> None:
    desk.stage(JOB, document(text="hello"))

    row = desk.run(JOB)

    assert (row.state, row.attempts, row.subject, row.error) == ("done", 1, "/a/b 1.0", None)
    assert desk.engine.read("/a/b", "1.0") == document(text="hello")
    assert (desk.root / desk.engine.find("/a/b", "1.0").file_path).is_file()
    receipt = desk.receipt(JOB)
    assert receipt is not None
    assert [(one["status"], one["revision"], one["size_bytes"]) for one in receipt["documents"]] == [
        ("stored", 1, len(document(text="hello")))
    ]
    assert desk.staged == []


def test_a_payload_that_was_kept_is_brought_back_for_a_job_that_is_to_be_done_after_all(desk: Desk) -> None:
    path = desk.stage(JOB, document())
    desk.services.failed.mkdir()
    path.rename(desk.services.failed / path.name)
    assert desk.run(JOB).state == "done"
    assert desk.kept == []


def test_without_being_asked_no_receipt_is_left_lying(desk: Desk) -> None:
    desk.stage(JOB, document(), receipt=False)
    desk.run(JOB)
    assert desk.receipt(JOB) is None


def test_a_second_delivery_changes_nothing(desk: Desk) -> None:
    desk.stage(JOB, document())
    first = desk.run(JOB)
    again = desk.run(JOB)
    assert again == first
    assert len(desk.revisions()) == 1


def test_the_same_job_sent_twice_by_its_producer_is_stored_once(desk: Desk) -> None:
    desk.stage(JOB, document())
    desk.run(JOB)
    desk.stage(OTHER, document())
    assert desk.run(OTHER).outcome == {"stored": 0, "unchanged": 1, "failed": 0}
    assert len(desk.revisions()) == 1


def test_a_document_that_fails_harms_no_other_and_its_payload_is_kept(desk: Desk) -> None:
    desk.stage(JOB, document(), b"{not json", document(version="2.0"), names=["a.json", "b.json", "c.json"])

    row = desk.run(JOB)

    assert row.state == "failed"
    assert row.outcome is not None
    assert [(one["position"], one["file"], one["code"]) for one in row.outcome["failures"]] == [(1, "b.json", "not_json")]
    assert row.error is not None
    assert row.error["hint"]
    assert {one.version for one in desk.revisions()} == {"1.0", "2.0"}
    assert desk.kept == [JOB]
    assert desk.staged == []


def test_a_payload_that_is_not_there_fails_the_job_with_what_to_do(desk: Desk) -> None:
    row = desk.run(JOB)
    assert row.error is not None
    assert (row.state, row.error["code"], row.attempts) == ("failed", "payload_missing", 1)
    assert "inbox" in row.error["hint"]


@pytest.mark.parametrize("at", [0, 40, -20, -60, -100])
def test_a_payload_with_a_flipped_byte_is_kept_and_nothing_of_it_is_stored(desk: Desk, at: int) -> None:
    path = desk.stage(JOB, document(text="x" * 100), (document(version="2.0"), DocumentOptions(source="y" * 100)))
    damaged = bytearray(path.read_bytes())
    damaged[at] ^= 1
    path.write_bytes(damaged)

    row = desk.run(JOB)

    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "payload_damaged")
    assert [one.version for one in desk.revisions()] == (["2.0"] if 0 <= at < 100 else [])
    assert (desk.services.failed / path.name).read_bytes() == damaged
    receipt = desk.receipt(JOB)
    assert receipt is not None
    assert receipt["state"] == "failed"


def test_a_renamed_payload_is_not_another_job(desk: Desk) -> None:
    desk.stage(JOB, document()).rename(desk.inbox / f"{OTHER}.inbox")
    row = desk.run(OTHER)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "payload_damaged")
    assert desk.revisions() == []


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")], ids=["folder", "fifo", "link"]
)
def test_what_is_no_regular_file_is_put_aside(desk: Desk, make: Callable[[Path], None]) -> None:
    make(desk.inbox / f"{JOB}.inbox")
    row = desk.run(JOB)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "payload_damaged")
    assert desk.staged == []


def test_a_job_that_a_living_process_runs_is_left_to_it(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk()
    one.stage(JOB, document())
    states: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "segment: flush":
            states.append(other.run(JOB).state)

    with observed(meanwhile):
        row = one.run(JOB)

    assert states == ["running"]
    assert (row.state, row.attempts) == ("done", 1)
    assert len(one.revisions()) == 1


def test_a_job_whose_process_died_is_run_again_and_the_death_counts(root: Path, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.stage(JOB, document())
    desk.close()
    crash_at(3, root, lambda child: child.run(JOB))
    desk = open_desk()
    assert desk.job(JOB).state == "running"
    row = desk.run(JOB)
    assert (row.state, row.attempts) == ("done", 2)


def test_a_job_that_keeps_killing_its_process_ends_in_quarantine_with_its_payload(
    root: Path, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk()
    path = desk.stage(JOB, document())
    payload = path.read_bytes()
    for attempt in (1, 2):
        crash_at(2, root, lambda child: child.run(JOB))
        assert (desk.job(JOB).state, desk.job(JOB).attempts) == ("running", attempt)
    crash_at(2, root, lambda child: child.run(JOB), {"max_attempts": 2})  # dies as it puts the payload aside

    steps: list[str] = []
    desk = open_desk(max_attempts=2)
    with observed(steps.append):
        row = desk.run(JOB)

    assert row.error is not None
    assert row.state == "quarantined"
    assert "3 times" in row.error["message"]
    assert not [step for step in steps if step.startswith("segment")], "it ran again"
    assert (desk.services.failed / path.name).read_bytes() == payload
    receipt = desk.receipt(JOB)
    assert receipt is not None
    assert (receipt["state"], receipt["error"]["code"]) == ("quarantined", "storage_error")
    assert desk.revisions() == []


def test_an_attempt_is_counted_before_the_payload_is_looked_at(desk: Desk) -> None:
    desk.stage(JOB, document())
    counted: list[int] = []

    def look(step: str) -> None:
        if step == "ledger: committed":
            (desk.inbox / f"{JOB}.inbox").write_bytes(b"broken as soon as the attempt was counted")
            counted.append(desk.job(JOB).attempts)

    with observed(look):
        row = desk.run(JOB)
    assert counted[0] == 1
    assert row.error is not None
    assert row.error["code"] == "payload_damaged"


def test_a_full_disk_parks_the_job_uncounted_and_it_goes_on_when_there_is_space(desk: Desk) -> None:
    desk.stage(JOB, document(text=secrets.token_hex(1 << 20)))
    for _ in range(desk.max_attempts + 1):
        with largest_file(1 << 19):
            row = desk.run(JOB)
        assert row.error is not None
        assert (row.state, row.attempts, row.error["code"]) == ("parked", 0, "disk_full")
        assert row.due_at is not None
        assert row.due_at - datetime.now(UTC) < timedelta(seconds=30)
    assert desk.staged == [JOB]
    assert list((desk.root / "tmp").iterdir()) == []

    assert desk.run(JOB).state == "done"


def test_an_error_that_may_pass_is_tried_again_at_once_and_then_later(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error")) as failed:
        row = desk.run(JOB)
    assert len(failed) == 3
    assert row.error is not None
    assert row.due_at is not None
    assert (row.state, row.attempts, row.error["code"]) == ("retrying", 1, "io_error")
    assert desk.receipt(JOB) is None
    assert desk.staged == [JOB]
    assert desk.run(JOB).state == "done"


def test_an_error_that_passes_at_once_is_not_even_noticed(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EIO, "input/output error"), times=1) as failed:
        row = desk.run(JOB)
    assert failed == ["segment: fsync"]
    assert (row.state, row.attempts) == ("done", 1)


def test_an_error_that_never_passes_ends_in_quarantine_and_is_told(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(max_attempts=2)
    desk.stage(JOB, document())
    with failing("segment: fsync", OSError(errno.EROFS, "read-only file system")):
        assert [desk.run(JOB).state for _ in range(2)] == ["retrying", "quarantined"]
    error = desk.job(JOB).error
    assert error is not None
    assert (error["code"], desk.job(JOB).attempts) == ("permission_denied", 2)
    assert "2 times" in error["message"]
    assert "read-only file system" in error["message"]
    assert "inbox/failed" in error["hint"]
    assert desk.kept == [JOB]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), UnicodeDecodeError("utf-8", b"", 0, 0, "odd")], ids=repr)
@pytest.mark.parametrize("step", ["segment: flush", "catalogue: commit"])
def test_an_unexpected_error_never_leaves_a_job_running(desk: Desk, step: str, error: Exception) -> None:
    desk.stage(JOB, document())
    with failing(step, error):
        row = desk.run(JOB)
    assert row.error is not None
    assert (row.state, row.attempts) == ("retrying", 1)
    assert type(error).__name__ in row.error["message"]
    assert desk.run(JOB).state == "done"


def test_a_ledger_that_cannot_be_written_at_the_end_leaves_no_job_running(desk: Desk) -> None:
    desk.stage(JOB, document())
    with failing("segment: flush", RuntimeError("a bug")), pytest.raises(DiskFull):
        _with_a_ledger_that_fills_up(desk)
    assert desk.job(JOB).state == "running"

    assert desk.reconcile() == 1
    desk.deliver()

    assert desk.job(JOB).state == "done"


def _with_a_ledger_that_fills_up(desk: Desk) -> None:
    inner = durable.step.observer
    assert inner is not None
    commits = 0

    def fill(step: str) -> None:
        nonlocal commits
        inner(step)
        commits += step == "ledger: commit"
        if commits > 1:
            raise DiskFull("the ledger cannot grow")

    with observed(fill):
        desk.run(JOB)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), OSError(errno.EIO, "input/output error")], ids=str)
def test_what_fails_in_the_tree_is_stored_and_told_all_the_same(desk: Desk, error: OSError) -> None:
    desk.stage(JOB, document())
    with failing("tree: sync", error):
        row = desk.run(JOB)
    assert row.state == "done"
    assert desk.receipt(JOB) is not None
    assert desk.staged == []
    assert desk.engine.tree.catch_up() == 1


def test_a_producer_that_cannot_be_told_yet_is_told_later(desk: Desk) -> None:
    desk.stage(JOB, document())
    receipts = desk.inbox / "receipts"
    receipts.write_text("a file where the folder should be")
    assert desk.run(JOB).state == "done"
    assert desk.staged == [JOB]
    receipts.unlink()

    os.utime(desk.inbox / f"{JOB}.inbox", (0, 0))
    assert desk.reconcile() == 1
    desk.deliver()

    assert desk.receipt(JOB) is not None
    assert desk.staged == []


def test_a_job_that_a_newer_worker_ended_is_left_to_be_told_by_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its message would come round for ever in a worker that cannot read its payload."""
    with InboxWriter(desk.inbox, JOB, receipt=True, priority="high") as writer:
        writer.add(document())
        writer.commit()
    with failing("inbox: let go", TransientIO("the disk stumbled")):
        assert desk.run(JOB).state == "done"
    monkeypatch.setattr(numbering, "CONTRACT", 1)
    desk.run(JOB)
    assert desk.staged == [JOB]
    monkeypatch.undo()
    desk.run(JOB)
    assert desk.staged == []


def test_a_job_that_ended_is_told_as_it_was_though_later_jobs_changed_the_version(
    root: Path, open_desk: Callable[..., Desk]
) -> None:
    """Storing it again would put the old content back."""
    desk = open_desk()
    careful = DocumentOptions(if_exists="refuse")
    desk.stage(OTHER, document(version="3.0", text="there before"))
    desk.run(OTHER)
    desk.stage(
        JOB, document(text="old"), (document(version="3.0", text="other"), careful), document(version="3.0", text="there before")
    )
    crash_after_commit(root)
    desk.stage("job-00000003", document(text="new"))
    desk.run("job-00000003")

    desk.run(JOB)

    receipt = desk.receipt(JOB)
    assert receipt is not None
    assert [(one["status"], one.get("revision")) for one in receipt["documents"]] == [
        ("stored", 1),
        ("failed", None),
        ("unchanged", 1),
    ]
    assert receipt["documents"][1]["error"]["code"] == "version_exists"
    assert desk.engine.read("/a/b", "1.0") == document(text="new")
    assert [one.revision for one in desk.revisions() if one.version == "1.0"] == [2, 1]


def crash_after_commit(root: Path) -> None:
    """Run the job in a process that dies right after the commit."""
    copy = shutil.copytree(root, root.parent / "copy", symlinks=True)
    at = steps_of(copy, lambda child: child.run(JOB)).index("catalogue: committed")
    crash_at(at, root, lambda child: child.run(JOB))


def test_many_documents_at_once_are_told_before_they_are_in_the_tree(desk: Desk) -> None:
    desk.stage(JOB, *(document(version=f"1.{number}") for number in range(65)))
    assert desk.run(JOB).state == "done"
    assert desk.sent == [("strongroom.tree", {}, "long")]
    assert desk.engine.tree.lag() == 65


def test_a_broker_that_is_down_keeps_no_document_from_being_told(desk: Desk) -> None:
    desk.send_fails_with = BrokerUnavailable("down")
    desk.stage(JOB, *(document(version=f"1.{number}") for number in range(65)))
    assert desk.run(JOB).state == "done"
    assert desk.receipt(JOB) is not None
