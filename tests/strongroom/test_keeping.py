"""A client with an outbox against a broker that comes and goes: everything accepted arrives, in order, and has one effect."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom import aio
from strongroom.client import Client
from strongroom.outbox import Outbox
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Ok, Result
from tests.support.crash import crash_at, die_at, start_child, steps_of, wait_for
from tests.support.desk import observed
from tests.support.processes import await_that

TEXT = b'{"library_id": "/a/b", "version_id": "1.0"}'
TIMEOUT_S = 0.3


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def kept(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.message"))


def texts(broker: Any) -> list[str]:
    """What arrived, the first time that it did, in order."""
    said: dict[str, str] = {}
    for message in broker.all():
        said.setdefault(message.headers["id"], message.fields["documents"][0]["text"])
    return list(said.values())


def couriers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom outbox"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def client(own_broker: Any, folder: Path) -> Iterator[Client]:
    with Client(broker_url=own_broker.url, outbox=folder, timeout_s=5) as made:
        yield made
    assert couriers() == []


def test_with_the_broker_up_nothing_is_kept(client: Client, own_broker: Any, folder: Path) -> None:
    ticket = client.store(TEXT).unwrap()
    assert ticket.delivered
    assert kept(folder) == []
    assert [message.headers["id"] for message in own_broker.all()] == [ticket.request_id]
    assert couriers() == []


def test_with_the_broker_down_messages_are_kept_and_go_by_themselves_when_it_is_back(
    client: Client, own_broker: Any, folder: Path
) -> None:
    own_broker.kill()
    tickets = [client.store(b"%d" % number).unwrap() for number in range(10)]
    assert not any(ticket.delivered for ticket in tickets)
    assert kept(folder) == [ticket.request_id for ticket in tickets]
    own_broker.start()
    await_that(lambda: not kept(folder), "the thread delivered them")
    assert texts(own_broker) == [str(number) for number in range(10)]
    await_that(lambda: not couriers(), "the thread has ended")


def test_what_was_kept_goes_before_the_next_store_of_any_client(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=folder) as early:
        early.store(b"0").unwrap()
        early.store_many([Outgoing(b"1"), Outgoing(b"2")], priority="high").unwrap()
    assert len(kept(folder)) == 2
    own_broker.start()
    with Client(broker_url=own_broker.url, outbox=folder) as late:
        assert late.store(b"3").unwrap().delivered
    messages = [own_broker.take(), *own_broker.all()]
    assert {message.properties["priority"] for message in messages} == {0, 3}
    assert [one["text"] for message in messages for one in message.fields["documents"]] == ["1", "2", "0", "3"]


def test_a_new_client_delivers_what_an_earlier_one_left_without_being_asked(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=folder) as early:
        early.store(TEXT).unwrap()
    own_broker.start()
    with Client(broker_url=own_broker.url, outbox=folder):
        await_that(lambda: not kept(folder), "the thread of the new client delivered it")
    assert len(own_broker.all()) == 1


def test_flush_delivers_now_and_tells_how_many_or_why_not(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=folder) as early:
        for _ in range(3):
            early.store(TEXT).unwrap()
        assert problem(early.flush()).code == "broker_unavailable"
        early.close()
        own_broker.start()
        assert early.flush() == Ok(3)
        assert early.flush() == Ok(0)
    assert len(own_broker.all()) == 3


def test_a_flush_begins_with_nothing_after_its_time_and_says_how_far_it_came(
    own_broker: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def takes_long(step: str) -> None:
        now[0] += 3.0 if step == "outbox: remove" else 0.0

    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=folder, timeout_s=5) as client:
        for _ in range(3):
            client.store(TEXT).unwrap()
        client.close()
        own_broker.start()
        for module in ("outbox", "keeping"):
            monkeypatch.setattr(f"strongroom.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
        with observed(takes_long):
            left = problem(client.flush())
        assert (left.code, left.context["delivered"], len(kept(folder))) == ("broker_unavailable", 2, 1)
        assert client.flush() == Ok(1)
    assert len(own_broker.all()) == 3


def test_a_dead_broker_is_waited_for_once_and_not_by_each_store(folder: Path, mute_port: int) -> None:
    with Client(broker_url=f"redis://127.0.0.1:{mute_port}/0", outbox=folder, timeout_s=TIMEOUT_S) as client:
        started = time.monotonic()
        for _ in range(10):
            client.store(TEXT).unwrap()
        assert time.monotonic() - started < TIMEOUT_S + 4
        assert len(kept(folder)) == 10


def test_a_message_of_which_nobody_knows_whether_it_arrived_is_sent_again_under_its_own_id(own_broker: Any, folder: Path) -> None:
    with Client(broker_url=own_broker.url, outbox=folder, timeout_s=TIMEOUT_S) as client:
        client.store(b"0").unwrap()
        own_broker.signal(signal.SIGSTOP)
        (folder / ".lock").write_text(f"0 {'f' * 32}")  # as if a later message had been kept meanwhile
        ticket = client.store(b"1").unwrap()
        assert ticket.undelivered is not None
        assert ticket.undelivered.context["delivery"] == "unknown"
        assert kept(folder) == [ticket.request_id]
        own_broker.signal(signal.SIGCONT)
        await_that(lambda: not kept(folder), "it was sent again")
    assert len(own_broker.client.lrange("short\x06\x163", 0, -1)) == 3
    assert texts(own_broker) == ["0", "1"]


def test_everything_accepted_arrives_once_and_each_producers_in_order_while_the_broker_comes_and_goes(
    own_broker: Any, folder: Path
) -> None:
    accepted: list[list[str]] = [[], []]
    stopping, answered = threading.Event(), threading.Semaphore(0)

    def produce(client: Client, producer: int) -> None:
        number = 0
        while not stopping.is_set():
            client.store(b"%d-%d" % (producer, number)).unwrap()
            accepted[producer].append(f"{producer}-{number}")
            number += 1
            answered.release()

    clients = [Client(broker_url=own_broker.url, outbox=folder, timeout_s=5) for _ in range(2)]
    producers = [threading.Thread(target=produce, args=(clients[number], number)) for number in range(2)]
    for thread in producers:
        thread.start()
    for _ in range(6):
        for _ in range(20):
            answered.acquire()
        own_broker.kill()
        for _ in range(20):
            answered.acquire()
        own_broker.start()
    stopping.set()
    for thread in producers:
        thread.join()
    await_that(lambda: all(isinstance(client.flush(), Ok) for client in clients), "everything was delivered")
    for client in clients:
        client.close()
    arrived = texts(own_broker)
    assert kept(folder) == []
    for producer in range(2):
        assert [text for text in arrived if text.startswith(f"{producer}-")] == accepted[producer]


def test_a_producer_that_dies_at_any_step_with_the_broker_down_loses_nothing_accepted(own_broker: Any, tmp_path: Path) -> None:
    own_broker.kill()

    def produce(folder: Path, told: Path) -> None:
        client = Client(broker_url=own_broker.url, outbox=folder)
        for number in range(2):
            ticket = client.store(b"%d" % number).unwrap()
            with told.open("a") as file:
                file.write(f"{ticket.request_id}\n")
        client._delivery.close()  # type: ignore[attr-defined] # else its thread would take steps in the next test

    steps = steps_of(lambda: produce(tmp_path / "counted", tmp_path / "counted.txt"))
    assert len(steps) >= 8
    for step in range(1, len(steps) + 1):
        folder, told = tmp_path / f"{step}", tmp_path / f"{step}.txt"
        told.touch()
        die_at(step, lambda folder=folder, told=told: produce(folder, told))  # type: ignore[misc] # mypy cannot infer a lambda's default
        accepted = told.read_text().split()
        assert accepted == kept(folder)[: len(accepted)]
        assert len(kept(folder)) <= len(accepted) + 1


def test_a_client_that_dies_at_any_step_of_a_delivery_leaves_it_to_the_next_and_each_has_one_effect(
    own_broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.courier.FIRST_PAUSE_S", 60.0)  # or a client's own thread could be the first to deliver
    own_broker.kill()
    folders = [tmp_path / f"{number}" for number in range(7)]
    for folder in folders:
        with Client(broker_url=own_broker.url, outbox=folder) as client:
            for number in range(3):
                client.store(b"%d" % number).unwrap()
    own_broker.start()

    def flush(folder: Path) -> None:
        client = Client(broker_url=own_broker.url, outbox=folder)
        client._delivery.close()  # type: ignore[attr-defined] # that thread is not needed
        client.flush().unwrap()

    assert len(steps_of(lambda: flush(folders[0]))) == 6
    own_broker.client.flushall()
    for step, folder in enumerate(folders[1:], start=1):
        with crash_at(step):
            flush(folder)
        flush(folder)
        assert kept(folder) == []
        assert texts(own_broker) == ["0", "1", "2"], step


def test_a_full_outbox_is_an_err_and_what_is_in_it_stays(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    with Client(broker_url=own_broker.url, outbox=folder, outbox_limit_bytes=500) as client:
        client.store(TEXT).unwrap()
        found = problem(client.store(b"x" * 400))
        assert (found.code, found.retryable) == ("outbox_full", True)
        assert len(kept(folder)) == 1


def test_an_outbox_that_cannot_be_made_is_an_err_while_the_broker_is_still_up(own_broker: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = problem(Client(broker_url=own_broker.url, outbox=tmp_path / "file" / "outbox").store(TEXT))
    assert "outbox" in found.message
    assert own_broker.all() == []


def test_an_outbox_does_not_hide_an_address_that_cannot_be_one(folder: Path) -> None:
    assert problem(Client(broker_url="amqp://x", outbox=folder).store(TEXT)).code == "configuration"
    assert problem(Client(outbox=folder).store(TEXT)).code == "configuration"


def test_an_inbox_needs_no_outbox(inbox: Path, folder: Path) -> None:
    with pytest.raises(TypeError, match="an inbox or an outbox"):
        Client(inbox=inbox, outbox=folder)


def test_a_forked_child_has_a_thread_of_its_own(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    script = (
        "import os, sys, threading\n"
        "from pathlib import Path\n"
        "from strongroom import Client\n"
        "client = Client(broker_url=sys.argv[1], outbox=sys.argv[2])\n"
        "client.store(b'0').unwrap()\n"
        "if os.fork() == 0:\n"
        "    assert threading.active_count() == 1\n"
        "    client.store(b'1').unwrap()\n"
        "    print('child', threading.active_count(), flush=True)\n"
        "    sys.stdin.read()\n"
        "    client.close()\n"
        "    assert threading.active_count() == 1\n"
        "    os._exit(0)\n"
        "client.close()\n"
        "os._exit(0 if os.wait()[1] == 0 else 1)\n"
    )
    command = [sys.executable, "-c", script, own_broker.url, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "child 2\n"
        assert len(kept(folder)) == 2
        own_broker.start()
        await_that(lambda: not kept(folder), "the child's thread delivered both")
        process.communicate()
        assert process.returncode == 0
    assert texts(own_broker) == ["0", "1"]


def test_a_client_that_nobody_holds_any_more_leaves_no_thread(folder: Path, closed_port: int) -> None:
    client = Client(broker_url=f"redis://127.0.0.1:{closed_port}/0", outbox=folder)
    client.store(TEXT).unwrap()
    assert couriers()
    del client
    gc.collect()
    await_that(lambda: not couriers(), "the thread ended with its client")


def test_the_interpreter_ends_at_once_though_something_is_kept(folder: Path, closed_port: int) -> None:
    script = (
        "import sys\n"
        "from strongroom import Client\n"
        "client = Client(broker_url=sys.argv[1], outbox=sys.argv[2])\n"
        "client.store(b'{}').unwrap()\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, f"redis://127.0.0.1:{closed_port}/0", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    assert len(kept(folder)) == 1


def test_what_another_process_delivers_just_now_is_not_flushed_twice(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    delivering, done = os.pipe(), os.pipe()

    def holds_the_turn() -> None:
        os.close(done[1])
        Outbox(folder).deliver(holds, told=lambda _count: None)

    def holds(_message: object) -> None:
        os.write(delivering[1], b"x")
        os.read(done[0], 1)  # from when the parent has closed its end on, that does not wait

    with Client(broker_url=own_broker.url, outbox=folder, timeout_s=TIMEOUT_S) as client:
        client.store(TEXT).unwrap()
        client.close()
        own_broker.start()
        child = start_child(holds_the_turn)
        os.read(delivering[0], 1)
        assert problem(client.flush()).code == "transient"
        assert not client.store(TEXT).unwrap().delivered
        os.close(done[1])
        assert wait_for(child) == 0
        client.flush().unwrap()
        assert kept(folder) == []
    for end in (*delivering, done[0]):
        os.close(end)


async def test_the_asynchronous_client_keeps_and_flushes_likewise(own_broker: Any, folder: Path) -> None:
    own_broker.kill()
    async with aio.Client(broker_url=own_broker.url, outbox=folder) as client:
        ticket = (await client.store(TEXT)).unwrap()
        assert not ticket.delivered
        assert problem(await client.flush()).code == "broker_unavailable"
        own_broker.start()
        await client.flush()
    assert kept(folder) == []
    assert couriers() == []
    assert len(own_broker.all()) == 1


def test_a_process_may_fork_while_its_threads_store(folder: Path) -> None:
    """Without care the very first child hangs: a thread imports kombu, or is inside it, and its locks go with the fork."""
    script = (
        "import os, sys, threading\n"
        "from strongroom import Client\n"
        "client = Client(broker_url='redis+socket:///nowhere?virtual_host=0', outbox=sys.argv[1])\n"
        "stopping = threading.Event()\n"
        "def store():\n"
        "    while not stopping.is_set(): client.store(b'{}').unwrap()\n"
        "threads = [threading.Thread(target=store) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(20):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        client.store(b'{}').unwrap()\n"
        "        client.close()\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "stopping.set()\n"
        "for thread in threads: thread.join()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], process_group=0) as process:
        try:
            assert process.wait(60) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
