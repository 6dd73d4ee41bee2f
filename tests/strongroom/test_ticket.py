"""Tickets: one receipt a document given, whatever became of it, in the order given."""

from __future__ import annotations

import pytest

from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.routes import store_queue
from strongroom.ticket import Ticket

LOST = DocumentReceipt(name="lost", status="failed", error=ErrorInfo(code="not_found", message="m", hint="h"))


def stored(*names: str) -> StoreReceipt:
    return StoreReceipt(request_id="request-1", state="done", documents=[DocumentReceipt(name=n, status="stored") for n in names])


@pytest.mark.parametrize(
    ("positions", "order"),
    [
        ((), ["a", "b"]),
        ((0,), ["lost", "a", "b"]),
        ((1,), ["a", "lost", "b"]),
        ((2,), ["a", "b", "lost"]),
        ((0, 1), ["lost", "lost", "a", "b"]),
        ((0, 2, 4), ["lost", "a", "lost", "b", "lost"]),
    ],
)
def test_what_was_never_sent_stands_where_it_was_given(positions: tuple[int, ...], order: list[str]) -> None:
    ticket = Ticket("request-1", ("a", "b"), (LOST,) * len(positions), positions)
    assert [entry.name for entry in ticket.arrange(stored("a", "b"))] == order
    assert ticket.documents == len(order)


def test_documents_that_a_receipt_leaves_out_have_failed_and_say_why() -> None:
    entries = Ticket("request-1", ("a", "b")).arrange(stored("a"))
    assert [(entry.name, entry.status) for entry in entries] == [("a", "stored"), ("b", "failed")]
    assert entries[1].error is not None
    assert "request-1" in entries[1].error.message


def test_an_entry_without_a_name_gets_the_one_that_was_sent() -> None:
    assert [entry.name for entry in Ticket("request-1", ("a", "b")).arrange(stored("", "other"))] == ["a", "other"]


def test_tickets_of_one_job_are_equal_and_of_two_are_not() -> None:
    assert Ticket("request-1", ("a",), (LOST,), (0,)) == Ticket("request-1")
    assert len({Ticket("request-1", ("a",)), Ticket("request-1"), Ticket("request-2")}) == 2


@pytest.mark.parametrize(("size", "queue"), [(0, "short"), (32 * 2**20, "short"), (32 * 2**20 + 1, "long")])
def test_large_documents_make_long_jobs(size: int, queue: str) -> None:
    assert store_queue(size) == queue
