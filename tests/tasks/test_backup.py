"""tasks/backup.py: a backup is a job, and so is its verification."""

from __future__ import annotations

from pathlib import Path

from tasks.backup import BACKUP, BACKUP_VERIFY
from tasks.jobs import run_job
from tests.support.archive import body, document
from tests.support.desk import Desk

JOB = "backup-0001"


def test_a_backup_is_taken_and_its_outcome_is_in_the_ledger(desk: Desk) -> None:
    desk.engine.store([document("/a", "1.0", body(n=1))])
    run_job(BACKUP, desk.services, {"request_id": JOB}, JOB)
    row = desk.job(JOB)
    assert (row.state, row.kind, row.subject) == ("done", "backup", "what is new")
    outcome = dict(row.outcome or {})
    assert (outcome["kind"], outcome["documents"]) == ("full", 1)
    run_job(BACKUP_VERIFY, desk.services, {"request_id": "backup-0002"}, "backup-0002")
    assert dict(desk.job("backup-0002").outcome or {})["verdict"] == "good"
    run_job(BACKUP, desk.services, {"request_id": "backup-0003", "full": True}, "backup-0003")
    assert dict(desk.job("backup-0003").outcome or {})["kind"] == "full"


def test_a_target_that_refuses_is_the_jobs_error(desk: Desk) -> None:
    Path(desk.services.backups.url).write_text("no folder")
    run_job(BACKUP, desk.services, {"request_id": JOB}, JOB)
    row = desk.job(JOB)
    assert row.state in {"failed", "retrying"}
    assert row.error is not None
