"""A broken broker: bounded time and a truthful answer, and none at all for who shares an inbox; then it comes back."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.contracts import DocumentReceipt, StoreReceipt
from strongroom.delivery import Doorbells
from strongroom.inbox import write_receipt
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Ok, Result
from strongroom.ticket import Ticket
from tests.support.processes import await_that

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def many(count: int, size: int = 10) -> Iterator[Outgoing]:
    return (Outgoing(b"%0*d" % (size, number), name=str(number)) for number in range(count))


TIMEOUT_S = 0.3


@pytest.fixture
def dead_socket(short_folder: Path) -> Path:
    path = short_folder / "dead.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.fixture
def mute_socket(short_folder: Path) -> Iterator[Path]:
    path = short_folder / "mute.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        yield path


@pytest.fixture(params=["closed port", "mute port", "absent socket", "dead socket", "mute socket"])
def unreachable(request: pytest.FixtureRequest, closed_port: int, mute_port: int, dead_socket: Path, mute_socket: Path) -> str:
    """The address of a broker that does not answer, in one of the ways in which one does not."""
    urls = {
        "closed port": f"redis://127.0.0.1:{closed_port}/0",
        "mute port": f"redis://:secret@127.0.0.1:{mute_port}/0",
        "absent socket": f"redis+socket://{dead_socket}.absent?virtual_host=0",
        "dead socket": f"redis+socket://{dead_socket}?virtual_host=0",
        "mute socket": f"redis+socket://{mute_socket}?virtual_host=0",
    }
    return urls[request.param]


def test_without_inbox_and_outbox_an_unreachable_broker_is_an_err_in_bounded_time(unreachable: str) -> None:
    started = time.monotonic()
    found = problem(Client(broker_url=unreachable, timeout_s=TIMEOUT_S).store(TEXT))
    assert time.monotonic() - started < TIMEOUT_S + 4
    assert (found.code, found.retryable, found.context["delivery"]) == ("broker_unavailable", True, "none")
    assert "strongroom up" in found.hint
    assert "secret" not in repr(found)


def test_with_an_inbox_an_unreachable_broker_is_no_error_and_is_waited_for_once(
    unreachable: str, inbox: Path, staged: Staged
) -> None:
    client = Client(inbox=inbox, broker_url=unreachable, timeout_s=TIMEOUT_S)
    started = time.monotonic()
    tickets = [client.store(TEXT).unwrap() for _ in range(20)]
    assert time.monotonic() - started < TIMEOUT_S + 4  # 20 timeouts are 6 s
    assert [path.stem for path in staged()] == [ticket.request_id for ticket in tickets]
    for ticket in tickets:
        assert not ticket.delivered
        assert ticket.undelivered is not None
        assert ticket.undelivered.code == "broker_unavailable"
        assert "secret" not in repr(ticket.undelivered)


def test_a_wait_for_what_the_broker_was_not_told_of_says_so_when_it_runs_out(inbox: Path, closed_port: int) -> None:
    client = Client(inbox=inbox, broker_url=f"redis://127.0.0.1:{closed_port}/0", timeout_s=TIMEOUT_S)
    ticket = client.store(TEXT).unwrap()
    found = problem(client.wait(ticket, 0))
    assert (found.code, found.context["request_ids"]) == ("wait_timeout", [ticket.request_id])
    assert "They are accepted" in found.hint
    assert "cannot reach the broker" in found.hint
    write_receipt(inbox, StoreReceipt(request_id=ticket.request_id, state="done", documents=[DocumentReceipt(status="stored")]))
    assert [entry.status for entry in client.wait(ticket, 5).unwrap()] == ["stored"]


def test_bells_that_could_not_be_rung_are_rung_in_order_before_the_next(own_broker: Any, inbox: Path, staged: Staged) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        tickets = [client.store(TEXT).unwrap()]
        own_broker.kill()
        tickets += [client.store(TEXT).unwrap() for _ in range(3)]
        own_broker.start()
        await_that(lambda: client.flush().is_ok() or None, "the broker answers again")
        tickets.append(client.store(TEXT).unwrap())
    assert [ticket.delivered for ticket in tickets] == [True, False, False, False, True]
    assert [path.stem for path in staged()] == [ticket.request_id for ticket in tickets]
    rung = [message.headers["id"] for message in own_broker.all()]
    assert rung[-4:] == [ticket.request_id for ticket in tickets[-4:]]  # the first may have gone with the broker


def test_the_next_store_after_the_rest_rings_for_those_before_it(own_broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        own_broker.kill()
        kept = client.store(TEXT).unwrap()
        own_broker.start()
        tickets = [client.store(TEXT).unwrap()]
        while not tickets[-1].delivered:  # until the short rest of the breaker is over
            tickets.append(client.store(TEXT).unwrap())
    assert not kept.delivered
    assert [message.headers["id"] for message in own_broker.all()] == [ticket.request_id for ticket in (kept, *tickets)]


def test_a_flush_says_how_many_it_rang_for_or_why_it_could_not(own_broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        assert client.flush() == Ok(0)
        own_broker.kill()
        client.store_many(many(1200)).unwrap()
        assert problem(client.flush()).code == "broker_unavailable"
        own_broker.start()
        assert client.flush() == Ok(3)
        assert client.flush() == Ok(0)
    assert own_broker.waiting() == 3


def test_neither_a_flush_nor_a_store_rings_for_longer_than_the_clients_timeout(own_broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        own_broker.kill()
        client.store_many(many(1200)).unwrap()
        assert problem(client.flush()).code == "broker_unavailable"
        own_broker.start()
        assert isinstance(client._delivery, Doorbells)
        client._delivery._timeout_s = 0.0  # it is over before the first
        left = problem(client.flush())
        assert (left.code, left.context["delivered"], own_broker.waiting()) == ("broker_unavailable", 0, 0)
        assert not client.store(TEXT).unwrap().delivered
        client._delivery._timeout_s = 5.0
        assert client.flush() == Ok(4)


def test_a_broker_that_was_away_between_two_calls_goes_unnoticed(own_broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        client.store(TEXT).unwrap()
        own_broker.kill()
        own_broker.start()
        assert client.store(TEXT).unwrap().delivered


def test_a_broker_that_dies_in_the_middle_of_many_holds_none_of_them_up(own_broker: Any, inbox: Path, staged: Staged) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        tickets = client.store_many(many(1200), on_staged=lambda _ticket: own_broker.kill()).unwrap()
    assert [ticket.delivered for ticket in tickets] == [True, False, False]
    assert [path.stem for path in staged()] == [ticket.request_id for ticket in tickets]


def test_a_broker_that_dies_in_the_middle_of_many_messages_tells_which_were_accepted(own_broker: Any) -> None:
    accepted: list[Ticket] = []

    def killed_after_the_first(ticket: Ticket) -> None:
        accepted.append(ticket)
        own_broker.kill()

    with Client(broker_url=own_broker.url, timeout_s=5) as client:
        found = problem(client.store_many(many(1200), on_staged=killed_after_the_first))
    assert found.code == "broker_unavailable"
    assert found.context["accepted"] == [accepted[0].request_id]


def test_a_broker_that_freezes_after_the_bytes_left_makes_the_delivery_unknown(own_broker: Any) -> None:
    with Client(broker_url=own_broker.url, timeout_s=TIMEOUT_S) as client:
        client.store(TEXT).unwrap()
        own_broker.signal(signal.SIGSTOP)
        started = time.monotonic()
        found = problem(client.store(TEXT))
        assert time.monotonic() - started < TIMEOUT_S + 4
        assert (found.code, found.context["delivery"]) == ("broker_unavailable", "unknown")
        assert "may be stored" in found.hint
        assert "Call again" in found.hint
        own_broker.signal(signal.SIGCONT)
        assert len({own_broker.take(timeout_s=5).headers["id"] for _ in range(2)}) == 2  # it did arrive
        client.store(TEXT).unwrap()


def test_a_bell_of_which_nobody_knows_whether_it_rang_is_rung_again(own_broker: Any, inbox: Path, staged: Staged) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=TIMEOUT_S) as client:
        client.store(TEXT).unwrap()
        own_broker.signal(signal.SIGSTOP)
        ticket = client.store(TEXT).unwrap()
        assert ticket.undelivered is not None
        assert ticket.undelivered.context["delivery"] == "unknown"
        own_broker.signal(signal.SIGCONT)
        assert client.flush() == Ok(1)
    rung = [message.headers["id"] for message in own_broker.all()]
    assert rung == [path.stem for path in staged()] + [ticket.request_id]


def test_everything_is_accepted_and_in_the_end_rung_for_while_the_broker_is_killed_again_and_again(
    own_broker: Any, inbox: Path, staged: Staged
) -> None:
    results: list[Result[Ticket]] = []
    stopping, answered = threading.Event(), threading.Semaphore(0)

    def produce(client: Client) -> None:
        while not stopping.is_set():
            results.append(client.store(TEXT))
            answered.release()

    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        producers = [threading.Thread(target=produce, args=(client,)) for _ in range(3)]
        for producer in producers:
            producer.start()
        for _ in range(8):
            for _ in range(30):
                answered.acquire()
            own_broker.kill()
            own_broker.start()
        stopping.set()
        for producer in producers:
            producer.join()
        client.flush().unwrap()
    accepted = {result.unwrap().request_id for result in results}
    assert len(accepted) == len(results)
    assert {path.stem for path in staged()} == accepted
    assert {message.headers["id"] for message in own_broker.all()} == accepted


def test_a_frozen_broker_is_no_error_and_costs_one_timeout(own_broker: Any, inbox: Path, staged: Staged) -> None:
    own_broker.signal(signal.SIGSTOP)
    ticket = Client(inbox=inbox, broker_url=own_broker.url, timeout_s=TIMEOUT_S).store(TEXT).unwrap()
    assert not ticket.delivered
    assert [path.stem for path in staged()] == [ticket.request_id]


@pytest.mark.parametrize("with_inbox", [True, False])
def test_a_broker_out_of_memory_refuses(own_broker: Any, inbox: Path, with_inbox: bool) -> None:
    own_broker.client.config_set("maxmemory", "1")
    with Client(inbox=inbox if with_inbox else None, broker_url=own_broker.url) as client:
        result = client.store(TEXT)
    found = result.unwrap().undelivered if with_inbox else problem(result)
    assert (found.code, found.context["delivery"]) == ("broker_unavailable", "none")
    assert "maxmemory" in found.message


def test_a_wrong_password_says_so_and_is_not_repeated(own_broker: Any, inbox: Path) -> None:
    own_broker.client.config_set("requirepass", "right")
    found = problem(Client(broker_url=own_broker.url).store(TEXT))
    assert "password" in found.hint
    wrong = own_broker.url.replace("redis+socket://", "redis+socket://:sesame@")
    found = Client(inbox=inbox, broker_url=wrong).store(TEXT).unwrap().undelivered
    assert "password" in found.hint
    assert "sesame" not in repr(found)
    own_broker.client.connection_pool.disconnect()


@pytest.mark.parametrize(
    "url", ["", "amqp://x", "garbage", "redis://:sesame@[::1", "redis://127.0.0.1:6379/database", "redis://h:port/0"]
)
def test_an_address_that_cannot_be_one_is_a_configuration_error_without_its_password(inbox: Path, url: str) -> None:
    found = problem(Client(inbox=inbox, broker_url=url, timeout_s=TIMEOUT_S).store(TEXT))
    assert found.code == "configuration"
    assert "sesame" not in repr(found)


def test_a_client_without_an_address_says_what_to_give_it(inbox: Path) -> None:
    found = problem(Client(inbox=inbox).store(TEXT))
    assert found.code == "configuration"
    assert "broker_url" in found.hint


def test_threads_share_a_client(client: Client, broker: Any) -> None:
    tickets: list[Ticket] = []

    def work() -> None:
        tickets.extend(client.store(TEXT).unwrap() for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tickets) == 200
    assert {message.headers["id"] for message in broker.all()} == {ticket.request_id for ticket in tickets}


def test_a_fork_uses_connections_of_its_own(broker: Any, inbox: Path) -> None:
    script = (
        "import os, sys\n"
        "from strongroom import Client\n"
        "client = Client(inbox=sys.argv[1], broker_url=sys.argv[2])\n"
        "client.store(b'0').unwrap()\n"
        "children = []\n"
        "for _ in range(4):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        for _ in range(25): client.store(b'1').unwrap()\n"
        "        os._exit(0)\n"
        "    children.append(child)\n"
        "for _ in range(25): client.store(b'2').unwrap()\n"
        "assert all(os.waitpid(child, 0)[1] == 0 for child in children)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(inbox), broker.url], check=True)
    assert len({message.headers["id"] for message in broker.all()}) == 126
