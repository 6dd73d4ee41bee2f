"""The command `cleanup`: it shows what goes and why, does what it showed, and can be undone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from tests.support.archive import body, check_promises, document
from workers.cli import app

POLICY = {"STRONGROOM_RETENTION": '{"*": {"keep_last": 2}}'}


def run(data: Path, *words: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), "cleanup", *words], env=POLICY if environ is None else environ)


def told(data: Path, *words: str) -> Any:  # JSON
    answer = run(data, *words, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    for library in ("/a/b", "/c/d"):
        for number in range(4):
            engine.store([document(library, f"1.{number}", body(number=number, of=library))])
    engine.tree.catch_up()
    return engine


def _versions(engine: Engine) -> list[tuple[str, str]]:
    return sorted((one.library_id, one.version) for one in engine.versions())


def test_the_plan_names_each_version_its_fate_and_the_reason(data: Path, filled: Engine) -> None:
    plan = told(data)
    assert plan["keep"][0] == {"library_id": "/a/b", "version": "1.3", "reason": "latest; number 1 of the last 2"}
    assert [(one["library_id"], one["version"]) for one in plan["remove"]] == [
        ("/a/b", "1.1"),
        ("/a/b", "1.0"),
        ("/c/d", "1.1"),
        ("/c/d", "1.0"),
    ]
    assert all(one["reason"] == "no rule keeps it (keep_last 2)" for one in plan["remove"])
    assert (plan["freed_bytes"] > 0, plan["applied"], plan["remove_revisions"]) == (True, False, [])
    assert len(_versions(filled)) == 8, "showing changes nothing"
    shown = run(data).stdout
    assert "no rule keeps it" in shown
    assert shown.endswith(f" --apply --plan {plan['plan_id']}\n")


def test_one_library_alone_has_a_plan(data: Path, filled: Engine) -> None:
    assert {one["library_id"] for one in told(data, "/c/d")["remove"]} == {"/c/d"}
    answer = run(data, "/no/such", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")


def test_what_was_shown_is_carried_out_and_undone(data: Path, filled: Engine) -> None:
    before = _versions(filled)
    plan_id = told(data)["plan_id"]
    done = told(data, "--apply", "--plan", plan_id)
    assert (done["applied"], done["removed_versions"], done["removed_revisions"]) == (True, 4, 4)
    assert _versions(filled) == [(library, version) for library in ("/a/b", "/c/d") for version in ("1.2", "1.3")]
    assert not (data / "documentation" / "+a+b" / "1.0").exists()
    check_promises(filled)
    assert told(data, "undo", plan_id) == {"plan_id": plan_id, "restored_versions": 4, "restored_revisions": 4}
    assert _versions(filled) == before
    assert (data / "documentation" / "+a+b" / "1.0" / "documentation.json.gz").exists()
    check_promises(filled)
    answer = run(data, "undo", plan_id, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")


def test_an_undo_over_a_quota_is_refused_and_says_how_it_is_done_this_once(data: Path, filled: Engine) -> None:
    plan_id = told(data)["plan_id"]
    told(data, "--apply", "--plan", plan_id)
    answer = run(data, "undo", plan_id, "--json", environ={"STRONGROOM_QUOTAS": '{"/a/b": 10}'})
    error = json.loads(answer.stdout)["error"]
    assert (answer.exit_code, error["code"]) == (1, "quota_exceeded")
    assert "STRONGROOM_QUOTAS='{}'" in error["hint"]
    assert len(_versions(filled)) == 4
    assert run(data, "undo", plan_id, "--json", environ={"STRONGROOM_QUOTAS": "{}"}).exit_code == 0
    assert len(_versions(filled)) == 8


def test_a_plan_that_is_not_up_to_date_is_not_carried_out(data: Path, filled: Engine) -> None:
    plan_id = told(data)["plan_id"]
    filled.store([document("/a/b", "2.0", body(new=1))])
    answer = run(data, "--apply", "--plan", plan_id, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "stale_plan")
    assert len(_versions(filled)) == 9


def test_nobody_is_asked_where_nobody_can_answer(data: Path, filled: Engine) -> None:
    answer = run(data, "--apply")
    assert answer.exit_code == 0, answer.output
    assert "brings them back until" in answer.stdout
    assert len(_versions(filled)) == 4
    assert run(data, "--apply").exit_code == 0, "nothing is left to do"


@pytest.mark.parametrize(("reply", "left"), [("n\n", 8), ("y\n", 4)])
def test_a_person_is_asked(data: Path, filled: Engine, monkeypatch: pytest.MonkeyPatch, reply: str, left: int) -> None:
    monkeypatch.setattr("workers.cli.cleanup.is_asked", lambda: True)
    answer = CliRunner().invoke(app, ["--data", str(data), "cleanup", "--apply"], env=POLICY, input=reply)
    assert answer.exit_code == (0 if left == 4 else 1)
    assert len(_versions(filled)) == left


def test_without_a_policy_it_says_so(data: Path, filled: Engine) -> None:
    answer = run(data, "--json", environ={})
    error = json.loads(answer.stdout)["error"]
    assert (answer.exit_code, error["code"], error["message"]) == (
        1,
        "configuration",
        "No retention policy is set: everything is kept.",
    )
    assert "STRONGROOM_RETENTION" in error["hint"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [('{"*": {}}', "is empty"), ("nonsense", "is no JSON object"), ('{"*": {"keep": 1}}', "says nothing")],
)
def test_a_policy_that_cannot_be_is_refused(data: Path, filled: Engine, policy: str, said: str) -> None:
    answer = run(data, "--policy", policy, "--json")
    assert answer.exit_code == 1
    assert said in json.loads(answer.stdout)["error"]["message"]


def test_a_policy_may_be_given_for_once(data: Path, filled: Engine) -> None:
    plan = told(data, "--policy", '{"/a/*": {"keep_last": 1}}')
    assert len(plan["remove"]) == 3
    assert {one["reason"] for one in plan["keep"] if one["library_id"] == "/c/d"} == {"no policy is meant for it"}


def test_the_command_that_a_plan_names_carries_out_that_plan(data: Path, filled: Engine) -> None:
    shown = run(data, "/a/b", "--policy", '{"*": {"keep_last": 1}}', environ={})
    words = shlex.split(shown.stdout.splitlines()[-1].partition("strongroom cleanup ")[2])
    assert run(data, *words, environ={}).exit_code == 0
    assert [one for one in _versions(filled) if one[0] == "/a/b"] == [("/a/b", "1.3")]
    assert len(_versions(filled)) == 5


def test_older_revisions_are_listed_by_themselves(data: Path, engine: Engine) -> None:
    for number in range(3):
        engine.store([document("/a/b", "1.0", body(number=number))])
    plan = told(data, "--policy", '{"*": {"keep_revisions": 1}}')
    assert plan["remove"] == []
    assert [(one["version"], one["revision"]) for one in plan["remove_revisions"]] == [("1.0", 1), ("1.0", 2)]
    shown = run(data, "--policy", '{"*": {"keep_revisions": 1}}').stdout
    assert "without 2 older revisions" in " ".join(shown.split())


def test_the_future_is_simulated(data: Path, filled: Engine) -> None:
    days = told(data, "simulate", "--days", "40")
    assert len(days) == 40
    assert days[0]["removed"] == 4
    assert sum(day["stored"] for day in days) == 8
    assert days[-1]["kept"] == 4
    assert "if uploads go on" in run(data, "simulate", "/a/b").stdout
    assert len(_versions(filled)) == 8


def test_a_sweep_can_be_run_by_hand(data: Path, filled: Engine) -> None:
    swept = told(data, "sweep")
    assert (swept["purged"], swept["condemned"], swept["under_way"]) == (0, 0, False)
    assert "deleted from the trash" in run(data, "sweep").stdout


def test_who_applied_it_is_recorded(data: Path, filled: Engine) -> None:
    told(data, "--apply")
    with filled.database.read() as connection:
        by = set(connection.exec_driver_sql("SELECT removed_by FROM removed_version").scalars())
    assert len(by) == 1
    assert next(iter(by)).startswith("person:")


def test_the_data_folder_may_be_named_anywhere(data: Path, filled: Engine) -> None:
    calls: list[Callable[[], Result]] = [
        lambda: CliRunner().invoke(app, ["cleanup", "--data", str(data), "--json"], env=POLICY),
        lambda: CliRunner().invoke(app, ["cleanup", "--data", str(data), "simulate", "--json"], env=POLICY),
        lambda: CliRunner().invoke(app, ["cleanup", "plan", "/a/b", "--data", str(data), "--json"], env=POLICY),
    ]
    for call in calls:
        assert call().exit_code == 0, call().output
    assert "undo" in CliRunner().invoke(app, ["cleanup", "--help"]).stdout
