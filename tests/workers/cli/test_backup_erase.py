"""workers/cli/backup_erase.py: what was erased goes from the backups; the plan, the question, and what is left."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storage.backup.create import Create
from storage.backup.manifest import backup_ids
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app

WHY = ("--why", "licence")


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env={"COLUMNS": "200"})


def as_json(data: Path, *words: str) -> Any:
    done = run(data, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def repository(data: Path) -> Repository:
    """Two backups: one without the library that is erased, and one with it."""
    with Engine(data).open() as engine:
        place = Place(str(data / "backups")).make(datetime.now(UTC))
        engine.store([document("/c/d", "1", body(n=1))])
        Create(engine, place).run()
        engine.store([document("/a/b", "1.0", body(n=2)), document("/a/b", "2.0", body(n=3))])
        Create(engine, place).run()
    return place


def test_a_plan_changes_nothing_and_what_is_erased_goes(data: Path, repository: Repository) -> None:
    older, newer = backup_ids(repository)
    nothing = as_json(data, "backup", "erase")
    assert (nothing["erased"], nothing["remove"]) == ([], [])
    as_json(data, "erase", "/a/b", "--apply", "--yes", *WHY)
    plan = as_json(data, "backup", "erase")
    assert plan["erased"] == [{"library_id": "/a/b", "version": None}]
    assert ([one["id"] for one in plan["remove"]], [one["id"] for one in plan["keep"]]) == ([newer], [older])
    assert (plan["applied"], plan["full_first"], plan["left"]) == (False, True, [])
    assert backup_ids(repository) == [older, newer]
    shown = run(data, "backup", "erase")
    assert newer in shown.stdout
    assert "goes" in shown.stdout
    done = as_json(data, "backup", "erase", "--apply", "--yes", *WHY)
    assert (done["removed"], done["left"], sorted(done["searched"])) == ([newer], [], [older, done["made"]])
    assert backup_ids(repository) == [older, done["made"]]
    newest = as_json(data, "history", "/a/b")["trail"][0]
    assert (newest["action"], newest["why"]) == ("erased_from_backups", "licence")
    again = run(data, "backup", "erase", "--apply", "--yes", *WHY)
    assert "Nothing was erased" in again.stdout


def test_erase_does_both_at_once_and_takes_what_it_erased_alone(data: Path, repository: Repository) -> None:
    as_json(data, "erase", "/a/b", "1.0", "--apply", "--yes", *WHY)
    (done,) = as_json(data, "erase", "/a/b", "2.0", "--apply", "--backups", "--yes", *WHY)
    assert done["from_backups"]["erased"] == [{"library_id": "/a/b", "version": "2.0"}]
    assert len(done["from_backups"]["removed"]) == 1
    assert as_json(data, "backup", "erase")["erased"] == [{"library_id": "/a/b", "version": "1.0"}]
    shown = run(data, "erase", "/c/d", "--apply", "--backups", "--yes", *WHY)
    assert shown.exit_code == 0, shown.output
    assert "removed backup" in shown.stdout
    assert len(backup_ids(repository)) == 1


def test_an_erasure_that_was_cut_short_behind_its_first_half_is_not_said_to_be_over(data: Path, repository: Repository) -> None:
    as_json(data, "erase", "/a/b", "--apply", "--yes", *WHY)
    done = run(data, "erase", "--resume", "--backups")
    assert (done.exit_code, "strongroom backup erase" in done.output) == (1, True)
    as_json(data, "backup", "erase", "--apply", "--yes", *WHY)
    done = run(data, "erase", "--resume", "--backups")
    assert (done.exit_code, done.stdout.strip()) == (0, "Nothing was cut short.")
    assert len(backup_ids(repository)) == 2


def test_nobody_to_ask_and_no_reason_remove_nothing(data: Path, repository: Repository) -> None:
    as_json(data, "erase", "/a/b", "--apply", "--yes", *WHY)
    before = backup_ids(repository)
    for words in (("--apply", *WHY), ("--apply", "--yes")):
        done = run(data, "backup", "erase", *words)
        assert done.exit_code == 1, words
    assert backup_ids(repository) == before


def test_what_is_left_is_said_and_ends_with_1(data: Path, repository: Repository) -> None:
    as_json(data, "erase", "/a/b", "--apply", "--yes", *WHY)
    (data / "backups" / "backups" / f"{backup_ids(repository)[0]}.json").write_bytes(b"{}")
    done = run(data, "backup", "erase", "--apply", "--yes", *WHY)
    assert done.exit_code == 1
    assert "still held by" in done.stdout


@pytest.mark.usefixtures("repository")
def test_what_the_backups_answer_does_not_hide_that_it_is_erased_here(data: Path) -> None:
    (data / "backups" / "strongroom-backup.json").write_bytes(b"{")
    done = run(data, "erase", "/a/b", "--apply", "--backups", "--yes", *WHY, "--json")
    assert done.exit_code == 1
    [told] = json.loads(done.stdout)
    assert (len(told["erased"]), told["from_backups"]["error"]["code"]) == (2, "backup_damaged")
    assert as_json(data, "history", "/a/b")["trail"][0]["action"] == "erased"
