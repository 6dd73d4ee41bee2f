"""Back-pressure: who sends faster than is stored is held up for a bounded time, and nothing of what is refused is staged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from strongroom import aio
from strongroom.client import Client
from strongroom.errors import DiskFull, QueueFull
from strongroom.gate import LEAST_FREE_BYTES, Gate, Patience
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Problem, Result

TEXT = b'{"library_id": "/a/b", "version_id": "1.0"}'
TIMEOUT_S = 0.3
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def many(count: int) -> Iterator[Outgoing]:
    return (Outgoing(b"%d" % number) for number in range(count))


@pytest.mark.parametrize("with_inbox", [True, False])
def test_above_the_limit_a_store_is_refused_after_its_patience_and_stages_nothing(
    broker: Any, inbox: Path, staged: Staged, with_inbox: bool
) -> None:
    with Client(inbox=inbox if with_inbox else None, broker_url=broker.url, timeout_s=TIMEOUT_S, max_waiting=2) as client:
        client.store(TEXT, priority="high").unwrap()
        client.store(TEXT, priority="low").unwrap()
        before = staged()
        started = time.monotonic()
        found = problem(client.store(TEXT))
        took_s = time.monotonic() - started
    assert (found.code, found.retryable) == ("queue_full", True)
    assert (found.context["waiting"], found.context["max_waiting"]) == (2, 2)
    assert found.hint
    assert TIMEOUT_S <= took_s < TIMEOUT_S + 4
    assert staged() == before
    assert broker.waiting() == 2


def test_a_store_that_is_held_up_goes_on_when_there_is_room(broker: Any, inbox: Path) -> None:
    seen: list[str] = []

    def makes_room(found: Problem) -> None:
        seen.append(found.code)
        if len(seen) == 2:
            broker.take()

    with Client(inbox=inbox, broker_url=broker.url, timeout_s=30, max_waiting=1, on_full=makes_room) as client:
        client.store(TEXT).unwrap()
        assert client.store(TEXT).unwrap().delivered
    assert seen == ["queue_full", "queue_full"]


def test_a_call_is_held_up_for_its_patience_in_all_and_says_what_it_had_sent(broker: Any, inbox: Path, staged: Staged) -> None:
    taken = [0]

    def makes_room_once(_found: Problem) -> None:
        if not taken[0]:
            taken[0] = 1
            broker.take()

    client = Client(inbox=inbox, broker_url=broker.url, patience_s=TIMEOUT_S, max_waiting=2, on_full=makes_room_once)
    started = time.monotonic()
    found = problem(client.store_many(many(2500)))
    assert time.monotonic() - started < TIMEOUT_S + 4
    assert found.code == "queue_full"
    assert len(found.context["accepted"]) == 3
    assert [path.stem for path in staged()] == found.context["accepted"]
    client.close()


def test_another_producers_jobs_count_too_and_the_queue_is_asked_once_a_second(broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=broker.url, patience_s=0, max_waiting=5) as client:
        client.store(TEXT).unwrap()
        commands = broker.client.info("commandstats").get("cmdstat_llen", {"calls": 0})["calls"]
        for _ in range(3):
            client.store(TEXT).unwrap()
        assert broker.client.info("commandstats").get("cmdstat_llen", {"calls": 0})["calls"] == commands
        with Client(inbox=inbox, broker_url=broker.url, max_waiting=5) as other:
            other.store(TEXT).unwrap()
        client.store(TEXT)
        assert problem(client.store(TEXT)).code == "queue_full"


def test_large_documents_are_held_up_by_the_queue_that_they_go_to(broker: Any, inbox: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(33 * 2**20)
    with Client(inbox=inbox, broker_url=broker.url, patience_s=0, max_waiting=1) as client:
        client.store(large).unwrap()
        assert broker.waiting("long") == 1
        assert problem(client.store(large)).context["queue"] == "long"
        client.store(TEXT).unwrap()


def test_the_broker_being_down_holds_nobody_up(closed_port: int, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=f"redis://127.0.0.1:{closed_port}/0", patience_s=0, max_waiting=1) as client:
        for _ in range(3):
            assert not client.store(TEXT).unwrap().delivered


def test_an_outbox_is_not_poured_into_a_full_queue(own_broker: Any, tmp_path: Path) -> None:
    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=tmp_path / "outbox", patience_s=0, max_waiting=2) as client:
        for _ in range(4):
            client.store(TEXT).unwrap()
        client.close()
        own_broker.start()
        assert problem(client.flush()).code == "queue_full"
        assert own_broker.waiting() == 2
        assert len(list((tmp_path / "outbox").glob("*.message"))) == 2
        own_broker.all()
        assert client.flush().unwrap() == 2


async def test_the_asynchronous_client_is_held_up_likewise_and_its_loop_goes_on(broker: Any, inbox: Path) -> None:
    threads: list[str] = []
    client = aio.Client(
        inbox=inbox,
        broker_url=broker.url,
        patience_s=TIMEOUT_S,
        max_waiting=1,
        on_full=lambda _found: threads.append(threading.current_thread().name),
    )
    async with client:
        (await client.store(TEXT)).unwrap()
        assert problem(await client.store(TEXT)).code == "queue_full"
    assert threads
    assert threading.main_thread().name not in threads


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_queue_is_looked_at_again_after_a_second_and_what_was_sent_meanwhile_counts() -> None:
    clock, looks = Clock(), [0]

    def depth(_queue: str) -> int:
        looks[0] += 1
        return 0

    gate = Gate(None, lambda: 3, None, clock)
    for _ in range(3):
        gate.pass_through(["short"], depth, Patience(0))
        gate.count("short")
    assert looks == [1]
    gate.pass_through(["short"], depth, Patience(0))  # three were sent: it may be full
    assert looks == [2]
    clock.now = 0.9
    gate.pass_through(["short"], depth, Patience(0))
    assert looks == [2]
    clock.now = 1.0
    gate.pass_through(["short"], depth, Patience(0))
    assert looks == [3]


def test_pauses_grow_and_end_with_the_patience() -> None:
    at: list[float] = []
    gate = Gate(None, lambda: 1, lambda _found: at.append(time.monotonic()))
    started = time.monotonic()
    with pytest.raises(QueueFull):
        gate.pass_through(["short"], lambda _queue: 5, Patience(0.8))
    assert 0.8 <= time.monotonic() - started < 4
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert 3 <= len(at) <= 8
    assert pauses[1] > pauses[0]


@pytest.mark.parametrize(("free", "passes"), [(LEAST_FREE_BYTES, True), (LEAST_FREE_BYTES - 4096, False), (0, False)])
def test_a_nearly_full_disk_is_told_at_once(inbox: Path, monkeypatch: pytest.MonkeyPatch, free: int, passes: bool) -> None:
    class Status:
        f_frsize, f_bavail = 4096, free // 4096

    monkeypatch.setattr("os.statvfs", lambda _path: Status)
    gate = Gate(inbox, lambda: 1, None)
    if passes:
        gate.pass_through([], lambda _queue: 0, Patience(60))
    else:
        with pytest.raises(DiskFull, match="bytes free"):
            gate.pass_through([], lambda _queue: 0, Patience(60))


def test_on_a_nearly_full_disk_nothing_is_staged(
    broker: Any, inbox: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.gate.LEAST_FREE_BYTES", 1 << 60)
    with Client(inbox=inbox, broker_url=broker.url, timeout_s=60) as client:
        found = problem(client.store(TEXT))
    assert (found.code, "Free some space" in found.hint) == ("disk_full", True)
    assert (staged(), broker.all()) == ([], [])
