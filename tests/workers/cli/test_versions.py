"""rollback, pin, unpin, label, history and diff, as a person and as a program use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storage.engine import Engine
from tests.support.archive import document
from workers.cli import app

LIBRARY = "/a/b"


def body(version: str, **texts: str) -> bytes:
    chunks = [{"chunk_id": f"{title}_{version}", "title": title, "content": text} for title, text in texts.items()]
    return json.dumps({"library_id": LIBRARY, "version_id": version, "chunks": chunks}).encode()


@pytest.fixture
def stored(engine: Engine, data: Path) -> Path:
    """Two versions; the newer one has two revisions."""
    for version, texts in (
        ("1.0", {"intro": "hello\nworld\n", "api": "call", "old": "gone"}),
        ("2.0", {"intro": "hello\nthere\n", "api": "call", "[red]new": "come"}),
        ("2.0", {"intro": "hello\nagain\n", "api": "call"}),
    ):
        engine.store([document(LIBRARY, version, body(version, **texts))])
    engine.tree.catch_up()
    return data


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env={"COLUMNS": "200"})


def answer(data: Path, *words: str) -> Any:
    result = run(data, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def latest(data: Path) -> str:
    return str(answer(data, "show", LIBRARY)["version"])


def test_a_rollback_moves_latest_and_another_one_undoes_it(stored: Path) -> None:
    went = answer(stored, "rollback", LIBRARY, "1.0", "--why", "2.0 is broken")
    assert (went["kind"], went["version"], went["latest_before"], latest(stored)) == ("latest", "1.0", "2.0", "1.0")
    assert answer(stored, "rollback", LIBRARY, "1.0")["kind"] == "unchanged"
    assert answer(stored, "rollback", LIBRARY, "2.0")["latest_before"] == "1.0"
    assert latest(stored) == "2.0"
    assert (stored / "documentation" / "+a+b" / "latest").readlink() == Path("2.0")


def test_a_rollback_of_the_newest_version_brings_its_older_content_back(stored: Path) -> None:
    assert answer(stored, "rollback", LIBRARY, "2.0") == {
        "kind": "content",
        "library_id": LIBRARY,
        "version": "2.0",
        "revision": 3,
        "from_revision": 2,
        "to_revision": 1,
        "latest_before": "2.0",
    }
    assert "come" in run(stored, "get", LIBRARY).stdout
    assert "revision 2 again, as revision 4" in run(stored, "rollback", LIBRARY, "2.0", "--to", "2").stdout
    assert "come" not in run(stored, "get", LIBRARY).stdout


def test_latest_follows_the_newest_again(stored: Path) -> None:
    run(stored, "rollback", LIBRARY, "1.0")
    assert answer(stored, "rollback", LIBRARY, "--newest")["kind"] == "latest"
    assert (latest(stored), answer(stored, "rollback", LIBRARY, "--newest")["kind"]) == ("2.0", "unchanged")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback", LIBRARY, "3.0"], "not stored"),
        (["rollback", LIBRARY, "2.0", "--to", "9"], "no revision 9"),
        (["rollback", LIBRARY], "--newest"),
        (["rollback", LIBRARY, "1.0", "--newest"], "--newest"),
        (["pin", LIBRARY, "3.0"], "not stored"),
        (["unpin", "/no/such", "1.0"], "not stored"),
        (["label", LIBRARY, "x"], "--remove"),
        (["label", LIBRARY, "x", "--remove"], "no label x"),
        (["history", "/no/such"], "not stored"),
        (["history", LIBRARY, "3.0"], "nothing is known"),
        (["diff", LIBRARY, "1.0", "3.0"], "not stored"),
    ],
)
def test_what_cannot_be_is_an_error_with_a_hint(stored: Path, words: list[str], said: str) -> None:
    refused = run(stored, *words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert said in refused.stderr
    told = json.loads(run(stored, *words, "--json").stdout)["error"]
    assert said in told["message"]
    assert told["hint"]


def test_pins_and_labels_are_told_by_the_history_with_who_and_why(stored: Path) -> None:
    assert answer(stored, "pin", LIBRARY, "1.0", "--why", "the release") == {
        "library_id": LIBRARY,
        "version": "1.0",
        "changed": True,
        "pinned": True,
    }
    assert answer(stored, "pin", LIBRARY, "1.0")["changed"] is False
    assert answer(stored, "label", LIBRARY, "production", "latest")["version"] == "2.0"
    assert answer(stored, "unpin", LIBRARY, "latest")["changed"] is False
    history = answer(stored, "history", LIBRARY)
    newest, oldest = history["versions"]
    assert (newest["labels"], newest["pinned"], oldest["pinned"]["why"]) == (["production"], None, "the release")
    assert [one["revision"] for one in newest["revisions"]] == [2, 1]
    assert [one["action"] for one in history["trail"]] == ["labelled", "pinned"]
    assert history["trail"][1]["by"].startswith("person:")
    assert answer(stored, "unpin", LIBRARY, "1.0") == answer(stored, "pin", LIBRARY, "1.0") | {"pinned": False}
    assert answer(stored, "label", LIBRARY, "production", "--remove")["version"] is None
    assert "label removed (label production)" in run(stored, "history", LIBRARY).stdout
    assert len(answer(stored, "history", LIBRARY, "--limit", "2")["trail"]) == 2


def test_the_history_is_readable(stored: Path) -> None:
    run(stored, "rollback", LIBRARY, "2.0", "--why", "[bold]why")
    run(stored, "pin", LIBRARY, "1.0")
    run(stored, "rollback", LIBRARY, "1.0")
    told = run(stored, "history", LIBRARY).stdout
    for words in ("latest is 1.0 by hand since", "rolled back (to revision 1)", "[bold]why", "pinned by person:", "current"):
        assert words in told


def test_a_diff_names_what_was_added_removed_and_changed(stored: Path) -> None:
    found = answer(stored, "diff", LIBRARY, "1.0", "2.0@1")
    assert [[one["title"] for one in found[name]] for name in ("added", "removed", "changed")] == [
        ["[red]new"],
        ["old"],
        ["intro"],
    ]
    assert (found["unchanged"], found["identical"], found["after"]["revision"]) == (1, False, 1)
    assert found["changed"][0]["diff"] == ["@@ -1,2 +1,2 @@", " hello", "-world", "+there"]
    assert all({"path", "size_bytes", "words"} <= one.keys() for name in ("added", "removed", "changed") for one in found[name])
    back = answer(stored, "diff", LIBRARY, "2.0@1", "1.0")
    assert (back["added"], back["removed"]) == (found["removed"], found["added"])
    same = answer(stored, "diff", LIBRARY, "2.0", "latest")
    assert (same["identical"], same["added"], same["removed"], same["changed"]) == (True, [], [], [])


def test_a_diff_is_readable_and_can_be_brief(stored: Path) -> None:
    told = run(stored, "diff", LIBRARY, "1.0", "2.0@1").stdout
    for words in (
        "+ [red]new",
        "- old",
        "~ intro",
        "+1 -1 lines",
        "-world",
        "+there",
        "1 added, 1 removed, 1 changed; 1 section",
    ):
        assert words in told
    assert "-world" not in run(stored, "diff", LIBRARY, "1.0", "2.0@1", "--brief").stdout
    assert "The same content." in run(stored, "diff", LIBRARY, "2.0", "latest").stdout
