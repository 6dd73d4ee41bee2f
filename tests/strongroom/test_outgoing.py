"""What a producer may hand over, and what is refused before it is sent."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.inbox import InboxFile
from strongroom.result import Err, Result

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def contents(path: Path) -> list[bytes]:
    with InboxFile(path) as file:
        return [file.read(document) for document in file.manifest.documents]


def test_a_dict_is_staged_as_compact_json_in_utf8_with_its_keys_in_their_own_order(client: Client, staged: Staged) -> None:
    client.store({"version": "1", "library_id": "/é", "n": [1, 2.5, None]}).unwrap()
    assert contents(staged()[0]) == ['{"version":"1","library_id":"/é","n":[1,2.5,null]}'.encode()]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("absent.json", "not_found"),
        ("nul\0.json", "invalid_request"),
        (".", "invalid_request"),
        ({"n": float("nan")}, "not_json"),
        ({"n": {1}}, "not_json"),
        ({"s": "\ud800"}, "lone_surrogate"),
    ],
)
def test_a_document_that_cannot_be_read_is_an_err_and_nothing_is_sent(
    client: Client, broker: Any, staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: Any, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = problem(client.store(document))
    assert found.code == code
    assert found.hint
    assert broker.all() == []
    assert staged() == []


def test_a_fifo_is_refused_and_does_not_hang_the_producer(client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert problem(client.store(tmp_path / "fifo")).code == "invalid_request"


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"library_id": "a\ud800"}, "invalid_identifier", "library_id"),
        ({"version": 3}, "invalid_identifier", "version"),
        ({"sort_as": "x" * 1025}, "invalid_request", "sort_as"),
        ({"if_exists": "replace"}, "invalid_request", "if_exists"),
        ({"metadata": {"k": object()}}, "invalid_request", "metadata"),
        ({"metadata": {"k": "x" * 70_000}}, "invalid_request", "metadata"),
        ({"metadata": {"k": float("inf")}}, "invalid_request", "metadata"),
    ],
)
def test_wrong_options_are_an_err_that_names_the_field(client: Client, options: dict[str, Any], code: str, field: str) -> None:
    found = problem(client.store(TEXT, **options))
    assert found.code == code
    assert found.message.startswith(field)


@pytest.mark.parametrize("document", [3, None, ["a"], io.StringIO("{}")])
def test_what_is_no_document_at_all_is_a_programming_error(client: Client, staged: Staged, document: Any) -> None:
    with pytest.raises(TypeError):
        client.store(document)
    assert staged() == []


@pytest.mark.parametrize("name", [b"\xff\xfe.json", "ünïcode 文档.json".encode(), b"new\nline.json", b"x" * 255])
def test_file_names_of_any_bytes_are_accepted_and_named_in_the_manifest(
    client: Client, staged: Staged, tmp_path: Path, name: bytes
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    path.write_bytes(TEXT)
    client.store(path).unwrap()
    with InboxFile(staged()[0]) as file:
        assert file.manifest.documents[0].name == str(path).encode("utf-8", "backslashreplace").decode()
