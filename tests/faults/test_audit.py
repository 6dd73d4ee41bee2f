"""The audit must be able to fail: each thing that it promises is broken once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from faults.audit import audit, compare
from faults.senders import Sent
from faults.service import Service
from storage.engine import Engine
from storage.intake import incoming

JOB = (
    "INSERT INTO job (job_id, kind, subject, state, priority, asked_by, attempts, owner, payload, created_at)"
    " VALUES (?, 'store', '', ?, 3, 'producer', 1, '', '', '2026-01-01 00:00:00.000000')"
)


def document(version: str, text: str) -> bytes:
    return json.dumps({"library_id": "/a/b", "version_id": version, "text": text}).encode()


def store(engine: Engine, data: bytes) -> None:
    (receipt,) = engine.store([incoming(partial(BytesIO, data), len(data), "one")])
    assert receipt.status == "stored"


def sent(job_id: str, version: str, data: bytes, said: str = "yes") -> Sent:
    return Sent(job_id, "/a/b", version, hashlib.sha256(data).hexdigest(), said, receipt=False)


def enter(data: Path, job_id: str, state: str = "done") -> None:
    with closing(sqlite3.connect(data / "metadata" / "catalogue.db")) as connection, connection:
        connection.execute(JOB, (job_id, state))


@pytest.fixture
def service(engine: Engine) -> Service:
    """A service that nobody starts: the audit needs its folder and its commands."""
    return Service(engine.folder.root, None, {})


def test_everything_that_was_accepted_and_stored_once_is_no_complaint(engine: Engine, service: Service, data: Path) -> None:
    first, second, other = document("1", "first"), document("1", "second"), document("2", "other")
    for number, one in enumerate((first, second, other)):
        store(engine, one)
        enter(data, f"job-{number}")
    notes = [sent("job-0", "1", first), sent("job-1", "1", second), sent("job-2", "2", other), sent("", "3", b"never", "perhaps")]
    found = audit(service, notes)
    assert found.told() == []
    assert (found.accepted, found.perhaps, found.revisions, found.read) == (3, 1, 3, 3)


def test_what_was_accepted_and_is_not_there_is_lost(engine: Engine, data: Path) -> None:
    store(engine, document("1", "first"))
    enter(data, "job-0")
    found = compare(data, [sent("job-0", "1", document("1", "first")), sent("job-1", "2", document("2", "lost"))])
    assert (found.count("lost"), found.count("no row")) == (1, 1)


def test_a_content_that_is_two_revisions_had_two_effects(engine: Engine, data: Path) -> None:
    first, second = document("1", "first"), document("1", "second")
    for one in (first, second, first):
        store(engine, one)
    enter(data, "job-0")
    enter(data, "job-1")
    found = compare(data, [sent("job-0", "1", first), sent("job-1", "1", second)])
    assert found.count("stored twice") == 1


def test_what_nobody_sent_is_a_complaint(engine: Engine, data: Path) -> None:
    store(engine, document("1", "first"))
    enter(data, "job-0")
    found = compare(data, [])
    assert (found.count("never sent"), found.count("phantom jobs")) == (1, 1)


def test_a_job_that_is_not_done_and_a_file_that_is_left_are_complaints(engine: Engine, data: Path) -> None:
    one = document("1", "first")
    store(engine, one)
    enter(data, "job-0", "quarantined")
    (data / "inbox" / "0123456789abcdef.inbox").touch()
    found = compare(data, [sent("job-0", "1", one)])
    assert (found.count("job quarantined"), found.count("left")) == (1, 1)


def test_a_damaged_document_is_found_by_reading_and_by_verify(engine: Engine, service: Service, data: Path) -> None:
    one = document("1", "first")
    store(engine, one)
    enter(data, "job-0")
    place = engine.find("/a/b", "1").place
    segment = engine.folder.segment(place.segment_sha256)
    damaged = bytearray(segment.read_bytes())
    damaged[place.offset + place.length // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(damaged)
    found = audit(service, [sent("job-0", "1", one)])
    assert found.count("unreadable") == 1
    assert found.count("verify") >= 1


def test_a_receipt_that_was_asked_for_and_not_given_is_a_complaint(engine: Engine, data: Path) -> None:
    one = document("1", "first")
    store(engine, one)
    enter(data, "job-0")
    digest = hashlib.sha256(one).hexdigest()
    found = compare(data, [Sent("job-0", "/a/b", "1", digest, "yes", receipt=True)])
    assert found.count("receipts") == 1
