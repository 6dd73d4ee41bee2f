"""Many documents: where batches are cut, and what one bad document does to the others."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.inbox import InboxFile
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Ok, Result
from strongroom.ticket import Ticket

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def contents(path: Path) -> list[bytes]:
    with InboxFile(path) as file:
        return [file.read(document) for document in file.manifest.documents]


def many(count: int, size: int = 10) -> Iterator[Outgoing]:
    return (Outgoing(b"%0*d" % (size, number), name=str(number)) for number in range(count))


def test_store_many_cuts_at_500_documents(client: Client, broker: Any) -> None:
    tickets = client.store_many(many(1001)).unwrap()
    assert [ticket.documents for ticket in tickets] == [500, 500, 1]
    assert [message.headers["id"] for message in broker.all()] == [ticket.request_id for ticket in tickets]


def test_store_many_cuts_before_16_mib_are_exceeded(client: Client, staged: Staged) -> None:
    assert [ticket.documents for ticket in client.store_many(many(10, 5 * 2**20)).unwrap()] == [3, 3, 3, 1]
    assert all(path.stat().st_size <= 16 * 2**20 + 2000 for path in staged())


def test_a_document_over_16_mib_travels_alone_and_the_order_stays(client: Client, broker: Any, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(16 * 2**20 + 1)
    documents = [Outgoing(b"1", name="a"), Outgoing(b"", name="b"), Outgoing(large, name="c"), Outgoing(b"2", name="d")]
    tickets = client.store_many(documents).unwrap()
    assert [ticket.names for ticket in tickets] == [("a", "b"), ("c",), ("d",)]


def test_a_large_stream_is_staged_whole(client: Client, staged: Staged) -> None:
    content = os.urandom(2**20) * 17 + b"end"
    client.store(io.BytesIO(content)).unwrap()
    assert contents(staged()[0]) == [content]


def test_a_batch_that_waits_for_a_slow_producer_leaves_after_two_seconds(client: Client) -> None:
    now = [0.0]
    client._clock = lambda: now[0]  # the clock is the one thing that is faked

    def slowly() -> Iterator[Outgoing]:
        for number in range(7):
            yield Outgoing(b"%d" % number)
            now[0] += 0.7

    assert [ticket.documents for ticket in client.store_many(slowly()).unwrap()] == [4, 3]


def test_store_iter_reads_no_further_than_the_batch_it_hands_out(client: Client) -> None:
    read: list[int] = []

    def counted() -> Iterator[Outgoing]:
        for number, document in enumerate(many(2000)):
            read.append(number)
            yield document

    results = client.store_iter(counted())
    assert next(results).unwrap().documents == 500
    assert len(read) == 500
    assert next(results).unwrap().documents == 500
    assert len(read) == 1000


def test_a_producer_that_stops_asking_leaves_nothing_half_done(client: Client, broker: Any, staged: Staged) -> None:
    results = client.store_iter(many(750))
    next(results)
    results.close()  # type: ignore[attr-defined] # store_iter is a generator
    assert len(staged()) == len(broker.all()) == 1


def test_an_iterable_that_fails_takes_its_open_batch_with_it_and_no_other(client: Client, broker: Any, staged: Staged) -> None:
    def failing() -> Iterator[Outgoing]:
        yield from many(600)
        raise RuntimeError("the producer's own")

    with pytest.raises(RuntimeError, match="the producer's own"):
        client.store_many(failing())
    assert len(staged()) == len(broker.all()) == 1


def test_one_unreadable_file_among_many_fails_alone(client: Client, broker: Any, tmp_path: Path, staged: Staged) -> None:
    documents = list(many(1000))
    documents[0] = Outgoing(tmp_path / "absent")
    documents[250] = Outgoing(tmp_path)
    documents[500] = Outgoing(b"{}", version="\ud800", name="bad version")
    documents[999] = Outgoing({"nan": float("nan")}, name="bad dict")
    tickets = client.store_many(documents).unwrap()
    assert [len(ticket.names) for ticket in tickets] == [498, 498]
    assert [failure.name for ticket in tickets for failure in ticket.failed] == [
        str(tmp_path / "absent"),
        str(tmp_path),
        "bad version",
        "bad dict",
    ]
    assert [failure.error.code for ticket in tickets for failure in ticket.failed if failure.error] == [
        "not_found",
        "invalid_request",
        "invalid_identifier",
        "not_json",
    ]
    assert sum(len(contents(path)) for path in staged()) == 996


def test_a_large_stream_that_breaks_half_way_fails_alone(client: Client, broker: Any, staged: Staged) -> None:
    class Breaking(io.RawIOBase):
        left = 20

        def readable(self) -> bool:
            return True

        def read(self, _size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError(5, "Input/output error")
            return b"x" * 2**20

    documents = [Outgoing(b"1", name="1"), Outgoing(Breaking(), name="broken"), Outgoing(b"2", name="2")]  # type: ignore[arg-type]
    tickets = client.store_many(documents).unwrap()
    assert [ticket.names for ticket in tickets] == [("1",), ("2",)]
    assert [failure.name for failure in tickets[1].failed] == ["broken"]
    assert [contents(path) for path in staged()] == [[b"1"], [b"2"]]


def test_when_every_document_fails_no_message_is_sent(client: Client, broker: Any, staged: Staged, tmp_path: Path) -> None:
    (ticket,) = client.store_many([Outgoing(tmp_path / "a"), Outgoing(tmp_path / "b")]).unwrap()
    assert not ticket.sent
    assert broker.all() == []
    assert staged() == []
    assert [entry.status for entry in client.wait(ticket, 0).unwrap()] == ["failed", "failed"]


def test_no_documents_make_no_tickets(client: Client, broker: Any) -> None:
    assert client.store_many([]) == Ok([])
    assert broker.all() == []


def test_on_staged_sees_each_ticket_when_its_message_is_in_the_queue(client: Client, broker: Any) -> None:
    seen: list[tuple[Ticket, int]] = []
    tickets = client.store_many(many(1100), on_staged=lambda ticket: seen.append((ticket, broker.waiting()))).unwrap()
    assert seen == list(zip(tickets, [1, 2, 3], strict=True))


def test_a_hundred_mebibytes_pass_through_constant_memory(client: Client) -> None:
    def streams() -> Iterator[Outgoing]:
        for _ in range(20):
            yield Outgoing(b"x" * (5 * 2**20))

    client.store(TEXT).unwrap()  # what is loaded on first use is not the documents'
    tracemalloc.start()
    try:
        client.store_many(streams()).unwrap()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20
