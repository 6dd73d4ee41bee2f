"""A setting that cannot be used is an error like any other, whatever the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from workers.cli import app


@pytest.mark.parametrize(
    "words", [["up"], ["down"], ["status"], ["list"], ["verify"], ["jobs"], ["show", "/a/b"], ["store", "-"]]
)
def test_every_command_says_which_setting_is_wrong(words: list[str]) -> None:
    answer = CliRunner().invoke(app, [*words, "--json"], env={"STRONGROOM_MAX_ATTEMPTS": "many"})
    error = json.loads(answer.stdout)["error"]
    assert (answer.exit_code, error["code"]) == (1, "configuration")
    assert "STRONGROOM_MAX_ATTEMPTS" in error["message"]
