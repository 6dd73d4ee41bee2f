"""The command `backup prune` and its job: a plan first, and only what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.engine import Engine
from tasks.backup_prune import BACKUP_PRUNE
from tasks.jobs import run_job
from tests.support.archive import body, document
from tests.support.desk import Desk
from tests.workers.cli.test_backup import run, told

KEEP = '{"keep_last": 1}'


def test_the_plan_is_shown_and_done_when_asked_for(data: Path, engine: Engine) -> None:
    assert told(data, "prune")["remove"] == []
    engine.store([document("/a", "1.0", body(n=1))])
    first = told(data, "create", "--wait")["id"]
    second = told(data, "create", "--full", "--wait")["id"]
    assert told(data, "prune")["remove"] == [], "without a policy all stay"
    planned = told(data, "prune", "--keep", KEEP)
    assert (planned["applied"], [one["id"] for one in planned["remove"]]) == (False, [first])
    assert len(told(data, "list")) == 2
    assert "would go" in run(data, "prune", STRONGROOM_BACKUP_RETENTION=KEEP).stdout
    done = told(data, "prune", "--apply", STRONGROOM_BACKUP_RETENTION=KEEP)
    assert {**done, "applied": False} == planned
    assert [one["id"] for one in told(data, "list")] == [second]
    assert told(data, "verify")["verdict"] == "good"


@pytest.mark.parametrize("keep", ["{}", "[]", "nonsense", '{"dayly": 7}'])
def test_a_policy_that_says_nothing_is_refused(data: Path, engine: Engine, keep: str) -> None:
    answer = run(data, "prune", "--apply", "--keep", keep, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "configuration")


def test_the_job_keeps_everything_without_a_policy(data: Path) -> None:
    with_desk = Desk(data)
    run_job(BACKUP_PRUNE, with_desk.services, {"request_id": "prune-0001", "policy": {}}, "prune-0001")
    row = with_desk.job("prune-0001")
    assert (row.state, dict(row.outcome or {})["remove"]) == ("done", [])
    with_desk.engine.close()
