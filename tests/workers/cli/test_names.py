"""workers/cli/names.py: rename and alias, as a person and a program see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from storage.engine import Engine
from tests.support.archive import body, document
from workers.cli import app


def test_a_library_is_renamed_and_found_under_both_names(data: Path) -> None:
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1))])
    done = as_json(data, "rename", "/a/b", "/c/d", "--why", "moved")
    assert done == {"library_id": "/c/d", "name": "/a/b", "changed": True}
    assert as_json(data, "show", "/a/b")["library_id"] == "/c/d"
    assert as_json(data, "alias", "/x", "/a/b") == {"library_id": "/c/d", "name": "/x", "changed": True}
    assert [(one["alias"], one["library_id"], one["why"]) for one in as_json(data, "alias")] == [
        ("/a/b", "/c/d", "moved"),
        ("/x", "/c/d", ""),
    ]
    assert "means /c/d, as before" in run(data, "alias", "/x", "/c/d").stdout
    assert "is no alias of /c/d any more" in run(data, "alias", "/x", "--remove").stdout
    assert run(data, "get", "/x").exit_code == 1


def test_what_cannot_be_is_said_with_what_to_do(data: Path) -> None:
    refused = run(data, "rename", "/no/such", "/c/d")
    assert (refused.exit_code, "is not stored" in refused.stderr) == (1, True)
    assert run(data, "alias", "/x", "/y", "--remove").exit_code == 1


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env={"COLUMNS": "200"})


def as_json(data: Path, *arguments: str) -> Any:  # JSON
    done = run(data, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
