"""workers/cli/homes.py: a command is where the table says, and brings in no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import workers.cli
from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli.homes import BACKUP, COMMANDS, commands_in
from workers.parts import CHECKOUT

WITHIN_OTHERS = {"jobs_change", "jobs_wait", "jobs_why"}
"""Modules whose commands another one registers."""


@pytest.mark.parametrize("homes", [COMMANDS, BACKUP], ids=["strongroom", "strongroom backup"])
def test_each_module_has_the_commands_that_the_table_says(homes: Mapping[str, str]) -> None:
    found = {home: list(commands_in(home)) for home in homes.values()}
    assert found == {home: [name for name in homes if homes[name] == home] for home in homes.values()}


def test_no_module_with_commands_is_missing_in_the_tables() -> None:
    modules = Path(workers.cli.__file__).parent.glob("*.py")
    have_commands = {path.stem for path in modules if "\ndef register(" in path.read_text("utf-8")}
    assert have_commands == {*COMMANDS.values(), *BACKUP.values()} | WITHIN_OTHERS


NEEDLESS = {"celery", "kombu", "redis", "alembic", "rich", "structlog", "tenacity", "tornado", "boto3", "pyrage", "apprise"}


@pytest.mark.parametrize("words", [["backup", "create", "--wait"], ["list"], ["verify"], ["get", "/a", "1.0"]], ids=" ".join)
def test_a_command_for_programs_brings_in_no_more_than_it_needs(data: Path, engine: Engine, words: list[str]) -> None:
    """What it imports is most of a command's time: rich is for people, logs and retries are for workers."""
    engine.store([document("/a", "1.0", body(n=1))])
    script = (
        "import sys, atexit; from workers.cli import main; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    told = [*words, "--data", str(data), *([] if words[0] == "get" else ["--json"])]
    done = subprocess.run([sys.executable, "-c", script, *told], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert json.loads(done.stdout)
    assert loaded.isdisjoint(
        NEEDLESS | {"sqlalchemy.dialects.postgresql", "http.client", "storage.repair", "storage.store", "workers.cli.service"}
    )
