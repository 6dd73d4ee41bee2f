"""``strongroom backup key``, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from workers.cli import app


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["backup", "key", *map(str, words)])


def test_a_key_is_made_once_and_never_printed(scratch: Path) -> None:
    answer = run("--out", scratch / "key", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    text = (scratch / "key").read_text()
    assert told == {"file": str(scratch / "key"), "public_key": text.partition("public key: ")[2].split()[0]}
    assert "AGE-SECRET-KEY-1" in text
    assert "AGE-SECRET" not in answer.output

    again = run("--out", scratch / "key")
    assert again.exit_code == 1
    assert "left as it is" in again.output
    assert (scratch / "key").read_text() == text


def test_a_person_is_told_what_to_do_with_it(scratch: Path) -> None:
    answer = run("--out", scratch / "key")
    assert answer.exit_code == 0
    assert f"STRONGROOM_BACKUP_KEY_FILE={scratch / 'key'}" in answer.output
    assert "AGE-SECRET" not in answer.output


def test_a_folder_that_is_not_there_is_named(scratch: Path) -> None:
    answer = run("--out", scratch / "none" / "key", "--json")
    assert answer.exit_code == 1
    assert str(scratch / "none" / "key") in json.loads(answer.stdout)["error"]["message"]
