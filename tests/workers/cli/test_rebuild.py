"""strongroom rebuild: what is lacking afterwards is listed, and the exit code tells."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from tests.storage.test_rebuild import lose
from tests.support.archive import body, document
from workers.cli import app


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    engine.store([document("/a/b", "1.0", body(n=1)), document("/c", "1.0", body(n=2))])
    engine.tree.catch_up()
    engine.close()
    lose(data)
    for index in data.glob("segments/??/*.index"):
        index.unlink()
    return data


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["rebuild", "--data", str(data), *words])


def test_an_index_that_could_be_made_anew_is_told_and_is_no_failure(stored: Path) -> None:
    answer = run(stored)
    assert answer.exit_code == 0, answer.stdout
    assert "index_made_anew" in answer.stdout
    assert "2 versions of 2 libraries in 1 segment" in answer.stdout


def test_what_nobody_can_name_is_a_failure_and_the_catalogue_is_new_all_the_same(stored: Path) -> None:
    shutil.rmtree(stored / "documentation")
    answer = run(stored, "--json")
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert (told["versions"], told["segments"], [one["code"] for one in told["findings"]]) == (0, 1, ["index_missing"])
    assert "which versions 2 of them are" in told["findings"][0]["message"]


def test_a_disk_that_refuses_a_command_is_not_said_to_be_asked_again(stored: Path) -> None:
    """Jobs are tried again; nobody tries this."""
    with mock.patch.object(os, "fsync", side_effect=OSError(errno.EIO, "Input/output error")) as refused:
        answer = run(stored, "--json")
    assert refused.called
    assert answer.exit_code == 1
    error = json.loads(answer.stdout)["error"]
    assert (error["code"], "same command again" in error["hint"]) == ("io_error", True)
    assert run(stored).exit_code == 0
