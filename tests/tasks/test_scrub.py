from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from models.tables import table_of
from models.upkeep_tables import Audit
from storage import scrub as scrubbing
from tasks.jobs import run_job
from tasks.scrub import SCRUB
from tests.support.desk import Desk, document

JOB = "scrub-00000001"


@pytest.fixture
def filled(desk: Desk) -> Desk:
    desk.stage("job-00000001", document(text="one"), document(version="2.0", text="two"))
    desk.run("job-00000001")
    desk.engine.tree.catch_up()
    return desk


def damage(desk: Desk) -> Path:
    place = desk.engine.find("/a/b", "2.0").place
    path = desk.engine.folder.segment(place.segment_sha256)
    stored = bytearray(path.read_bytes())
    stored[place.offset + 12] ^= 1
    path.chmod(0o600)
    path.write_bytes(stored)
    return path


def test_what_is_new_is_read_and_told(filled: Desk) -> None:
    run_job(SCRUB, filled.services, {"days": 30}, JOB)
    row = filled.job(JOB)
    assert (row.state, row.kind, row.subject) == ("done", "scrub", "what is due")
    assert row.outcome is not None
    assert (row.outcome["segments"], row.outcome["canaries"], row.outcome["damaged"]) == (1, 5, [])


def test_what_is_damaged_is_repaired_unless_that_is_switched_off(filled: Desk) -> None:
    path = damage(filled)
    damaged = path.read_bytes()
    run_job(SCRUB, filled.services, {"repair": False}, JOB)
    outcome = filled.job(JOB).outcome
    assert outcome is not None
    assert ([one["version"] for one in outcome["damaged"]], path.read_bytes()) == (["2.0"], damaged)
    run_job(SCRUB, filled.services, {}, "scrub-00000002")
    outcome = filled.job("scrub-00000002").outcome
    assert outcome is not None
    assert ([one["version"] for one in outcome["repaired"]], outcome["damaged"]) == (["2.0"], [])
    assert filled.engine.verify().damaged == []


@pytest.mark.parametrize("asked_by", ["schedule", "person:ada@host"])
def test_the_audit_trail_says_who_asked_for_the_scrub_that_repaired(filled: Desk, asked_by: str) -> None:
    damage(filled)
    run_job(SCRUB, filled.services, filled.asked("scrub", asked_by), JOB)
    with filled.services.database.read() as connection:
        trail = connection.execute(select(table_of(Audit).c.action, table_of(Audit).c.by)).all()
    assert trail == [("repaired", asked_by)]


def test_a_scrub_that_misses_planted_damage_is_a_failed_job(filled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "fresh_sha256", lambda path, _pace: path.name)
    run_job(SCRUB, filled.services, {}, JOB)
    row = filled.job(JOB)
    assert (row.state, row.error and row.error["code"]) == ("failed", "integrity_error")


def test_accepted_documents_that_wait_make_it_stand_aside(filled: Desk) -> None:
    filled.stage("job-00000002", document(version="3.0", text="three"))
    run_job(SCRUB, filled.services, {}, JOB)
    outcome = filled.job(JOB).outcome
    assert outcome is not None
    assert outcome["yielded_s"] > 0
