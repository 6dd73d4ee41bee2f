"""workers/cli/erase.py: the plan, the question, the proof, and the backups that still hold it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from storage.backup.create import Create
from storage.backup.place import Place
from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env={"COLUMNS": "200"})


def as_json(data: Path, *words: str) -> Any:
    done = run(data, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def fill(data: Path) -> None:
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2)), document("/c/d", "1", body(n=1))])
        engine.tree.catch_up()


def test_a_plan_changes_nothing_and_what_is_erased_is_proven_gone(data: Path) -> None:
    fill(data)
    plan = as_json(data, "erase", "/a/b")
    assert [(one["version"], one["revision"]) for one in plan["erase"]] == [("1.0", 1), ("2.0", 1)]
    assert (plan["applied"], len(plan["contents"]), plan["shared"][0]["library_id"]) == (False, 1, "/c/d")
    assert len(as_json(data, "list")) == 3
    (done,) = as_json(data, "erase", "/a/b", "--apply", "--yes", "--why", "licence")
    assert (done["erased"], done["left"]) == (plan["contents"], [])
    assert done["still_held_by"][0]["library_id"] == "/c/d"
    assert done["checked_files"] > 1
    assert [one["library_id"] for one in as_json(data, "list")] == ["/c/d"]
    assert as_json(data, "erase", "--resume") == []


def test_nobody_to_ask_no_reason_and_no_target_erase_nothing(data: Path) -> None:
    fill(data)
    for words in (
        ("erase",),
        ("erase", "/a/b", "--matching", "*"),
        ("erase", "/no/such"),
        ("erase", "/a/b", "--apply", "--why", "licence"),
        ("erase", "/a/b", "--apply", "--yes"),
    ):
        assert run(data, *words).exit_code == 1, words
    assert len(as_json(data, "list")) == 3


def test_backups_that_hold_it_are_named_also_those_of_before_a_compression(data: Path) -> None:
    fill(data)
    with Engine(data).open() as engine:
        repository = Place(str(data / "backups")).make(datetime.now(UTC))
        first = Create(engine, repository).run()
    (backup,) = as_json(data, "erase", "/a/b", "2.0")["backups"]
    assert first.backup_id in backup["where"]
    (done,) = as_json(data, "erase", "/a/b", "2.0", "--apply", "--yes", "--why", "licence")
    assert len(done["backups"]) == 1
    with Engine(data).open() as engine:
        second = Create(engine, repository).run()
        third = Create(engine, repository).run(full=True)
        engine.store([document("/a/b", "2.0", body(n=2))])
    found = as_json(data, "erase", "/a/b", "2.0")["backups"]
    wheres = [one["where"].split()[1] for one in found]
    assert wheres == [second.backup_id, first.backup_id], "the second shares a pack with the first"
    assert third.backup_id not in wheres
