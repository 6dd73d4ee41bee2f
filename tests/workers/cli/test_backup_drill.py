"""The command `backup drill`: its verdict is its exit code, and the last ones are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.listing import newest_jobs
from storage.engine import Engine
from tests.support.archive import body, document
from tests.workers.cli.test_backup import run, told


@pytest.fixture
def filled(engine: Engine) -> Engine:
    engine.store([document("/a/b", f"{number}.0", body(number=number)) for number in range(3)])
    return engine


def test_a_drill_is_made_here_and_what_came_of_the_last_ones_is_shown(data: Path, filled: Engine) -> None:
    answer = run(data, "drill", "--wait")
    assert (answer.exit_code, answer.stdout.split()[0]) == (1, "never")
    told(data, "create", "--wait")
    found = told(data, "drill", "--wait")
    assert (found["job_id"], found["verdict"], found["checked"], found["problems"]) == (None, "fresh", 3, [])
    assert [one["documents"] for one in found["backups"]] == [3]
    for pack in (data / "backups" / "packs").glob("*/*"):
        pack.unlink()
    answer = run(data, "drill", "--wait")
    assert (answer.exit_code, answer.stdout.split()[0]) == (1, "failed")
    assert "missing" in answer.stderr
    rows = told(data, "drill", "--history")
    assert [one["verdict"] for one in rows] == ["failed", "fresh", "never"]
    assert (rows[1]["id"], rows[1]["rto_s"]) == (found["id"], found["rto_s"])
    assert "fresh" in run(data, "drill", "--history").stdout


def test_without_waiting_a_job_is_queued(data: Path, filled: Engine) -> None:
    job_id = told(data, "drill")["job_id"]
    with filled.database.read() as connection:
        [row] = newest_jobs(connection)
    assert (row.job_id, row.kind, row.queue, row.state) == (job_id, "drill", "long", "queued")
