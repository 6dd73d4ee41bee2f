"""Bad input gets a clear error, and nothing is lost: through the command line, the broker and a worker."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from strongroom.contracts import CONTRACT
from strongroom.inbox import InboxFile
from tests.support.command import Answer, Folder, document

LIBRARY = "/bad/input"
GOOD = 12


def _nested() -> bytes:
    return document(LIBRARY, "deep")[:-1] + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def _after(library: str, version: str, raw: str) -> bytes:
    return document(library, version)[:-1] + f',"a":{raw}}}'.encode()


def _bomb() -> bytes:
    """10 MB of gzip members that unpack to 10 GB of one JSON document: what stands between two tokens."""
    spaces = gzip.compress(b" " * 10_000_000, 9, mtime=0)
    head, tail = document(LIBRARY, "bomb")[:-1] + b",", b'"a":1}'
    members = [gzip.compress(head, mtime=0), *[spaces] * 1000, gzip.compress(tail, mtime=0)]
    return b"".join(members)


@dataclass(frozen=True)
class Row:
    """A document that cannot be stored, the code of its error, and a word of the hint that helps."""

    make: Callable[[], bytes]
    code: str
    hint: str
    suffix: str = ".json"


BAD = {
    "no_json": Row(lambda: b'{"library_id": nope}', "not_json", "JSON object"),
    "html": Row(lambda: b"<!DOCTYPE html><html></html>", "not_json", "JSON object"),
    "cut_off": Row(lambda: document(LIBRARY, "cut")[:-5], "not_json", "JSON object"),
    "two_documents": Row(lambda: document(LIBRARY, "2a") + document(LIBRARY, "2b"), "not_json", "JSON object"),
    "truncated_gzip": Row(
        lambda: gzip.compress(document(LIBRARY, "gz", a="x" * 9999))[:-20], "damaged_gzip", "fetch it again", ".json.gz"
    ),
    "damaged_gzip": Row(
        lambda: _flipped(gzip.compress(document(LIBRARY, "gz", a="x" * 999))), "damaged_gzip", "gzip -t", ".json.gz"
    ),
    "bomb": Row(_bomb, "document_too_large", "STRONGROOM_MAX_DOCUMENT_BYTES", ".json.gz"),
    "deep": Row(_nested, "limit_exceeded", "Split the document"),
    "duplicate_key": Row(lambda: b'{"library_id":"/a","library_id":"/b","version_id":"1"}', "duplicate_key", "Remove one"),
    "nan": Row(lambda: _after(LIBRARY, "nan", "NaN"), "not_json", "JSON object"),
    "infinity": Row(lambda: _after(LIBRARY, "inf", "-Infinity"), "not_json", "JSON object"),
    "lone_surrogate": Row(lambda: _after(LIBRARY, "half", '"\\ud800"'), "lone_surrogate", "pair"),
    "invalid_utf8": Row(lambda: document(LIBRARY, "latin")[:-1] + b',"a":"caf\xe9"}', "not_json", "UTF-8"),
    "utf16": Row(lambda: document(LIBRARY, "utf16").decode().encode("utf-16"), "not_json", "UTF-8"),
    "huge_string": Row(lambda: _after(LIBRARY, "long", '"' + "x" * 198_000_000 + '"'), "limit_exceeded", "Split the document"),
    "byte_order_mark": Row(lambda: b"\xef\xbb\xbf" + document(LIBRARY, "bom"), "not_json", "byte order mark"),
    "empty": Row(lambda: b"", "empty_document", "download it again"),
    "empty_gzip": Row(lambda: gzip.compress(b""), "empty_document", "download it again", ".json.gz"),
    "list": Row(lambda: b"[1,2]", "not_an_object", "Wrap"),
    "no_library": Row(lambda: b'{"version_id":"1"}', "missing_identifier", "--library"),
    "no_version": Row(lambda: b'{"library_id":"/a/b"}', "missing_identifier", "--version"),
    "path_as_library": Row(lambda: document("../../etc/passwd"), "invalid_identifier", "/owner/name"),
    "path_as_version": Row(lambda: document(LIBRARY, "../../etc/passwd"), "invalid_identifier", "3.1.3"),
    "nul_in_library": Row(lambda: document("/a\0b"), "invalid_identifier", "control characters"),
    "nul_in_version": Row(lambda: document(LIBRARY, "1\0"), "invalid_identifier", "control characters"),
    "long_library": Row(lambda: document("/" + "a" * 10_000), "invalid_identifier", "1,024 bytes"),
    "long_version": Row(lambda: document(LIBRARY, "1" * 10_000), "invalid_identifier", "1,024 bytes"),
}

ODD_BUT_GOOD = {
    "5000 digits": lambda: _after("/odd/digits", "1", "1" * 5000),
    "as deep as allowed": lambda: _after("/odd/deep", "1", "[" * 511 + "]" * 511),
    "a string of 15 MB": lambda: _after("/odd/string", "1", '"' + "x" * 15_000_000 + '"'),
    "every language": lambda: document("/odd/x文档/é", "版本 1", text="ß \U0001f600 \u2028"),
    "no content at all": lambda: document("/odd/empty", "1"),
}


def _flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


@dataclass(frozen=True)
class Batch:
    """Everything bad and some good, stored by one command."""

    answer: Answer
    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def batch(running: Folder, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = tmp_path_factory.mktemp("batch")
    for name, row in BAD.items():
        (folder / f"{name}{row.suffix}").write_bytes(row.make())
    for number in range(GOOD):
        (folder / f"{'abmz'[number % 4]}-good-{number}.json").write_bytes(document("/good/beside-bad", number))
    for number, make in enumerate(ODD_BUT_GOOD.values()):
        (folder / f"odd-{number}.json").write_bytes(make())
    (folder / "notes.txt").write_text("no document")
    started = time.monotonic()
    return Batch(running.run_fresh("store", "--wait", "--json", folder), folder, time.monotonic() - started)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_gets_its_own_error_and_a_hint_that_helps(batch: Batch, name: str) -> None:
    row = BAD[name]
    (failure,) = [one for one in batch.answer.fields["failed"] if one["file"] == str(batch.folder / f"{name}{row.suffix}")]
    assert failure["code"] == row.code
    assert row.hint in failure["hint"]
    assert 10 < len(failure["message"]) < 400
    assert not re.search(r"Traceback|[a-z]Error\b", failure["message"]), "a class name or traceback is no message"


def test_the_command_fails_and_everything_good_of_the_same_batch_is_stored(running: Folder, batch: Batch) -> None:
    assert batch.answer.code == 1
    assert {one["file"] for one in batch.answer.fields["failed"]} == {
        str(batch.folder / f"{name}{row.suffix}") for name, row in BAD.items()
    }
    assert batch.answer.fields["stored"] == GOOD + len(ODD_BUT_GOOD)
    assert len(running.run("list", "--json", "/good/beside-bad").fields) == GOOD
    for number, name in enumerate(ODD_BUT_GOOD):
        plain = (batch.folder / f"odd-{number}.json").read_bytes()
        fields = json.loads(plain) if name != "5000 digits" else {"library_id": "/odd/digits"}
        assert running.run("get", fields["library_id"]).out == plain, name


def test_every_bad_document_is_kept_to_the_byte(running: Folder, batch: Batch) -> None:
    kept: dict[str, bytes] = {}
    for path in running.kept:
        with InboxFile(path) as file:
            kept |= {one.name: file.read(one) for one in file.manifest.documents}
    for name, row in BAD.items():
        path = batch.folder / f"{name}{row.suffix}"
        assert kept[str(path)] == path.read_bytes(), name
    assert running.waiting == []


def test_a_bomb_and_a_huge_string_hold_nobody_up(batch: Batch) -> None:
    assert batch.seconds < 30


def test_nothing_was_written_outside_the_data_folder_or_under_a_strange_name(running: Folder, batch: Batch) -> None:
    names = [path.relative_to(running.path).as_posix() for path in running.path.rglob("*")]
    assert not [name for name in names if "passwd" in name]
    assert all(len(part) <= 255 for name in names for part in name.split("/"))


def test_the_ledger_tells_each_failure_again(running: Folder, batch: Batch) -> None:
    told = {one["file"] for row in running.jobs("failed") if row["outcome"] for one in row["outcome"].get("failures", ())}
    assert {str(batch.folder / f"{name}{row.suffix}") for name, row in BAD.items()} <= told


def test_other_content_for_a_stored_version_is_refused_when_asked_and_a_revision_otherwise(running: Folder, papers: Path) -> None:
    old, new = papers / "old.json", papers / "new.json"
    old.write_bytes(document("/bad/exists", text="old"))
    new.write_bytes(document("/bad/exists", text="new"))
    assert running.store(old).fields["stored"] == 1

    refused = running.store("--if-exists", "refuse", new)
    assert refused.code == 1
    assert [(one["code"], "--if-exists refuse" in one["hint"]) for one in refused.fields["failed"]] == [("version_exists", True)]
    assert running.run("get", "/bad/exists").out == old.read_bytes()

    assert running.store(new).code == 0
    assert running.run("show", "/bad/exists", "--json").fields["revision"] == 2
    assert running.run("get", "/bad/exists").out == new.read_bytes()


@pytest.mark.parametrize(
    ("words", "exit_code", "code", "says"),
    [
        ("--if-exists maybe {papers}/x.json", 2, "invalid_request", "'maybe' is not one of 'revise', 'refuse'"),
        ("--version 1.0 {papers}/x.json {papers}/y.json", 1, "invalid_request", "one by one"),
    ],
)
def test_a_wrong_command_says_so_before_anything_is_sent(
    running: Folder, papers: Path, words: str, exit_code: int, code: str, says: str
) -> None:
    for name in ("x.json", "y.json"):
        (papers / name).write_bytes(document("/wrong/command"))
    answer = running.run("store", "--json", *words.format(papers=papers).split())
    assert answer.code == exit_code
    assert answer.fields["error"]["code"] == code
    assert says in answer.fields["error"]["message"] + answer.fields["error"]["hint"]
    assert running.run("list", "/wrong/command").code == 1


def test_names_that_are_no_documents_fail_by_themselves(running: Folder, papers: Path) -> None:
    (papers / "empty").mkdir()
    (papers / "x.json").write_bytes(document("/beside/no-file"))
    answer = running.store(papers / "no-such-file.json", papers / "empty", papers / "x.json")
    assert (answer.code, answer.fields["stored"]) == (1, 1)
    assert {(one["file"], one["code"]) for one in answer.fields["failed"]} == {
        (str(papers / "no-such-file.json"), "not_found"),
        (str(papers / "empty"), "not_found"),
    }
    assert all(one["hint"] for one in answer.fields["failed"])


def _without_override() -> list[str]:
    """The words that take root's right to write everywhere away; none for everybody else."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere, and there is no setpriv to take that right away")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_an_inbox_without_write_permission_says_so_and_what_to_do(running: Folder, papers: Path) -> None:
    (papers / "a.json").write_bytes(document("/bad/permission"))
    inbox = running.path / "inbox"
    inbox.chmod(0o500)
    try:
        answer = running.run_fresh("store", "--json", papers / "a.json", before=_without_override())
    finally:
        inbox.chmod(0o700)
    assert answer.code == 1
    (failure,) = answer.fields["failed"]
    assert failure["code"] == "permission_denied"
    assert "write access" in failure["hint"]


def test_a_document_without_read_permission_fails_alone(running: Folder, papers: Path) -> None:
    for name in "abc":
        (papers / f"{name}.json").write_bytes(document("/bad/unreadable", name))
    (papers / "b.json").chmod(0)
    answer = running.run_fresh("store", "--wait", "--json", papers, before=_without_override())
    assert answer.code == 1
    assert [(one["file"], one["code"]) for one in answer.fields["failed"]] == [(str(papers / "b.json"), "permission_denied")]
    assert answer.fields["stored"] == 2


def test_a_data_folder_without_write_permission_starts_no_service(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        answer = Folder(tmp_path / "data", {}).run_fresh("up", "--detach", before=_without_override())
    finally:
        tmp_path.chmod(0o700)
    assert answer.code == 1
    assert "Permission" in answer.error
    assert "Traceback" not in answer.error


def test_no_service_is_its_own_exit_code_and_says_how_to_start_one(tmp_path: Path, papers: Path) -> None:
    (papers / "a.json").write_bytes(document())
    (tmp_path / "data").mkdir()
    answer = Folder(tmp_path / "data", {}).run("store", "--json", papers / "a.json")
    assert answer.code == 3
    assert "strongroom up" in json.dumps(answer.fields)


def test_raw_messages_that_are_wrong_are_failed_jobs_with_hints_and_newer_ones_wait(running: Folder) -> None:
    newer = {"contract": CONTRACT + 1, "text": "{}", "shade": "blue"}
    sent: dict[str, dict[str, Any]] = {
        "too-new-00000001": newer,
        "unknown-00000001": {"text": "{}", "shade": "blue"},
        "missing-00000001": {"inbox": "no-such-file.inbox"},
    }
    with Celery("plain", broker=running.state["broker_url"], set_as_current=False) as app:
        for name, fields in sent.items():
            app.send_task("strongroom.store", kwargs=fields, task_id=name, queue="short")
    deadline = time.monotonic() + 20
    wanted = {*sent, "no-such-file"}
    while (
        len(rows := {row["id"]: row for state in ("failed", "parked") for row in running.jobs(state) if row["id"] in wanted}) < 3
    ):
        assert time.monotonic() < deadline

    failed = {name: row for name, row in rows.items() if row["state"] == "failed"}
    assert rows["too-new-00000001"]["state"] == "parked"
    assert rows["too-new-00000001"]["error"]["code"] == "message_too_new"
    assert "Upgrade" in rows["too-new-00000001"]["error"]["hint"]
    assert failed["unknown-00000001"]["error"]["code"] == "invalid_message"
    assert "shade" in failed["unknown-00000001"]["error"]["message"]
    assert failed["no-such-file"]["error"]["code"] == "payload_missing"
