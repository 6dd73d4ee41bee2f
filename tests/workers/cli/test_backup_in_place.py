"""`backup restore-in-place` shows a plan, carries it out and can be undone."""

from __future__ import annotations

import json
from pathlib import Path

from storage.engine import Engine
from tests.support.archive import body, document
from tests.workers.cli.test_backup import run, told


def test_a_plan_is_shown_done_and_undone(data: Path, engine: Engine) -> None:
    engine.store([document("/a", "1.0", body(n=1)), document("/a", "2.0", body(n=2))])
    told(data, "create", "--wait")
    engine.store([document("/a", "2.0", body(n="wrong"))])
    shown = run(data, "restore-in-place", "latest", "--library", "/a")
    assert shown.exit_code == 0
    assert "has another content" in shown.stdout
    assert "nothing was changed" in shown.stdout
    assert engine.read("/a", "2.0") == body(n="wrong")
    done = told(data, "restore-in-place", "latest", "--library", "/a", "--apply", "--why", "nonsense")
    assert {one["version"]: one["now"] for one in done["changes"]} == {"1.0": "same", "2.0": "other"}
    assert engine.read("/a", "2.0") == body(n=2)
    assert "nothing to do" in run(data, "restore-in-place", "latest", "--library", "/a", "--apply").stdout
    assert told(data, "undo-restore", done["restore_id"])["versions"] == {"2.0": "rolled back"}
    assert engine.read("/a", "2.0") == body(n="wrong")
    assert "changed since" in run(data, "undo-restore", done["restore_id"]).stdout


def test_what_is_not_there_is_named(data: Path, engine: Engine) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    told(data, "create", "--wait")
    for words in (["restore-in-place", "latest", "--library", "/b"], ["undo-restore", "2019"]):
        answer = run(data, *words, "--json")
        assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")
