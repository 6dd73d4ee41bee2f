from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from models.curation import list_audit
from tasks.jobs import run_job
from tasks.verify import VERIFY
from tests.support.desk import Desk, crash_at, document, failing

JOB = "verify-00000001"


@pytest.fixture
def filled(desk: Desk) -> Desk:
    desk.stage("job-00000001", document(text="one"), document(version="2.0", text="two"))
    desk.run("job-00000001")
    return desk


def damage(desk: Desk) -> Path:
    place = desk.engine.find("/a/b", "2.0").place
    path = desk.engine.folder.segment(place.segment_sha256)
    path.chmod(0o600)
    damaged = bytearray(path.read_bytes())
    damaged[place.offset + 12] ^= 1
    path.write_bytes(damaged)
    return path


def test_what_is_whole_is_reported_whole(filled: Desk) -> None:
    run_job(VERIFY, filled.services, {}, JOB)
    row = filled.job(JOB)
    assert (row.state, row.kind, row.subject) == ("done", "verify", "everything")
    assert row.outcome is not None
    assert (row.outcome["checked"], row.outcome["damaged"]) == (2, [])


def test_damage_is_found_named_and_not_repaired(filled: Desk) -> None:
    path = damage(filled)
    damaged = path.read_bytes()

    run_job(VERIFY, filled.services, {"library_id": "/a/b"}, JOB)

    row = filled.job(JOB)
    assert row.outcome is not None
    assert (row.state, row.subject, row.outcome["damaged_versions"]) == ("done", "/a/b", 1)
    assert [one["version"] for one in row.outcome["damaged"]] == ["2.0"]
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("asked_by", ["producer", "person:ada@host"])
def test_the_audit_trail_says_who_asked_for_what_was_repaired(filled: Desk, asked_by: str) -> None:
    filled.engine.tree.catch_up()
    damage(filled)
    message = {"repair": True} if asked_by == "producer" else filled.asked("verify", asked_by, repair=True)
    run_job(VERIFY, filled.services, message, JOB)
    with filled.services.database.read() as connection:
        assert [(one.action, one.by) for one in list_audit(connection, "/a/b")] == [("repaired", asked_by)]


def test_what_is_not_stored_fails_with_what_to_do(filled: Desk) -> None:
    run_job(VERIFY, filled.services, {"library_id": "/no/such"}, JOB)
    row = filled.job(JOB)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "not_found")


@pytest.mark.parametrize("fields", [{"library": "/a/b"}, {"contract": "x"}, {"library_id": 7}])
def test_a_message_that_is_not_understood_is_a_failed_job(desk: Desk, fields: dict[str, object]) -> None:
    run_job(VERIFY, desk.services, fields, JOB)
    assert (desk.job(JOB).state, desk.job(JOB).kind) == ("failed", "verify")


def test_a_second_delivery_verifies_nothing(filled: Desk) -> None:
    run_job(VERIFY, filled.services, {}, JOB)
    first = filled.job(JOB)
    run_job(VERIFY, filled.services, {}, JOB)
    assert filled.job(JOB) == first


def test_one_that_keeps_killing_its_process_ends_in_quarantine(root: Path, open_desk: Callable[..., Desk]) -> None:
    for _ in range(2):
        crash_at(2, root, lambda child: run_job(VERIFY, child.services, {}, JOB))
    desk = open_desk(max_attempts=2)
    run_job(VERIFY, desk.services, {}, JOB)
    assert desk.job(JOB).state == "quarantined"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), OSError(errno.EIO, "input/output error")], ids=repr)
def test_an_outcome_that_cannot_be_recorded_leaves_it_to_nobody(filled: Desk, error: Exception) -> None:
    with failing("ledger: commit", error, after=1), pytest.raises(type(error)):
        run_job(VERIFY, filled.services, {}, JOB)
    assert not filled.services.presence.is_alive(filled.job(JOB).owner)
    run_job(VERIFY, filled.services, {}, JOB)
    assert filled.job(JOB).state == "done"
