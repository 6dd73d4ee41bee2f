"""The client against a real broker: what a producer hands over is what lies in the inbox, named by a message."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.contracts import StoreMessage, parse_message
from strongroom.inbox import InboxFile
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Result

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def contents(path: Path) -> list[bytes]:
    with InboxFile(path) as file:
        return [file.read(document) for document in file.manifest.documents]


@pytest.mark.parametrize("kind", ["path", "path as text", "bytes", "gzip", "stream", "unbuffered stream"])
def test_store_stages_the_exact_bytes_whatever_they_come_as(client: Client, staged: Staged, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "documentation.json"
    file.write_bytes(TEXT)
    packed = gzip.compress(TEXT)
    unbuffered = io.FileIO(file)
    documents = {
        "path": file,
        "path as text": str(file),
        "bytes": TEXT,
        "gzip": packed,
        "stream": io.BytesIO(TEXT),
        "unbuffered stream": unbuffered,
    }
    client.store(documents[kind]).unwrap()
    assert contents(staged()[0]) == [packed if kind == "gzip" else TEXT]
    unbuffered.close()


def test_the_manifest_says_what_the_producer_said(client: Client, staged: Staged) -> None:
    client.store(
        TEXT,
        library_id="/x/y",
        version="2",
        sort_as="2.0",
        if_exists="refuse",
        source="https://example.org",
        metadata={"k": [1]},
        name="one",
    ).unwrap()
    with InboxFile(staged()[0]) as file:
        (document,) = file.manifest.documents
        assert file.manifest.receipt is True
    said = document.model_dump(exclude={"offset", "length", "sha256"})
    assert said == {
        "library_id": "/x/y",
        "version": "2",
        "sort_as": "2.0",
        "if_exists": "refuse",
        "source": "https://example.org",
        "metadata": {"k": [1]},
        "name": "one",
    }


def test_the_message_is_in_the_queue_when_store_returns_and_names_the_inbox_file(
    client: Client, broker: Any, staged: Staged
) -> None:
    ticket = client.store(TEXT).unwrap()
    (message,) = broker.all()
    assert message.headers["task"] == "strongroom.store"
    assert message.headers["id"] == message.properties["correlation_id"] == ticket.request_id
    assert message.headers["ignore_result"] is True
    assert message.content_type == "application/json"
    assert message.args == []
    assert message.fields == {"contract": 1, "request_id": ticket.request_id, "inbox": staged()[0].name, "receipt": True}
    assert parse_message(StoreMessage, message.fields).inbox == staged()[0].name


@pytest.mark.parametrize(("priority", "number", "contract"), [("high", 0, 2), ("normal", 3, 1), ("low", 6, 2)])
@pytest.mark.parametrize("staging", [True, False])
def test_a_priority_goes_by_message_and_manifest_and_names_the_lowest_contract_that_knows_it(
    inbox: Path, broker: Any, staged: Staged, priority: Any, number: int, contract: int, staging: bool
) -> None:
    with Client(inbox=inbox if staging else None, broker_url=broker.url) as client:
        client.store(TEXT, priority=priority).unwrap()
    (message,) = broker.all()
    assert message.properties["priority"] == number
    assert message.fields["contract"] == contract
    assert message.fields.get("priority", "normal") == priority
    assert ("priority" in message.fields) is (contract == 2)
    assert parse_message(StoreMessage, message.fields).priority == priority
    for path in staged():
        with InboxFile(path) as file:
            assert (file.manifest.priority, file.manifest.contract) == (priority, contract)
        assert (b'"priority"' in path.read_bytes()) is (b'"contract"' in path.read_bytes()) is (contract == 2)


def test_what_matters_more_is_taken_first_and_equals_in_the_order_sent(client: Client, broker: Any) -> None:
    sent: list[tuple[str, str]] = []
    for priority in ("low", "normal", "high", "normal", "low", "high"):
        (ticket,) = client.store_many([Outgoing(TEXT)], priority=priority).unwrap()  # type: ignore[arg-type] # from a list
        sent.append((priority, ticket.request_id))
    expected = [request_id for wanted in ("high", "normal", "low") for priority, request_id in sent if priority == wanted]
    assert [message.headers["id"] for message in broker.all()] == expected


def test_what_is_no_priority_is_an_err_and_nothing_is_sent(client: Client, broker: Any, staged: Staged) -> None:
    found = problem(client.store(TEXT, priority="urgent"))  # type: ignore[arg-type] # what a producer without types may give
    assert found.code == "invalid_request"
    assert "high, normal, low" in found.message
    assert (staged(), broker.all()) == ([], [])


@pytest.mark.parametrize(("size", "queue"), [(32 * 2**20, "short"), (32 * 2**20 + 1, "long")])
def test_a_document_over_32_mib_goes_to_the_long_queue(
    client: Client, broker: Any, tmp_path: Path, size: int, queue: str
) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as stream:
        stream.truncate(size)
    client.store(file).unwrap()
    assert len(broker.all(queue)) == 1


def test_storing_twice_sends_two_jobs_of_different_names(client: Client, broker: Any) -> None:
    first, second = client.store(TEXT).unwrap(), client.store(TEXT).unwrap()
    assert first != second
    assert {message.headers["id"] for message in broker.all()} == {first.request_id, second.request_id}
