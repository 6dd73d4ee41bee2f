"""docs/how-to/restore.md: a library is brought back from a backup into a store that goes on."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from storage.engine import Engine
from tests.support.archive import body, document
from tests.workers.cli.test_backup import run, told
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


def test_a_library_and_a_version_come_back_into_folders_of_their_own(data: Path, engine: Engine, scratch: Path) -> None:
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2)), document("/other", "1.0", body(n=3))])
    told(data, "create", "--wait")
    done = told(data, "restore", "latest", "--library", "/a/b", "--to", str(scratch / "library"))
    assert (done["documents"], done["revisions"], done["differences"]) == (2, 2, [])
    done = told(data, "restore", "latest", "--library", "/a/b", "--version", "1.0", "--to", str(scratch / "version"))
    assert done["documents"] == 1
    for folder, versions in (("library", ["2.0", "1.0"]), ("version", ["1.0"])):
        with Engine(scratch / folder).open() as back:
            assert [(one.library_id, one.version) for one in back.versions()] == [("/a/b", version) for version in versions]
            assert back.read("/a/b", "1.0") == body(n=1)
    for options, code in (
        (["--library", "/nowhere"], "not_found"),
        (["--version", "1.0"], "invalid_request"),
        (["--library", "/a/b", "--database-url", "postgresql://nowhere/x"], "invalid_request"),
    ):
        answer = run(data, "restore", "latest", "--to", str(scratch / "none"), *options, "--json")
        assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, code)
