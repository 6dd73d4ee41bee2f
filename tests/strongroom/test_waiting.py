"""Receipts: in the order sent, as they come, and never lost by a wait that ran out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom.client import Client
from strongroom.contracts import ErrorInfo, StoreReceipt
from strongroom.inbox import InboxFile, write_receipt
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Result
from strongroom.ticket import Ticket

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def contents(path: Path) -> list[bytes]:
    with InboxFile(path) as file:
        return [file.read(document) for document in file.manifest.documents]


def many(count: int, size: int = 10) -> Iterator[Outgoing]:
    return (Outgoing(b"%0*d" % (size, number), name=str(number)) for number in range(count))


def test_wait_gives_one_receipt_a_document_in_the_order_sent(client: Client, worker_side: Any, tmp_path: Path) -> None:
    documents = list(many(1203))
    documents[3] = Outgoing(tmp_path / "absent", name="absent")
    documents[1202] = Outgoing(tmp_path / "absent", name="absent too")
    tickets = client.store_many(documents).unwrap()
    receipts = client.wait(tickets, 30).unwrap()
    assert [receipt.name for receipt in receipts] == [document.label for document in documents]
    assert [receipt.name for receipt in receipts if receipt.status == "failed"] == ["absent", "absent too"]
    assert sorted(worker_side.contents) == sorted(
        document.document for document in documents if isinstance(document.document, bytes)
    )


def test_wait_each_yields_what_has_come_without_waiting_for_the_rest(client: Client, inbox: Path) -> None:
    early, late = client.store(TEXT, name="early").unwrap(), client.store(TEXT, name="late").unwrap()
    write_receipt(inbox, StoreReceipt(request_id=early.request_id, state="done", documents=[{"status": "stored"}]))  # type: ignore[list-item]
    coming = client.wait_each([late, early], 30)
    assert next(coming).unwrap().name == "early"
    write_receipt(inbox, StoreReceipt(request_id=late.request_id, state="done", documents=[{"status": "unchanged"}]))  # type: ignore[list-item]
    assert [result.unwrap().name for result in coming] == ["late"]


def test_a_wait_that_ran_out_can_be_waited_for_again_and_forgets_nothing(client: Client, inbox: Path) -> None:
    first, second = client.store(TEXT, name="1").unwrap(), client.store(TEXT, name="2").unwrap()
    write_receipt(inbox, StoreReceipt(request_id=first.request_id, state="done", documents=[{"status": "stored"}]))  # type: ignore[list-item]
    found = problem(client.wait([first, second], 0.05))
    assert (found.code, found.context) == ("wait_timeout", {"missing": 1, "request_ids": [second.request_id]})
    write_receipt(inbox, StoreReceipt(request_id=second.request_id, state="done", documents=[{"status": "stored"}]))  # type: ignore[list-item]
    assert [receipt.name for receipt in client.wait([first, second], 5).unwrap()] == ["1", "2"]
    assert [receipt.name for receipt in client.wait(first, 0).unwrap()] == ["1"]


def test_wait_each_ends_with_the_timeout(client: Client) -> None:
    (result,) = client.wait_each(client.store(TEXT).unwrap(), 0)
    assert problem(result).code == "wait_timeout"


def test_a_job_that_failed_as_a_whole_fails_each_of_its_documents(client: Client, inbox: Path) -> None:
    (ticket,) = client.store_many([Outgoing(b"1", name="a"), Outgoing(b"2", name="b")]).unwrap()
    error = ErrorInfo(code="payload_damaged", message="m", hint="h")
    write_receipt(inbox, StoreReceipt(request_id=ticket.request_id, state="quarantined", error=error))
    receipts = client.wait(ticket, 5).unwrap()
    assert [(receipt.name, receipt.status, receipt.error) for receipt in receipts] == [
        ("a", "failed", error),
        ("b", "failed", error),
    ]


def test_a_receipt_that_cannot_be_read_is_reported_and_loses_no_other(client: Client, inbox: Path) -> None:
    good, bad = client.store(TEXT, name="good").unwrap(), client.store(TEXT, name="bad").unwrap()
    write_receipt(inbox, StoreReceipt(request_id=good.request_id, state="done", documents=[{"status": "stored"}]))  # type: ignore[list-item]
    (inbox / "receipts" / f"{bad.request_id}.json").write_text("{")
    receipts = client.wait([bad, good], 5).unwrap()
    assert [(receipt.name, receipt.error.code if receipt.error else None) for receipt in receipts] == [
        ("bad", "invalid_message"),
        ("good", None),
    ]


def test_a_ticket_made_from_a_request_id_alone_can_be_waited_for(client: Client, inbox: Path) -> None:
    request_id = client.store(TEXT, name="n").unwrap().request_id
    write_receipt(inbox, StoreReceipt(request_id=request_id, state="done", documents=[{"name": "n", "status": "stored"}]))  # type: ignore[list-item]
    assert client.wait(Ticket(request_id), 5).unwrap()[0].name == "n"


def test_waiting_for_a_job_that_gives_no_receipt_is_an_err(client: Client, broker: Any) -> None:
    ticket = client.store(TEXT, receipt=False).unwrap()
    assert broker.all()[0].fields["receipt"] is False
    assert problem(client.wait(ticket, 5)).code == "invalid_request"


def test_the_same_ticket_twice_gives_two_answers_and_comes_once(client: Client, worker_side: Any) -> None:
    ticket = client.store(TEXT, name="n").unwrap()
    assert [receipt.name for receipt in client.wait([ticket, ticket], 10).unwrap()] == ["n", "n"]
    assert [result.unwrap().name for result in client.wait_each([ticket, ticket], 10)] == ["n"]


def test_a_long_wait_for_many_jobs_looks_at_the_folder_seldom(client: Client, inbox: Path) -> None:
    (inbox / "receipts").mkdir()
    tickets = [Ticket(f"request-{number:04}") for number in range(300)]
    looks: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event in {"os.listdir", "open"} and str(inbox) in str(arguments[0]):
            looks.append(event)

    sys.addaudithook(watch)  # cannot be removed again: it is told to look away
    try:
        assert problem(client.wait(tickets, 0.5)).code == "wait_timeout"
    finally:
        watching[0] = False
    assert set(looks) == {"os.listdir"}
    assert 3 <= len(looks) <= 25
