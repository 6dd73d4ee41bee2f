"""docs/how-to/restore.md: a library is brought back from a backup into a store that goes on."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from storage.engine import Engine
from tests.support.archive import body, document
from tests.workers.cli.test_backup import told
from workers.cli import app


def command(data: Path, *words: str) -> None:
    answer = CliRunner().invoke(app, ["--data", str(data), *words])
    assert answer.exit_code == 0, answer.output


def test_a_library_comes_back_as_one_file_and_what_is_newer_stays(data: Path, engine: Engine, scratch: Path) -> None:
    engine.store([document("/a/b", "1.0", body(n=1)), document("/other", "1.0", body(n=2))])
    backup_id = told(data, "create", "--wait")["id"]
    engine.store([document("/a/b", "2.0", body(n=3)), document("/other", "2.0", body(n=4))])
    then, file = scratch / "then", scratch / "library.tar"
    told(data, "restore", backup_id, "--to", str(then))
    command(then, "export", "/a/b", "-o", str(file))
    command(data, "import", str(file), "--as", "/a/b-then", "--why", "brought back")
    assert engine.read("/a/b-then", "1.0") == body(n=1)
    command(data, "import", str(file))
    assert [one.version for one in engine.versions("/a/b")] == ["2.0", "1.0"]
    assert engine.read("/a/b", "2.0") == body(n=3)
    assert [one.version for one in engine.versions("/a/b-then")] == ["1.0"]
