"""tasks/drill.py: a drill is a job, and a verdict that is not fresh is its outcome, not its failure."""

from __future__ import annotations

from tasks.backup import BACKUP
from tasks.drill import DRILL
from tasks.jobs import run_job
from tests.support.archive import body, document
from tests.support.desk import Desk


def test_a_drill_is_made_and_its_verdict_is_in_the_ledger(desk: Desk) -> None:
    desk.engine.store([document("/a", "1.0", body(n=1))])
    run_job(DRILL, desk.services, {"request_id": "drill-0001"}, "drill-0001")
    assert dict(desk.job("drill-0001").outcome or {})["verdict"] == "never"
    run_job(BACKUP, desk.services, {"request_id": "backup-0001"}, "backup-0001")
    run_job(DRILL, desk.services, {"request_id": "drill-0002", "max_age_hours": 1}, "drill-0002")
    row = desk.job("drill-0002")
    assert (row.state, dict(row.outcome or {})["verdict"], dict(row.outcome or {})["checked"]) == ("done", "fresh", 1)
    assert row.needs_bytes > 0
