"""The client on an event loop: the same answers, and a loop that goes on meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom.client
from strongroom import aio
from strongroom.outgoing import Outgoing
from strongroom.result import Err

TEXT = b'{"library_id": "/a/b", "version_id": "1.0"}'


@pytest.fixture
def client(inbox: Path, broker: Any) -> Iterator[aio.Client]:
    made = aio.Client(inbox=inbox, broker_url=broker.url)
    yield made
    made._client.close()


async def test_store_and_wait_give_a_receipt(client: aio.Client, worker_side: Any) -> None:
    ticket = (await client.store(TEXT, name="one", library_id="/x")).unwrap()
    (receipt,) = (await client.wait(ticket, 10)).unwrap()
    assert (receipt.name, receipt.status) == ("one", "stored")
    assert worker_side.contents == [TEXT]


async def test_store_many_and_wait_keep_the_order(client: aio.Client, worker_side: Any) -> None:
    documents = (Outgoing(b"%d" % number, name=str(number)) for number in range(1100))
    tickets = (await client.store_many(documents)).unwrap()
    assert [receipt.name for receipt in (await client.wait(tickets, 10)).unwrap()] == [str(number) for number in range(1100)]


async def test_store_iter_and_wait_each_yield_as_they_go(client: aio.Client, worker_side: Any) -> None:
    documents = (Outgoing(b"%d" % number, name=str(number)) for number in range(700))
    tickets = [result.unwrap() async for result in client.store_iter(documents)]
    assert [ticket.documents for ticket in tickets] == [500, 200]
    assert {result.unwrap().name async for result in client.wait_each(tickets, 10)} == {str(number) for number in range(700)}


async def test_a_hundred_waits_at_a_time_hold_no_thread(client: aio.Client, broker: Any, inbox: Path) -> None:
    tickets = [(await client.store(TEXT)).unwrap() for _ in range(100)]
    waits = [asyncio.create_task(client.wait(ticket, 30)) for ticket in tickets]
    started = time.monotonic()
    late = (await client.store(TEXT)).unwrap()  # with waits in all threads this would stand behind them for 30 s
    assert time.monotonic() - started < 10
    for wait in waits:
        wait.cancel()
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert isinstance(await client.wait(late, 0), Err)


async def test_a_wait_that_runs_out_is_an_err_and_can_be_repeated(client: aio.Client, broker: Any, inbox: Path) -> None:
    ticket = (await client.store(TEXT)).unwrap()
    result = await client.wait(ticket, 0.02)
    assert isinstance(result, Err)
    assert result.problem.code == "wait_timeout"
    (last,) = [result async for result in client.wait_each(ticket, 0)]
    assert isinstance(last, Err)
    (refused,) = [result async for result in client.wait_each((await client.store(TEXT, receipt=False)).unwrap(), 5)]
    assert isinstance(refused, Err)
    assert refused.problem.code == "invalid_request"


async def test_the_loop_goes_on_while_a_mute_broker_is_waited_for(inbox: Path, mute_port: int) -> None:
    client = aio.Client(inbox=inbox, broker_url=f"redis://127.0.0.1:{mute_port}/0", timeout_s=0.3)
    storing = asyncio.create_task(client.store(TEXT))
    turns = 0
    while not storing.done():
        await asyncio.sleep(0.01)
        turns += 1
    ticket = (await storing).unwrap()
    assert ticket.undelivered is not None
    assert ticket.undelivered.code == "broker_unavailable"
    assert turns >= 5
    assert isinstance(await client.flush(), Err)


async def test_the_loop_goes_on_during_a_wait(client: aio.Client, broker: Any) -> None:
    waiting = asyncio.create_task(client.wait((await client.store(TEXT)).unwrap(), 0.5))
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns >= 25  # a wait that slept on the loop would leave it one turn a poll, about 15


async def test_a_cancelled_store_iter_leaves_whole_jobs_alone(
    client: aio.Client, broker: Any, staged: Callable[[], list[Path]]
) -> None:
    async for result in client.store_iter(Outgoing(b"1") for _ in range(5000)):
        result.unwrap()
        break
    await client.close()
    assert [path.suffix for path in staged()] == [".inbox"]


async def test_of_service_says_when_there_is_none(tmp_path: Path) -> None:
    async with aio.Client.of_service(tmp_path) as client:
        result = await client.store(TEXT)
    assert isinstance(result, Err)
    assert "strongroom up" in result.problem.hint


def test_both_clients_offer_the_same_operations_with_the_same_arguments() -> None:
    def offered(kind: type[Any]) -> dict[str, Any]:
        members = {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_") and name != "waiting"}
        return {name: inspect.signature(member).parameters for name, member in members.items()}

    assert offered(aio.Client) == offered(strongroom.client.Client)
    assert inspect.signature(aio.Client).parameters == inspect.signature(strongroom.client.Client).parameters
