"""The command `compress`: done here with --wait and no service, queued otherwise; its advice is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from models.listing import newest_jobs
from storage.engine import Engine
from tests.support.alike import store_versions
from tests.support.archive import check_promises
from workers.cli import app


def run(data: Path, *words: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), "compress", *words], env=environ)


def told(data: Path, *words: str, **environ: str) -> Any:  # JSON
    answer = run(data, *words, "--json", **environ)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    store_versions(engine, "/a/b", 3)
    store_versions(engine, "/c/d", 1, seed=4)
    engine.tree.catch_up()
    return engine


def test_without_a_service_it_is_done_here(data: Path, filled: Engine) -> None:
    answer = told(data, "--all", "--wait")
    assert (answer["job_id"], answer["rewritten"], answer["damaged"]) == (None, 4, [])
    assert answer["after_bytes"] < answer["before_bytes"]
    check_promises(filled)


def test_one_library_is_done_alone_and_an_unknown_one_is_an_error(data: Path, filled: Engine) -> None:
    assert told(data, "/c/d", "--wait")["rewritten"] == 1
    assert [one.place.effort for one in filled.versions("/a/b")] == [0, 0, 0]
    answer = run(data, "/no/such", "--wait", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "not_found")


def test_without_waiting_a_job_is_queued(data: Path, filled: Engine) -> None:
    job_id = told(data, "--all")["job_id"]
    with filled.database.read() as connection:
        jobs = newest_jobs(connection)
    assert [(row.job_id, row.kind, row.state) for row in jobs] == [(job_id, "compress", "queued")]


def test_it_wants_a_library_or_all_of_them(data: Path, filled: Engine) -> None:
    assert run(data).exit_code == 2
    assert run(data, "/a/b", "--all").exit_code == 2


def test_the_advice_comes_near_to_what_it_saves_and_then_there_is_none(
    data: Path, filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sum(one.place.length for one in filled.versions())
    advice = told(data, "--advice")
    assert {one["library_id"] for one in advice["libraries"]} == {"/a/b", "/c/d"}
    told(data, "--all", "--wait")
    saved = before - sum(one.place.length for one in filled.versions())
    assert 0.7 * saved < advice["saves_bytes"] < 1.4 * saved
    assert told(data, "--advice")["saves_bytes"] == 0
    monkeypatch.setenv("STRONGROOM_COMPRESS_NEWEST", "zstd")
    assert told(data, "--advice")["saves_bytes"] > 0, "the newest ones are to be kept otherwise now"
