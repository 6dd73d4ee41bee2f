"""Commands that wait for a job of a running service say by their exit code that the time was over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app
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
