"""get, list, show and verify on a data folder without a service."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from storage.intake import incoming
from workers.cli import app

DOCUMENT = b' {"library_id": "/a/b",\r\n "version_id" : "1.0", "n": 1.50e1}\n\n'


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    """A data folder with one document."""
    engine.store([incoming(lambda: io.BytesIO(DOCUMENT), len(DOCUMENT))])
    return data


def run(data: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *map(str, words)])


def test_get_writes_what_came_in_to_standard_output_and_to_a_file(stored: Path, tmp_path: Path) -> None:
    assert run(stored, "get", "/a/b").stdout_bytes == DOCUMENT
    assert run(stored, "get", "/a/b", "-o", tmp_path / "out.json").exit_code == 0
    assert (tmp_path / "out.json").read_bytes() == DOCUMENT


def test_get_writes_through_a_link_and_leaves_it_one(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    run(stored, "get", "/a/b", "-o", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == DOCUMENT


def test_get_writes_into_a_pipe_and_never_replaces_what_is_no_file(stored: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert run(stored, "get", "/a/b", "-o", pipe).exit_code == 0
    assert os.read(reader, 1000) == DOCUMENT
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize("where", [".", "nowhere/out.json"])
def test_get_says_what_is_wrong_with_the_place_and_leaves_nothing_behind(stored: Path, tmp_path: Path, where: str) -> None:
    answer = run(stored, "get", "/a/b", "-o", tmp_path / where)
    assert answer.exit_code == 1
    assert "folder" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_get_of_a_damaged_document_leaves_the_file_that_was_there(stored: Path, engine: Engine, tmp_path: Path) -> None:
    place = engine.find("/a/b").place
    segment = engine.folder.segment(place.segment_sha256)
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    (tmp_path / "out.json").write_bytes(b"old")
    answer = run(stored, "get", "/a/b", "-o", tmp_path / "out.json")
    assert (answer.exit_code, answer.stdout_bytes) == (1, b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.json": b"old"}
