from __future__ import annotations

import json
from typing import Any

import pytest

from models.due import take_due
from strongroom import numbering
from strongroom.contracts import CONTRACT
from strongroom.errors import CatalogueBusy, DiskFull
from tasks.messages import job_id_of
from tests.support.desk import Desk, document, failing, largest_file

ID = "message-0001"


def test_the_text_of_a_message_is_stored_to_the_byte(desk: Desk) -> None:
    text = ' {"library_id" : "/a/b", "version_id":"1.0",\n "é": 1.50, "n": 123456789012345678901234567890 }\n'
    row = desk.message(ID, text=text)
    assert row is not None
    assert row.state == "done"
    assert desk.engine.read("/a/b", "1.0") == text.encode()


def test_the_content_of_a_message_is_stored_compactly_in_its_own_order(desk: Desk) -> None:
    content = {"version_id": "1.0", "library_id": "/a/b", "é": [1.5, 10**30, None, "\U0001f600"]}
    desk.message(ID, content=content)
    expected = '{"version_id":"1.0","library_id":"/a/b","é":[1.5,1000000000000000000000000000000,null,"\U0001f600"]}'
    assert desk.engine.read("/a/b", "1.0") == expected.encode()


def test_what_a_message_says_about_its_document_counts(desk: Desk) -> None:
    desk.message(
        ID, text="{}", library_id="/c/d", version="2", source="https://example.org", metadata={"by": "hand", "n": 10**18}
    )
    found = desk.engine.find("/c/d", "2")
    assert (found.source, dict(found.details)) == ("https://example.org", {"by": "hand", "n": 10**18})


def test_a_message_may_carry_several_documents(desk: Desk) -> None:
    documents = [{"text": document(version="1").decode()}, {"content": json.loads(document(version="2")), "version": "2.0"}]
    row = desk.message(ID, documents=documents)
    assert row is not None
    assert row.outcome == {"stored": 2, "unchanged": 0, "failed": 0}
    assert {one.version for one in desk.revisions()} == {"1", "2.0"}


def test_a_raw_message_gets_a_receipt_when_it_asks_for_one(desk: Desk) -> None:
    desk.message(ID, request_id="request-0001", text=document().decode(), receipt=True)
    desk.message("message-0002", text=document().decode())
    receipt = desk.receipt("request-0001")
    assert receipt is not None
    assert receipt["state"] == "done"
    assert desk.receipt("message-0002") is None


def test_a_raw_message_that_comes_twice_has_one_effect(desk: Desk) -> None:
    for _ in range(2):
        desk.message(ID, text=document().decode())
    assert len(desk.jobs()) == len(desk.revisions()) == 1
    assert desk.staged == []


def test_the_request_id_names_the_job_else_the_message_does(desk: Desk) -> None:
    assert desk.message(ID, text=document().decode()) is not None
    assert desk.message(ID, request_id="request-0001", text=document().decode()) is not None


@pytest.mark.parametrize(
    "odd", ["../../outside", "short", "a" * 65, "/etc/passwd", "naïve-name", "nul\0nul\0nul", "half\ud800a-pair"]
)
def test_a_message_id_that_is_no_file_name_never_becomes_one(desk: Desk, odd: str) -> None:
    desk.message(ID, text=document(version="0.9").decode())
    before = _names(desk)
    desk.message(odd, text=document().decode(), receipt=True)
    assert _names(desk) - before <= {"receipts", f"{job_id_of(None, odd)}.json", f"{job_id_of(None, odd)}.inbox"}
    assert len(job_id_of(None, odd)) == 64
    assert desk.job(job_id_of(None, odd)).state == "done"


def _names(desk: Desk) -> set[str]:
    """Everything at, below and beside the data folder, but what a document becomes."""
    paths = (path for path in desk.root.parent.rglob("*"))
    return {
        path.name
        for path in paths
        if not {"segments", "documentation", "trash", "tmp"} & set(path.relative_to(desk.root.parent).parts)
    }


def test_different_odd_ids_name_different_jobs() -> None:
    assert job_id_of(None, "../a") != job_id_of(None, "../b")
    assert job_id_of(None, "../a") == job_id_of(7, "../a") == job_id_of("x/y", "../a")


REFUSED: dict[str, dict[str, Any]] = {
    "an unknown field": {"text": "{}", "libary_id": "/a/b"},
    "a wrong type": {"text": 7},
    "nothing to store": {},
    "both text and content": {"text": "{}", "content": {}},
    "a document without text or content": {"documents": [{"library_id": "/a/b"}]},
    "an inbox file and a text": {"inbox": "job-00000001.inbox", "text": "{}"},
    "an inbox file and a version": {"inbox": "job-00000001.inbox", "version": "2.0"},
    "documents and a version": {"documents": [{"text": "{}"}], "version": "2.0"},
    "a path for an inbox file": {"inbox": "../job-00000001.inbox"},
    "a request id that is a path": {"request_id": "../../outside", "text": "{}"},
    "half a pair in the metadata": {"text": "{}", "metadata": {"a": "\ud800"}},
    "NaN in the metadata": {"text": "{}", "metadata": {"a": float("nan")}},
    "half a pair in the library": {"text": "{}", "library_id": "\ud800"},
    "half a pair in a field's name": {"text": "{}", "\ud800": 1},
    "too large a number in an unknown field": {"text": "{}", "n": 10**400},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_a_message_that_is_not_understood_is_a_failed_job_that_keeps_what_it_said(desk: Desk, fields: dict[str, Any]) -> None:
    desk.message(ID, **fields)
    (row,) = desk.jobs()
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "invalid_message")
    assert row.error["hint"]
    assert repr(json.loads(row.payload)) == repr(fields)
    assert desk.revisions() == []


def test_a_message_of_a_newer_contract_is_left_for_a_newer_worker(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.stage("job-00000001", document())
    fields = {"contract": CONTRACT + 1, "request_id": "job-00000001", "inbox": path.name, "receipt": True}

    for _ in range(desk.max_attempts + 2):
        desk.message("job-00000001", **fields)

    row = desk.job("job-00000001")
    assert row.error is not None
    assert row.due_at is not None
    assert (row.state, row.attempts, row.error["code"]) == ("parked", 0, "message_too_new")
    assert json.loads(row.payload) == fields
    assert desk.staged == ["job-00000001"]
    assert desk.receipt("job-00000001") is None
    assert desk.reconcile() == 0, "not before its time"
    with desk.engine.database.write("ledger") as connection:
        assert [one.job_id for one in take_due(connection, row.due_at)] == ["job-00000001"]
    desk.stage("job-00000002", document())
    desk.run("job-00000002")
    assert desk.staged == ["job-00000001"], "while it is offered nobody takes it along who does not understand its message"
    monkeypatch.setattr(numbering, "CONTRACT", CONTRACT + 1)
    desk.message("job-00000001", **json.loads(row.payload))
    assert desk.job("job-00000001").state == "done"


def test_a_refused_message_does_not_touch_a_job_that_has_ended(desk: Desk) -> None:
    desk.stage("job-00000001", document())
    done = desk.run("job-00000001")
    desk.message("job-00000001", contract=CONTRACT + 1, inbox="job-00000001.inbox")
    assert desk.job("job-00000001") == done


def test_a_refused_message_that_comes_again_is_one_job(desk: Desk) -> None:
    for _ in range(3):
        desk.message(ID, bogus=1)
    assert len(desk.jobs()) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "[]"}, "not_an_object"),
        ({"text": ""}, "empty_document"),
        ({"text": '{"library_id":"/a/b","version_id":"1","x":"\ud800"}'}, "not_json"),
        ({"content": {"library_id": "/a/b", "version_id": "1", "x": float("nan")}}, "not_json"),
        ({"content": {"library_id": "/a/b", "version_id": "1", "x": "\ud800"}}, "not_json"),
        ({"content": {}}, "missing_identifier"),
    ],
)
def test_a_document_in_a_message_is_refused_by_its_own_code(desk: Desk, fields: dict[str, Any], code: str) -> None:
    row = desk.message(ID, **fields)
    assert row is not None
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", code)
    assert desk.kept == [ID]


def test_a_content_that_is_nested_too_deeply_is_refused_and_not_lost(desk: Desk) -> None:
    content: dict[str, Any] = {}
    for _ in range(995):
        content = {"a": content}
    row = desk.message(ID, content=content)
    assert row is not None
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "limit_exceeded")
    assert desk.kept == [ID]


def test_a_message_that_cannot_be_staged_comes_again(desk: Desk) -> None:
    with largest_file(100), pytest.raises(DiskFull):
        desk.message(ID, text=document(text="x" * 200).decode())
    assert desk.jobs() == []
    assert list(desk.inbox.iterdir()) == []


def test_a_message_that_cannot_be_recorded_comes_again(desk: Desk) -> None:
    with failing("ledger: commit", CatalogueBusy("locked")), pytest.raises(CatalogueBusy):
        desk.message(ID, text=document().decode())
    row = desk.message(ID, text=document().decode())
    assert row is not None
    assert (row.state, row.attempts) == ("done", 1)


def test_a_message_that_breaks_the_worker_is_a_failed_job_and_does_not_come_round_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []

    def break_down(*_: object) -> None:
        broken.append("here")
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("tasks.store.accept_message", break_down)
    desk.message(ID, text="{}", library_id="/a/b", version="1")
    (row,) = desk.jobs()
    assert broken == ["here"], "the fault fired"
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "invalid_message")
    assert "ZeroDivisionError" in row.error["message"]
    assert json.loads(row.payload)["text"] == "{}", "what it said is kept"
