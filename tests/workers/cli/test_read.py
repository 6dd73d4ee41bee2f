"""get, list, show and verify on a data folder without a service."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from storage.intake import incoming
from tests.support.archive import body, document
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


def test_get_tells_programs_what_it_wrote_and_a_dash_is_standard_output(stored: Path, tmp_path: Path) -> None:
    answer = run(stored, "get", "/a/b", "--json", "-o", tmp_path / "out.json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout) == {
        "library_id": "/a/b",
        "version": "1.0",
        "content_sha256": hashlib.sha256(DOCUMENT).hexdigest(),
        "size_bytes": len(DOCUMENT),
        "file": str(tmp_path / "out.json"),
    }
    assert run(stored, "get", "/a/b", "-o", "-").stdout_bytes == DOCUMENT
    assert not Path("-").exists()


@pytest.mark.parametrize("words", [(), ("-o", "-")])
def test_get_cannot_tell_and_write_both_to_standard_output(stored: Path, words: tuple[str, ...]) -> None:
    answer = run(stored, "get", "/a/b", "--json", *words)
    assert answer.exit_code == 2
    assert "-o FILE" in json.loads(answer.stdout)["error"]["message"]
    assert json.loads(run(stored, "get", "/c/d", "--json", "-o", "x").stdout)["error"]["code"] == "not_found"


def test_what_is_listed_is_whole_where_no_terminal_is(engine: Engine, data: Path) -> None:
    library = "/a-long-owner-of-many-things/with-a-name-" + "x" * 150
    body = json.dumps({"library_id": library, "version_id": "1.0"}).encode()
    engine.store([incoming(lambda: io.BytesIO(body), len(body))])
    answer = CliRunner().invoke(app, ["--data", str(data), "list"], env={"COLUMNS": "40"})
    assert f"{library}  1.0" in answer.stdout


def test_a_listing_goes_by_number_with_a_pre_release_below_its_release(engine: Engine, data: Path) -> None:
    versions = ["8.0.0", "8.0.0-rc1", "7.0.0-alpha", "6.x", "5.0", "main"]
    for version in sorted(versions):
        body = json.dumps({"library_id": "/a/b", "version_id": version}).encode()
        engine.store([incoming(lambda body=body: io.BytesIO(body), len(body))])  # type: ignore[misc] # a lambda's default
    assert [one["version"] for one in json.loads(run(data, "list", "--json").stdout)] == versions
    assert [one["version"] for one in json.loads(run(data, "history", "/a/b", "--json").stdout)["versions"]] == versions
    assert engine.find("/a/b").version == "8.0.0"
    engine.store([incoming(lambda: io.BytesIO(b'{"library_id": "/a/b", "version_id": "9.0.0-rc1"}'), 50)])
    assert json.loads(run(data, "list", "--json").stdout)[0]["version"] == "9.0.0-rc1"
    assert engine.find("/a/b").version == "8.0.0", "a pre-release stands first in a listing, and is not the latest"


def test_a_full_disk_behind_standard_output_is_an_error_and_no_traceback(stored: Path) -> None:
    command = [sys.executable, "-m", "workers", "list", "--json", "--data", str(stored)]
    with open("/dev/full", "wb") as full:
        answer = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error:")
    assert "No space left" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "ignored" not in answer.stderr


@pytest.mark.parametrize("words", [("list",), ("get", "/a/b"), ("verify",), ("jobs",)])
def test_a_lost_catalogue_is_to_be_rebuilt_and_readers_say_so(stored: Path, words: tuple[str, ...]) -> None:
    for path in (stored / "metadata").glob("catalogue.db*"):
        path.unlink()
    answer = run(stored, *words)
    assert answer.exit_code == 1
    assert "strongroom rebuild" in answer.stderr


def test_get_writes_an_older_revision_without_going_back_to_it(engine: Engine, data: Path, tmp_path: Path) -> None:
    for number in range(3):
        engine.store([document("/a/b", "1.0", body(n=number))])
    engine.store([document("/a/b", "odd@1", body(n=9))])
    for name, number in (("1.0@1", 0), ("1.0@2", 1), ("1.0@3", 2), ("odd@1", 9), ("latest@1", 9)):
        assert run(data, "get", "/a/b", name, "-o", str(tmp_path / "out")).exit_code == 0
        assert (tmp_path / "out").read_bytes() == body(n=number), name
    answer = run(data, "get", "/a/b", "1.0@4")
    assert (answer.exit_code, "no revision 4" in answer.stderr) == (1, True)
    assert engine.read("/a/b", "1.0") == body(n=2)


def test_show_tells_of_an_older_revision_and_of_a_label_as_get_writes_them(engine: Engine, data: Path) -> None:
    for number in range(2):
        engine.store([document("/a/b", "1.0", body(n=number))])
    engine.tree.catch_up()
    run(data, "label", "/a/b", "kept", "1.0")
    older, newer = (("1.0@1", "kept@1", "latest@1"), ("1.0@2", "kept@2", "1.0", "kept", "latest"))
    for name, number, current in (*((name, 0, False) for name in older), *((name, 1, True) for name in newer)):
        told = json.loads(run(data, "show", "/a/b", name, "--json").stdout)
        digest = hashlib.sha256(body(n=number)).hexdigest()
        assert (told["version"], told["revision"], told["current"]) == ("1.0", number + 1, current), name
        assert told["content_sha256"] == digest
        assert (told["latest"], told["file"] is not None) == (current, current), "the tree holds the current one there"
    assert "revision        1\n" in run(data, "show", "/a/b", "1.0@1").stdout


@pytest.mark.parametrize("command", [("get",), ("show",), ("diff", "1.0")])
def test_a_revision_that_there_is_not_is_told_with_what_to_do(stored: Path, command: tuple[str, ...]) -> None:
    for name, said in (
        ("1.0@4", ("/a/b 1.0 has no revision 4; its newest is 1.", "strongroom history /a/b 1.0")),
        ("7.0@1", ("/a/b 7.0 is not stored.", "strongroom list")),
    ):
        answer = run(stored, command[0], "/a/b", *command[1:], name)
        assert answer.exit_code == 1
        assert [words in answer.stderr for words in said] == [True, True], answer.stderr
