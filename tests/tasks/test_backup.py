"""tasks/backup.py: a backup is a job, and so is its verification."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.curation import list_audit
from storage.backup.choice import find_manifest
from storage.backup.manifest import backup_ids, read_manifest
from storage.backup.place import Place
from storage.backup.restore import Restore
from storage.engine import Engine
from storage.progress import silent
from strongroom.errors import TargetUnfit
from tasks.backup import BACKUP, BACKUP_VERIFY, check_backup, take_backup
from tasks.backup_prune import prune_backups
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


@pytest.mark.parametrize("asked_by", ["schedule", "person:ada@host"])
def test_the_audit_trail_says_who_asked_for_the_backup_that_repaired_first(desk: Desk, asked_by: str) -> None:
    desk.engine.store([document("/a", "1.0", body(n=1))])
    desk.engine.tree.catch_up()
    path = desk.engine.folder.segment(desk.engine.find("/a").place.segment_sha256)
    path.unlink()  # the tree's name for it stays
    run_job(BACKUP, desk.services, desk.asked("backup", asked_by), JOB)
    with desk.engine.database.read() as connection:
        assert [(one.action, one.by) for one in list_audit(connection, "/a")] == [("repaired", asked_by)]


def test_a_target_that_refuses_is_the_jobs_error(desk: Desk) -> None:
    Path(desk.services.backups.url).write_text("no folder")
    run_job(BACKUP, desk.services, {"request_id": JOB}, JOB)
    row = desk.job(JOB)
    assert row.state in {"failed", "retrying"}
    assert row.error is not None


def test_the_backup_that_a_folder_came_from_is_not_the_last_good_one_when_it_has_rotted(desk: Desk, scratch: Path) -> None:
    place, engine = desk.services.backups, desk.engine
    for number in range(2):
        engine.store([document("/a", f"{number}.0", body(n=number))])
        take_backup(engine, place, silent, full=True)
    repository = place.open()
    older, newest = (find_manifest(repository, name) for name in backup_ids(repository))
    Restore(repository, newest).run(scratch / "to", datetime.now(UTC))
    own = next(iter(newest.packs.keys() - older.packs.keys()))
    path = Path(place.url) / "packs" / own[:2] / own
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    with Engine(scratch / "to").open() as back:
        assert check_backup(place, "latest", silent, back.database)["verdict"] == "damaged"
        done = prune_backups(place, back.database, {"keep_last": 1}, datetime.now(UTC), apply=True)
        assert [one["id"] for one in done["keep"]] == [newest.backup_id, older.backup_id]
        made = take_backup(back, place, silent, full=False)
        assert read_manifest(repository, made["id"]).parent == older.backup_id
        assert check_backup(place, made["id"], silent, back.database)["verdict"] == "good"


def test_a_job_waits_for_a_disk_that_is_not_mounted(desk: Desk, scratch: Path) -> None:
    desk.services = replace(desk.services, place=Place(str(scratch / "mnt")))
    run_job(BACKUP, desk.services, {"request_id": JOB}, JOB)
    assert desk.job(JOB).state == "done"
    (scratch / "mnt").rename(scratch / "elsewhere")
    run_job(BACKUP, desk.services, {"request_id": "backup-0002"}, "backup-0002")
    row = desk.job("backup-0002")
    assert (row.state, row.attempts) == ("parked", 0)
    assert "there is nothing" in str(row.error)
    run_job(BACKUP, desk.services, {"request_id": "backup-0003", "begin_anew": True}, "backup-0003")
    assert desk.job("backup-0003").state == "done"


def test_no_backup_goes_where_the_data_folder_tidies_up(desk: Desk) -> None:
    root = desk.engine.folder.root
    for url in (str(root / "tmp" / "mine"), (root / "segments").as_uri(), f"{root}/backups/../trash"):
        with pytest.raises(TargetUnfit, match="of the data folder"):
            take_backup(desk.engine, Place(url), silent, full=False)
    assert not (root / "tmp" / "mine").exists()
    assert take_backup(desk.engine, Place(str(root / "backups")), silent, full=False)["kind"] == "full"
