"""--data names the data folder wherever it stands on the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.leases import take_new
from models.ledger import NewJob
from storage.engine import Engine
from storage.intake import incoming
from workers.cli import app

JOB = "job-00001"


@pytest.fixture
def stored(engine: Engine, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder with one document and one job, and a working folder without any."""
    document = b'{"library_id": "/a/b", "version_id": "1.0"}'
    engine.store([incoming(lambda: io.BytesIO(document), len(document))])
    with engine.database.write() as connection:
        take_new(connection, [NewJob(JOB, "store")], "nobody", engine.find("/a/b").created_at)
    monkeypatch.chdir(tmp_path)
    return data


@pytest.mark.parametrize(
    "words",
    [
        ("--data", "{}", "list", "--json"),
        ("-d", "{}", "list", "--json"),
        ("list", "--data", "{}", "--json"),
        ("--data", "/nowhere", "list", "--data", "{}", "--json"),
    ],
)
def test_it_may_stand_before_the_command_and_behind_it_and_behind_it_wins(stored: Path, words: Sequence[str]) -> None:
    answer = CliRunner().invoke(app, [word.format(stored) for word in words])
    assert answer.exit_code == 0, answer.output
    assert [row["library_id"] for row in json.loads(answer.output)] == ["/a/b"]


@pytest.mark.parametrize(
    "words",
    [
        ("--data", "{}", "jobs", "show", JOB, "--json"),
        ("jobs", "--data", "{}", "show", JOB, "--json"),
        ("jobs", "show", JOB, "--data", "{}", "--json"),
    ],
)
def test_it_reaches_a_command_of_a_command(stored: Path, words: Sequence[str]) -> None:
    answer = CliRunner().invoke(app, [word.format(stored) for word in words])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["id"] == JOB


def test_it_goes_before_the_environment(stored: Path) -> None:
    answer = CliRunner().invoke(app, ["--data", str(stored), "list"], env={"STRONGROOM_DATA_DIR": "/nowhere"})
    assert "/a/b" in answer.output
