"""The command `quota`: what each library takes of what it may take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from tests.support.alike import store_versions
from workers.cli import app


def run(data: Path, *words: str, quotas: object = None) -> Result:
    environ = {} if quotas is None else {"STRONGROOM_QUOTAS": json.dumps(quotas)}
    return CliRunner().invoke(app, ["--data", str(data), "quota", *words], env=environ)


def told(data: Path, *words: str, quotas: object = None) -> Any:  # JSON
    return json.loads(run(data, *words, "--json", quotas=quotas).stdout)


@pytest.fixture
def sizes(data: Path, engine: Engine) -> dict[str, int]:
    """What two libraries take."""
    store_versions(engine, "/a/b", 3)
    store_versions(engine, "/c/d", 1, seed=4)
    return {one["library_id"]: one["used_bytes"] for one in told(data)["libraries"]}


def test_those_nearest_to_their_limit_come_first(data: Path, sizes: dict[str, int]) -> None:
    answer = told(data, quotas={"/a/*": "1GB", "/c/d": sizes["/c/d"] * 100 // 90, "total": "1TB"})
    assert [(one["library_id"], one["state"]) for one in answer["libraries"]] == [("/c/d", "near"), ("/a/b", "fine")]
    assert answer["libraries"][0]["share"] == pytest.approx(0.9, abs=0.01)
    assert answer["total"]["used_bytes"] == sum(sizes.values())
    assert answer["total"]["limit_bytes"] == 10**12
    assert run(data, quotas={"/c/d": sizes["/c/d"] * 100 // 90}).exit_code == 0


def test_one_that_is_full_is_exit_code_1_and_shown_as_a_full_bar(data: Path, sizes: dict[str, int]) -> None:
    answer = run(data, quotas={"*": sizes["/a/b"]})
    assert answer.exit_code == 1
    line = next(line for line in answer.stdout.splitlines() if line.startswith("/a/b"))
    assert "#" * 20 in line
    assert "100%" in line
    assert "strongroom cleanup" in answer.stdout


def test_one_library_can_be_asked_for_and_an_unknown_one_is_an_error(data: Path, sizes: dict[str, int]) -> None:
    answer = told(data, "/c/d")
    assert [(one["library_id"], one["limit_bytes"], one["state"]) for one in answer["libraries"]] == [("/c/d", None, "unlimited")]
    assert answer["total"]["used_bytes"] == sum(sizes.values())
    assert told(data, "/no/such")["error"]["code"] == "not_found"


def test_without_quotas_it_says_how_to_set_some(data: Path, sizes: dict[str, int]) -> None:
    assert sizes
    answer = run(data)
    assert answer.exit_code == 0
    assert "STRONGROOM_QUOTAS" in answer.stdout


@pytest.mark.parametrize("quotas", [{"*": "much"}, {"*": 0}, ["10GB"]])
def test_a_quota_that_is_none_is_refused_before_anything_happens(data: Path, engine: Engine, quotas: object) -> None:
    answer = run(data, "--json", quotas=quotas)
    error = json.loads(answer.stdout)["error"]
    assert (answer.exit_code, error["code"]) == (1, "configuration")
    assert "STRONGROOM_QUOTAS" in error["message"]
