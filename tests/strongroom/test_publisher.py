"""A broken broker: bounded time, a truthful answer, nothing left behind; then it comes back."""

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
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Ok, Result
from strongroom.ticket import Ticket

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


@pytest.mark.parametrize("kind", ["closed port", "mute port", "absent socket", "dead socket", "mute socket"])
@pytest.mark.parametrize("with_inbox", [True, False])
def test_an_unreachable_broker_is_an_err_in_bounded_time_and_nothing_stays_behind(
    inbox: Path,
    staged: Staged,
    closed_port: int,
    mute_port: int,
    dead_socket: Path,
    mute_socket: Path,
    kind: str,
    with_inbox: bool,
) -> None:
    urls = {
        "closed port": f"redis://127.0.0.1:{closed_port}/0",
        "mute port": f"redis://:secret@127.0.0.1:{mute_port}/0",
        "absent socket": f"redis+socket://{dead_socket}.absent?virtual_host=0",
        "dead socket": f"redis+socket://{dead_socket}?virtual_host=0",
        "mute socket": f"redis+socket://{mute_socket}?virtual_host=0",
    }
    client = Client(inbox=inbox if with_inbox else None, broker_url=urls[kind], timeout_s=TIMEOUT_S)
    started = time.monotonic()
    found = problem(client.store(TEXT))
    assert time.monotonic() - started < TIMEOUT_S + 1
    assert (found.code, found.retryable, found.context["delivery"]) == ("broker_unavailable", True, "none")
    assert "strongroom up" in found.hint
    assert "secret" not in repr(found)
    assert staged() == []


def test_a_broker_that_dies_between_two_calls_and_comes_back_is_used_again(own_broker: Any, inbox: Path, staged: Staged) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        client.store(TEXT).unwrap()
        own_broker.kill()
        found = problem(client.store(TEXT))
        assert (found.code, found.context["delivery"]) == ("broker_unavailable", "none")
        assert len(staged()) == 1
        own_broker.start()
        client.store(TEXT).unwrap()
    assert len(staged()) == 2
    assert own_broker.waiting() >= 1


def test_a_broker_that_was_away_between_two_calls_goes_unnoticed(own_broker: Any, inbox: Path) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        client.store(TEXT).unwrap()
        own_broker.kill()
        own_broker.start()
        client.store(TEXT).unwrap()


def test_a_broker_that_dies_in_the_middle_of_many_leaves_what_was_accepted(own_broker: Any, inbox: Path, staged: Staged) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=5) as client:
        accepted: list[Ticket] = []

        def killed_after_the_first(ticket: Ticket) -> None:
            accepted.append(ticket)
            own_broker.kill()

        found = problem(client.store_many(many(1200), on_staged=killed_after_the_first))
    assert found.code == "broker_unavailable"
    assert found.context["accepted"] == [accepted[0].request_id]
    assert [path.stem for path in staged()] == [accepted[0].request_id]


def test_a_broker_that_freezes_after_the_bytes_left_makes_the_delivery_unknown_and_keeps_the_file(
    own_broker: Any, inbox: Path, staged: Staged
) -> None:
    with Client(inbox=inbox, broker_url=own_broker.url, timeout_s=TIMEOUT_S) as client:
        client.store(TEXT).unwrap()
        own_broker.signal(signal.SIGSTOP)
        started = time.monotonic()
        found = problem(client.store(TEXT))
        assert time.monotonic() - started < TIMEOUT_S + 1
        assert (found.code, found.context["delivery"]) == ("broker_unavailable", "unknown")
        assert "may be stored" in found.hint
        assert "Call again" in found.hint
        own_broker.signal(signal.SIGCONT)
        sent = {own_broker.take(timeout_s=5).fields["inbox"] for _ in range(2)}
        assert sent == {path.name for path in staged()}  # it did arrive, and its payload is there
        client.store(TEXT).unwrap()


def test_answers_files_and_messages_agree_while_the_broker_is_killed_again_and_again(
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
    accepted = {result.value.request_id for result in results if isinstance(result, Ok)}
    refused = [result.problem for result in results if isinstance(result, Err)]
    assert {problem.code for problem in refused} == {"broker_unavailable"}
    unknown = sum(problem.context["delivery"] == "unknown" for problem in refused)
    files = {path.stem for path in staged()}
    assert accepted <= files
    assert len(files) == len(accepted) + unknown
    sent = {message.headers["id"] for message in own_broker.all()}
    assert accepted <= sent <= files


def test_a_frozen_broker_is_found_out_before_anything_is_staged(own_broker: Any, inbox: Path, staged: Staged) -> None:
    own_broker.signal(signal.SIGSTOP)
    found = problem(Client(inbox=inbox, broker_url=own_broker.url, timeout_s=TIMEOUT_S).store(TEXT))
    assert (found.code, found.context["delivery"]) == ("broker_unavailable", "none")
    assert staged() == []


def test_a_broker_out_of_memory_refuses_and_nothing_stays_behind(own_broker: Any, inbox: Path, staged: Staged) -> None:
    own_broker.client.config_set("maxmemory", "1")
    with Client(inbox=inbox, broker_url=own_broker.url) as client:
        found = problem(client.store(TEXT))
    assert (found.code, found.context["delivery"]) == ("broker_unavailable", "none")
    assert "maxmemory" in found.message
    assert staged() == []


def test_a_wrong_password_says_so_and_is_not_repeated(own_broker: Any, inbox: Path) -> None:
    own_broker.client.config_set("requirepass", "right")
    found = problem(Client(inbox=inbox, broker_url=own_broker.url).store(TEXT))
    assert "password" in found.hint
    wrong = own_broker.url.replace("redis+socket://", "redis+socket://:sesame@")
    found = problem(Client(inbox=inbox, broker_url=wrong).store(TEXT))
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
