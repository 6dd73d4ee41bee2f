"""Stores that come while another is at it share one barrier, and none of them is lost, whatever happens to the others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from storage.gathering import Gathering
from storage.intake import Incoming, incoming
from strongroom.contracts import DocumentReceipt
from strongroom.errors import DiskFull


def document(name: str) -> Incoming:
    return incoming(lambda: io.BytesIO(b"{}"), 2, name)


class Gate:
    """Stands for the engine: holds the first batch until it is opened, and fails those that it is told to."""

    def __init__(self, failures: Sequence[BaseException | None] = ()) -> None:
        self.batches: list[list[str]] = []
        self.entered, self.opened = Event(), Event()
        self._failures = list(failures)

    def store_all(self, documents: Sequence[Incoming]) -> list[DocumentReceipt]:
        self.batches.append([one.name for one in documents])
        self.entered.set()
        assert self.opened.wait(10)
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        return [DocumentReceipt(name=one.name, status="stored") for one in documents]


def five_behind_one(gathering: Gathering, gate: Gate, threads: ThreadPoolExecutor) -> list[Future[DocumentReceipt]]:
    """Let one store begin, five more arrive while it is at it, then go on."""
    first = threads.submit(gathering.store, document("first"))
    assert gate.entered.wait(10)
    others = [threads.submit(gathering.store, document(f"other {number}")) for number in range(5)]
    while len(gathering._waiting) < 5:
        assert not any(one.done() for one in others)
    gate.opened.set()
    return [first, *others]


def test_five_that_come_while_one_is_at_it_are_one_batch_and_each_has_its_own_receipt() -> None:
    gate = Gate()
    with ThreadPoolExecutor(6) as threads:
        stores = five_behind_one(Gathering(gate.store_all), gate, threads)
        assert [one.result(10).name for one in stores] == ["first", *(f"other {number}" for number in range(5))]
    assert [len(batch) for batch in gate.batches] == [1, 5]


def test_one_alone_goes_at_once() -> None:
    gate = Gate()
    gate.opened.set()
    gathering = Gathering(gate.store_all)
    assert [gathering.store(document(name)).name for name in "ab"] == ["a", "b"]
    assert gate.batches == [["a"], ["b"]]


def test_what_fails_a_batch_is_told_to_all_of_it_and_to_nobody_else() -> None:
    gate = Gate([None, DiskFull("no space")])
    with ThreadPoolExecutor(6) as threads:
        gathering = Gathering(gate.store_all)
        first, *others = five_behind_one(gathering, gate, threads)
        assert first.result(10).status == "stored"
        assert all(isinstance(one.exception(10), DiskFull) for one in others)
        assert gathering.store(document("later")).status == "stored"


def test_a_thread_that_is_stopped_leaves_its_turn_to_those_who_wait() -> None:
    gate = Gate([None, KeyboardInterrupt()])
    with ThreadPoolExecutor(6) as threads:
        _, *others = five_behind_one(Gathering(gate.store_all), gate, threads)
        outcomes = [one.exception(10) for one in others]
    assert sorted(type(one).__name__ for one in outcomes) == ["KeyboardInterrupt", *["NoneType"] * 4]
    assert [len(batch) for batch in gate.batches] == [1, 5, 4]


def test_a_failure_of_the_leader_is_raised_where_it_was_called() -> None:
    gate = Gate([DiskFull("no space")])
    gate.opened.set()
    with pytest.raises(DiskFull):
        Gathering(gate.store_all).store(document("one"))
