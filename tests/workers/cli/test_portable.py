"""workers/cli/portable.py: export and import, as a person and a program see them."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

from typer.testing import CliRunner, Result

from storage import libraries
from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app, portable


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env={"COLUMNS": "200"})


def test_a_library_goes_out_and_comes_in_elsewhere(data: Path, fresh_folder: Path, tmp_path: Path) -> None:
    other, file = Path(shutil.copytree(fresh_folder, tmp_path / "other")), str(tmp_path / "b.tar")
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1))])
    told = json.loads(run(data, "export", "/a/b", "-o", file, "--json").stdout)
    assert (told["library_id"], told["file"], told["revisions"]) == ("/a/b", file, 1)
    assert "1 version in" in run(data, "export", "/a/b", "-o", file).stdout
    done = json.loads(run(other, "import", file, "--as", "/c/d", "--json").stdout)
    counts = {"versions": 1, "stored": 1, "unchanged": 0, "pins": 0, "labels": 0, "aliases": 0}
    assert done == {"library_id": "/c/d", **counts}
    assert "0 revisions stored, 1 there already" in run(other, "import", file, "--as", "/c/d").stdout


def test_a_file_that_is_none_is_refused_with_what_to_do(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"no tar")
    for file in ("b.tar", "no such file"):
        refused = run(data, "import", str(tmp_path / file))
        assert (refused.exit_code, "error: " in refused.stderr) == (1, True)
    assert run(data, "export", "/no/such", "-o", str(tmp_path / "c.tar")).exit_code == 1


def test_a_manager_can_import_all_that_the_command_can() -> None:
    command, manager = (set(inspect.signature(one.import_library).parameters) for one in (portable, libraries))
    called = {"file": "path", "name": "library_id"}
    assert {called.get(name, name) for name in command - {"data", "as_json"}} == manager - {"room", "by"}
