"""Commands that wait for a job of a running service say by their exit code that the time was over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from storage.engine import Engine
from strongroom.errors import StorageError, WaitTimeout
from tests.support.archive import body, document
from workers.cli import app
from workers.cli.awaiting import wait_for_end
from workers.parts import CHECKOUT
from workers.service_lock import lock_service


@pytest.mark.parametrize("words", [["backup", "create"], ["backup", "drill"], ["compress", "--all"]], ids=" ".join)
def test_a_wait_that_was_too_short_has_an_exit_code_of_its_own(data: Path, engine: Engine, words: list[str]) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    lock = lock_service(data)
    try:
        answer = CliRunner().invoke(app, [*words, "--wait", "--timeout", "0", "--json", "--data", str(data)])
    finally:
        os.close(lock)
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (5, "wait_timeout")


def test_who_waits_for_a_job_that_is_parked_is_told_what_it_waits_for(engine: Engine) -> None:
    error = json.dumps({"code": "target_unreachable", "message": "There is nothing.", "hint": "Mount the disk."})
    row = "INSERT INTO job (job_id, kind, state, created_at, subject, priority, asked_by, attempts, owner, payload, error) "
    with engine.database.write() as connection:
        connection.execute(
            text(row + "VALUES ('backup-1', 'backup', 'parked', '2026-11-22 01:02:03', '', 0, '', 0, '', '', :error)"),
            {"error": error},
        )
    with pytest.raises(StorageError, match="waits: There is nothing") as caught:
        wait_for_end(engine.database, "backup-1", 60.0, "backing up", shown=False, patience_s=0.01)
    assert caught.value.hint.startswith("Mount the disk. The job goes on by itself")
    with pytest.raises(WaitTimeout):
        wait_for_end(engine.database, "backup-1", 0.01, "backing up", shown=False)


def test_to_queue_a_job_takes_neither_the_engine_nor_a_broker() -> None:
    """What a command imports is most of its time, and the worker that does the job has all of that already."""
    script = (
        "import sys, workers.cli.backup; before = set(sys.modules); "
        "import tasks.entering, workers.jobs_ledger; print(*before); print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    to_start, to_queue = (set(line.split()) for line in shown.splitlines())
    assert to_start.isdisjoint({"sqlalchemy", "rich", "redis", "celery", "kombu", "structlog", "boto3", "apprise", "pyrage"})
    assert "models.ledger" in to_queue
    assert to_queue.isdisjoint({"storage.engine", "storage.backup", "redis", "celery", "kombu", "structlog", "alembic"})


def test_no_job_is_queued_where_there_is_no_data_folder(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    answer = CliRunner().invoke(app, ["backup", "create", "--json", "--data", str(absent)])
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "data_folder")
    assert not absent.exists()
