"""strongroom doctor and rebuild: what is wrong comes with the command that mends it, and the exit code tells."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from storage.engine import Engine
from storage.erase.note import Note, write_note
from storage.kinds import KINDS
from storage.pending import LOCK
from strongroom.locks import locked
from tests.support.archive import body, document
from workers.cli import app
from workers.service_lock import lock_service


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    """A data folder with two documents, shown in the tree."""
    engine.store([document("/a/b", "1.0", body(n=1)), document("/c", "1.0", body(n=2))])
    engine.tree.catch_up()
    engine.database.close()
    return data


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words])


def doctor(data: Path, code: int, *words: str) -> dict[str, Any]:
    answer = run(data, "doctor", "--json", *words)
    assert answer.exit_code == code, answer.stdout
    told: dict[str, Any] = json.loads(answer.stdout)
    assert told["healthy"] == (code == 0) == (told["needs_person"] == 0)
    return told


def check(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in told["checks"] if one["name"] == name)


def test_a_folder_that_is_well_needs_nobody_though_no_service_runs(stored: Path) -> None:
    told = doctor(stored, 0)
    assert told["findings"] == []
    assert {one["state"] for one in told["checks"]} == {"fine", "note"}
    assert check(told, "service")["mend"] == "strongroom up --detach"
    assert "none yet" in check(told, "backups")["told"]
    page = run(stored, "doctor")
    assert page.exit_code == 0
    assert "All is well." in page.stdout
    assert len(page.stdout.splitlines()) < 25


def test_a_finding_comes_with_its_command_and_goes_when_it_is_mended(engine: Engine, stored: Path) -> None:
    segment = engine.folder.segment(engine.find("/a/b").place.segment_sha256)
    segment.rename(segment.with_name("aside"))
    (finding,) = doctor(stored, 1)["findings"]
    assert (finding["code"], finding["severity"], finding["mend"]) == ("renamed", "loss", KINDS["renamed"].mend)
    assert "aside" in finding["message"]
    page = run(stored, "doctor")
    assert page.exit_code == 1
    assert "1 thing needs a person." in page.stdout
    assert f"-> {KINDS['renamed'].mend}" in page.stdout
    segment.with_name("aside").rename(segment)
    assert doctor(stored, 1, "--quick")["findings"] != [], "nobody has looked again"
    assert doctor(stored, 0)["findings"] == []


def test_damage_that_a_read_has_repaired_needs_nobody_any_more(engine: Engine, stored: Path) -> None:
    segment = engine.folder.segment(engine.find("/c").place.segment_sha256)
    segment.write_bytes(segment.read_bytes()[:-1])
    assert run(stored, "verify", "--all").exit_code == 1
    assert {one["code"] for one in doctor(stored, 1)["findings"]} >= {"truncated"}
    assert run(stored, "get", "/c").exit_code == 0
    assert doctor(stored, 0)["findings"] == []


def test_a_backup_that_is_not_where_it_was_taken_to_is_a_trouble(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(stored, "backup", "create", "--wait").exit_code == 0
    fine = check(doctor(stored, 0), "backups")
    assert (fine["state"], "STRONGROOM_BACKUP_TARGET" in fine["told"]) == ("fine", True), "it lies on the disk of the data folder"
    (manifest,) = (stored / "backups" / "backups").iterdir()
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    assert "damaged" in check(doctor(stored, 1), "backups")["told"]
    shutil.rmtree(stored / "backups")
    seen = check(doctor(stored, 1), "backups")
    assert "There are no backups" in seen["told"]
    assert "disk mounted" in seen["mend"]
    monkeypatch.setenv("STRONGROOM_BACKUP_TARGET", str(tmp_path / "elsewhere"))
    assert check(doctor(stored, 0), "backups")["state"] == "fine", "the service may know another target than this shell"


def test_an_erasure_that_was_cut_short_is_a_trouble_until_it_is_resumed(engine: Engine, stored: Path) -> None:
    assert check(doctor(stored, 0), "erasures")["state"] == "fine"
    note = Note("0" * 16, datetime.now(UTC), "person:ada", "why", (("/c", "1.0"),), (engine.find("/c").version_id,), (), ("/c",))
    write_note(engine.folder, note)
    engine.database.close()
    with locked(stored / "metadata" / LOCK):
        assert check(doctor(stored, 0), "erasures")["state"] == "note", "somebody is at it"
    found = check(doctor(stored, 1), "erasures")
    assert (found["state"], found["mend"]) == ("trouble", "strongroom erase --resume")
    assert "/c 1.0" in found["told"]
    assert run(stored, "erase", "--resume").exit_code == 0
    assert check(doctor(stored, 0), "erasures")["state"] == "fine"


def test_what_has_waited_longer_than_the_promise_is_a_trouble(
    engine: Engine, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.database.write() as connection:
        connection.execute(text("UPDATE segment SET created_at = datetime('now', '-3 days')"))
    assert check(doctor(stored, 0), "coverage")["state"] == "fine"
    monkeypatch.setenv("STRONGROOM_COVERAGE_DAYS", "2")
    found = check(json.loads(run(stored, "doctor", "--json").stdout), "coverage")
    assert (found["state"], found["mend"]) == ("trouble", "strongroom schedule run integrity-sweep")
    assert "2 are promised" in found["told"]


def test_failed_jobs_and_a_clock_that_is_off_are_troubles(engine: Engine, stored: Path) -> None:
    job = "INSERT INTO job (job_id, kind, state, subject, priority, asked_by, attempts, owner, payload, created_at) VALUES "
    with engine.database.write() as connection:
        connection.execute(text(job + "('job-of-before', 'store', 'quarantined', '', 0, '', 0, '', '', '2026-11-22 01:02:03')"))
        connection.execute(text("UPDATE version SET created_at = '2999-11-22 01:02:03.000000' WHERE library_id = '/c'"))
    told = doctor(stored, 1)
    assert check(told, "jobs")["mend"] == "strongroom jobs --state quarantined"
    assert check(told, "clock")["state"] == "trouble"


def test_a_damaged_catalogue_and_one_that_is_lost_are_told_and_rebuilt(stored: Path) -> None:
    file = stored / "metadata" / "catalogue.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\1" * 8192 + file.read_bytes()[12288:])
    assert "rebuild" in str(check(doctor(stored, 1), "catalogue"))
    file.unlink()
    lost = doctor(stored, 1)
    assert "strongroom rebuild" in check(lost, "catalogue")["mend"]
    assert [one["name"] for one in lost["checks"] if one["state"] == "trouble"] == ["catalogue"], "one trouble, one mend"
    answer = run(stored, "rebuild", "--json")
    assert answer.exit_code == 0, answer.stdout
    told = json.loads(answer.stdout)
    assert {name: told[name] for name in ("libraries", "versions", "segments", "objects", "findings", "before")} == {
        "libraries": 2,
        "versions": 2,
        "segments": 1,
        "objects": 2,
        "findings": [],
        "before": None,
    }
    assert told["seconds"] >= 0
    assert doctor(stored, 0)["findings"] == []
    assert run(stored, "get", "/a/b").stdout_bytes == body(n=1)


def test_no_rebuild_while_a_service_runs(stored: Path) -> None:
    lock = lock_service(stored)
    answer = run(stored, "rebuild", "--json")
    import os

    os.close(lock)
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "data_folder_locked")
    page = run(stored, "rebuild")
    assert page.exit_code == 0
    assert "2 versions of 2 libraries in 1 segment" in page.stdout
    assert "catalogue.db.before-" in page.stdout


def test_a_folder_that_is_none_is_told_with_what_to_do(tmp_path: Path) -> None:
    told = doctor(tmp_path / "nowhere", 1)
    assert check(told, "data folder")["mend"]
    assert not (tmp_path / "nowhere").exists()
