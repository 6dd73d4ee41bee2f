"""Commands that wait for a job of a running service say by their exit code that the time was over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app
from workers.service_lock import lock_service


@pytest.mark.parametrize("words", [["backup", "create"], ["backup", "drill"], ["compress", "--all"]], ids=" ".join)
def test_a_wait_that_was_too_short_has_an_exit_code_of_its_own(data: Path, engine: Engine, words: list[str]) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    lock = lock_service(data)
    try:
        answer = CliRunner().invoke(app, [*words, "--wait", "--timeout", "0", "--json", "--data", str(data)])
    finally:
        os.close(lock)
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (5, "wait_timeout")
