"""Whatever a library, a version or a file is called, commands show it as it is, and no terminal obeys it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.leases import end_job, take_new
from models.ledger import NewJob
from storage.engine import Engine
from storage.intake import incoming
from workers.cli import app
from workers.cli.store_view import print_end

LIBRARY, VERSION = "/a/[/red]:smile:", "[bold]1[/x]"
FILE = "\x1b]0;owned\x07[/red].json"


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    """A data folder with one document, damaged, and a job that tells of it."""
    document = json.dumps({"library_id": LIBRARY, "version_id": VERSION}).encode()
    engine.store([incoming(lambda: io.BytesIO(document), len(document))])
    segment = engine.folder.segment(engine.find(LIBRARY).place.segment_sha256)
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    with engine.database.write() as connection:
        now = datetime.now(UTC)
        jobs = [NewJob("job-00001", "store", subject=f"{LIBRARY} {VERSION}"), NewJob("job-00002", "store")]
        leases = take_new(connection, jobs, "nobody", now)
        end_job(
            connection, leases["job-00002"], "failed", now, subject=FILE, error={"code": "not_json", "message": f"{FILE}: [/dim]"}
        )
    return data


@pytest.mark.parametrize(
    "words", [("list",), ("show", LIBRARY), ("verify",), ("jobs",), ("jobs", "show", "job-00001"), ("jobs", "show", "job-00002")]
)
def test_names_that_look_like_markup_or_speak_to_the_terminal_are_shown_as_they_are(stored: Path, words: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(app, ["--data", str(stored), *words], env={"COLUMNS": "200"})
    assert answer.exit_code == (1 if words == ("verify",) else 0), answer.output
    assert ("\\x1b]0;owned\\x07[/red].json" if "job-00002" in words else LIBRARY) in answer.output
    assert "\x1b]" not in answer.output


def test_the_failures_of_a_store_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_end(
        {
            "stored": 0,
            "skipped": [],
            "failed": [{"file": FILE, "code": "not_json", "message": f"{FILE} [/dim]", "hint": "[/bold]"}],
        }
    )
    told = capsys.readouterr().out
    assert told.count("\\x1b]0;owned\\x07[/red].json") == 2
    assert "[/bold]" in told
    assert "\x1b]" not in told


def test_what_is_to_be_copied_is_never_cut(stored: Path) -> None:
    narrow = {"COLUMNS": "60"}
    segment = json.loads(CliRunner().invoke(app, ["--data", str(stored), "list", "--json"]).output)[0]["segment"]
    assert segment in CliRunner().invoke(app, ["--data", str(stored), "show", LIBRARY], env=narrow).output
    assert "job-00001" in CliRunner().invoke(app, ["--data", str(stored), "jobs"], env={"COLUMNS": "20"}).output
