"""status: a service whose database takes no write is not ready, whatever its parts say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from config.settings import Settings
from models.database import Database
from workers.cli import app
from workers.cli.service import NOT_READY
from workers.processes import birth_of
from workers.service_state import FlowerState, PartState, ServiceState, write_state
from workers.writable import takes_writes


def _status(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["status", "--data", str(data), *words])


def test_a_service_whose_database_cannot_be_written_is_not_ready(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.writable.WRITE_WITHIN_S", 0.05)
    me, parts = os.getpid(), (PartState("beat", os.getpid(), "ready", 0),)
    write_state(ServiceState(me, birth_of(me) or "", "now", str(data), "redis://x", FlowerState("", "", None), parts, ready=True))
    told = _status(data, "--json")
    assert (told.exit_code, json.loads(told.stdout)["ready"], json.loads(told.stdout)["database"]) == (0, True, True)
    database = Database(Settings(data_dir=data).catalogue_url)
    with database.write():
        told = _status(data, "--json")
        assert (told.exit_code, json.loads(told.stdout)["ready"]) == (NOT_READY, False)
        assert "holds its write lock" in _status(data).stdout
    database.close()


def test_looking_makes_no_catalogue_where_there_is_none(tmp_path: Path) -> None:
    assert not takes_writes(Settings(data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
