"""verify --repair and coverage on a data folder without a service."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from config.settings import Settings
from models.curation import list_audit
from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app
from workers.cli.who import asker
from workers.metrics import coverage
from workers.scene import Onlooker


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    """A data folder with two documents in one segment, both copied into the tree."""
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2))])
    engine.tree.catch_up()
    return data


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words])


def damage(engine: Engine) -> Path:
    path = engine.folder.segment(engine.find("/a/b", "1.0").place.segment_sha256)
    stored = bytearray(path.read_bytes())
    stored[12] ^= 1
    path.write_bytes(stored)
    return path


def test_verify_repairs_only_when_it_is_told_to_and_then_says_from_where(engine: Engine, stored: Path) -> None:
    path = damage(engine)
    before = path.read_bytes()
    plain = run(stored, "verify", "--json")
    assert (plain.exit_code, path.read_bytes()) == (1, before)
    assert json.loads(plain.stdout).keys() == {"checked", "read_bytes", "damaged", "findings"}
    answer = run(stored, "verify", "--all", "--repair", "--json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["damaged"], told["findings"]) == (0, [], [])
    (repaired,) = told["repaired"]
    assert repaired["from"].startswith("tree documentation/")
    assert repaired | {"from": ""} == {"library_id": "/a/b", "version": "1.0", "revision": 1, "code": "damaged", "from": ""}
    assert json.loads(run(stored, "verify", "--all", "--repair", "--json").stdout)["repaired"] == []
    with engine.database.read() as connection:
        assert [(one.action, one.by) for one in list_audit(connection, "/a/b")] == [("repaired", asker())]


def test_people_are_told_what_was_repaired_and_what_remains(engine: Engine, stored: Path) -> None:
    damage(engine)
    assert "repaired  /a/b 1.0 (revision 1), from tree" in run(stored, "verify", "--repair").stdout
    path = damage(engine)
    for shown in engine.folder.documentation.glob("*/.generations/1.0.*/documentation.json.gz"):
        shown.unlink()
    answer = run(stored, "verify", "--repair")
    assert answer.exit_code == 1
    assert "1 version damaged" in answer.stdout
    assert path.exists()


def test_what_the_catalogue_does_not_know_is_named_and_is_no_damage(engine: Engine, stored: Path) -> None:
    orphan = engine.folder.segment("ab" * 32)
    orphan.write_bytes(b"a store crashed before its commit")
    assert json.loads(run(stored, "verify", "--all", "--json").stdout)["findings"] == [], "it may be a store under way"
    os.utime(orphan, (0, 0))
    for words in (("verify", "--json"), ("verify", "--all", "--repair", "--json")):
        answer = run(stored, *words)
        told = json.loads(answer.stdout)
        assert (answer.exit_code, told["damaged"], [one["code"] for one in told["findings"]]) == (0, [], ["orphan"])
        assert told["findings"][0]["path"] == f"segments/ab/{orphan.name}"
    assert json.loads(run(stored, "verify", "/a/b", "--json").stdout)["findings"] == []
    (known,) = json.loads(run(stored, "doctor", "--json").stdout)["findings"]
    assert known["code"] == "orphan"
    orphan.unlink()
    assert json.loads(run(stored, "doctor", "--json").stdout)["findings"] == []


def test_all_and_a_library_are_two_requests(stored: Path) -> None:
    answer = run(stored, "verify", "--all", "/a/b", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "invalid_request")


def test_coverage_says_kept_and_exits_1_once_the_promise_is_broken(engine: Engine, stored: Path) -> None:
    told = json.loads(run(stored, "coverage", "--json").stdout)
    assert (told["state"], told["segments"], told["never_checked"], told["done_at"]) == ("kept", 1, 1, None)
    assert "kept" in run(stored, "coverage").stdout
    with engine.database.write() as connection:
        connection.execute(text("UPDATE segment SET created_at = '2020-01-01 00:00:00.000000'"))
    answer = run(stored, "coverage", "--json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["state"], told["debt_segments"]) == (1, "broken", 1)
    assert told["debt_bytes"] == told["size_bytes"] > 0
    assert "integrity-sweep" in run(stored, "coverage").stdout


def test_the_metrics_tell_of_the_promise_too(stored: Path) -> None:
    told = {one.name: one.samples[0].value for one in coverage(Onlooker(Settings(data_dir=stored, coverage_days=7)).look())}
    assert told["strongroom_coverage_kept"] == 1
    assert told["strongroom_coverage_never_checked_segments"] == 1
    assert told.keys() >= {"strongroom_coverage_in_danger", "strongroom_coverage_debt_bytes"}
