"""The commands of `backup`: with no service running they do the work themselves."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from models.listing import newest_jobs
from storage.engine import Engine
from tests.support.archive import body, document
from tests.support.faults import bad_sectors, faults
from workers.cli import app


def run(data: Path, *words: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), "backup", *words], env=environ)


def told(data: Path, *words: str, **environ: str) -> Any:  # JSON
    answer = run(data, *words, "--json", **environ)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    engine.store([document("/a/b", f"{number}.0", body(number=number)) for number in range(5)])
    return engine


def test_a_backup_is_taken_listed_proven_and_restored_without_the_folder_that_was_lost(
    data: Path, filled: Engine, scratch: Path
) -> None:
    target = str(scratch / "elsewhere")
    first = told(data, "create", "--wait", STRONGROOM_BACKUP_TARGET=target)
    assert (first["job_id"], first["kind"], first["documents"]) == (None, "full", 5)
    assert first["new_bytes"] > 0 < first["seconds"]
    second = told(data, "create", "--wait", STRONGROOM_BACKUP_TARGET=target)
    assert (second["kind"], second["new_segments"]) == ("incremental", 0)
    filled.close()
    shutil.rmtree(data)
    assert [one["id"] for one in told(data, "list", "--target", target)] == [second["id"], first["id"]]
    assert told(data, "show", first["id"], "--target", target)["counts"]["documents"] == 5
    assert told(data, "verify", "latest", "--target", target)["verdict"] == "good"
    to = str(scratch / "new")
    answer = told(data, "restore", "latest", "--to", to, "--target", target)
    assert (answer["id"], answer["documents"], answer["differences"]) == (second["id"], 5, [])
    with Engine(Path(to)).open() as back:
        assert back.read("/a/b", "4.0") == body(number=4)


def test_what_is_damaged_is_said_and_the_exit_code_is_not_0(data: Path, filled: Engine, scratch: Path) -> None:
    backup_id = told(data, "create", "--wait")["id"]
    for pack in (data / "backups" / "packs").glob("*/*"):
        pack.write_bytes(b"\0" + pack.read_bytes()[1:])
    answer = run(data, "verify", backup_id, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["verdict"]) == (1, "damaged")
    assert "other bytes" in run(data, "verify", backup_id).stderr
    answer = run(data, "restore", backup_id, "--to", str(scratch / "new"), "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "backup_damaged")


def test_nothing_is_overwritten_and_what_is_not_there_is_named(data: Path, filled: Engine) -> None:
    answer = run(data, "list", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")
    told(data, "create", "--wait")
    answer = run(data, "restore", "latest", "--to", str(data), "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "data_folder")
    answer = run(data, "show", "2019", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")
    assert run(data, "list", "--target", "ftp://somewhere/else").exit_code == 1


def test_without_waiting_a_job_is_queued(data: Path, filled: Engine) -> None:
    job_id = told(data, "create", "--full")["job_id"]
    with filled.database.read() as connection:
        jobs = newest_jobs(connection)
    assert [(row.job_id, row.kind, row.state) for row in jobs] == [(job_id, "backup", "queued")]


def test_people_are_told_in_a_line(data: Path, filled: Engine) -> None:
    assert "full: 5 documents" in run(data, "create", "--wait").stdout
    assert "good" in run(data, "verify").stdout
    assert run(data, "create", "--wait", "--quiet").stdout == ""


def test_a_disk_that_is_too_small_for_a_restore_is_said_with_what_to_do(data: Path, filled: Engine, scratch: Path) -> None:
    told(data, "create", "--wait")
    for number in range(30, 1000):  # which call that is, is of no importance here, so long as it is one of the restore's own
        with faults(number, errno.ENOSPC) as injected:
            answer = run(data, "restore", "latest", "--to", str(scratch / f"to {number}"), "--json")
        if injected.fired and answer.exit_code:
            break
    assert "give the same command again" in json.loads(answer.stdout)["error"]["hint"]


def test_an_empty_place_that_held_backups_is_a_disk_that_is_not_mounted(data: Path, filled: Engine, scratch: Path) -> None:
    disk, target = scratch / "disk", {"STRONGROOM_BACKUP_TARGET": str(scratch / "mnt" / "strongroom")}
    first = told(data, "create", "--wait", **target)["id"]
    (scratch / "mnt").rename(disk)
    (scratch / "mnt").mkdir()
    answer = run(data, "create", "--wait", "--json", **target)
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "target_unreachable")
    assert list((scratch / "mnt").iterdir()) == []
    (scratch / "mnt").rmdir()
    disk.rename(scratch / "mnt")
    assert told(data, "create", "--wait", **target)["kind"] == "incremental"
    shutil.rmtree(scratch / "mnt")
    assert told(data, "create", "--wait", "--begin-anew", **target)["kind"] == "full"
    assert first not in [one["id"] for one in told(data, "list", **target)]


def test_the_folder_in_the_data_folder_may_be_removed(data: Path, filled: Engine) -> None:
    told(data, "create", "--wait")
    shutil.rmtree(data / "backups")
    assert told(data, "create", "--wait")["kind"] == "full"


def test_a_manifest_that_cannot_be_read_is_shown_and_stops_no_backup(data: Path, filled: Engine, scratch: Path) -> None:
    older, newest = (told(data, "create", "--wait")["id"] for _ in range(2))
    with bad_sectors(data / "backups" / "backups" / f"{newest}.json"):
        assert [one["id"] for one in told(data, "list") if one["problem"]] == [newest]
        restored = run(data, "restore", "latest", "--to", str(scratch / "to"))
        assert (restored.exit_code, newest in restored.output, (scratch / "to").exists()) == (1, True, False)
        assert json.loads(run(data, "verify", "--json").stdout)["verdict"] == "damaged"
        said = run(data, "create", "--wait")
        assert (said.exit_code, f"passed over {newest}" in said.output) == (0, True)
        made = told(data, "list")[0]
        assert (made["parent"], list(told(data, "show", made["id"])["passed_over"])) == (older, [newest])
