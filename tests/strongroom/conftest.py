"""A real broker, a worker's side of the protocol, and a crash that is known to have happened."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from strongroom import durable
from strongroom.client import Client
from strongroom.contracts import DocumentReceipt, StoreReceipt
from strongroom.errors import BrokerUnavailable
from strongroom.inbox import InboxFile, write_receipt
from workers.broker import EmbeddedBroker, ping, prepare_embedded
from workers.processes import death_bond

CRASHED = 77


@dataclass(frozen=True)
class Message:
    """A message as a worker finds it in the queue."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    args: list[Any]
    fields: dict[str, Any]
    content_type: str


class Broker:
    """A Valkey process that a test may kill, freeze and start again."""

    def __init__(self, data: Path) -> None:
        self._embedded: EmbeddedBroker = prepare_embedded(data)
        self.url = self._embedded.url
        self._process: subprocess.Popen[bytes] | None = None
        self._log = data / "broker.log"
        self.client = redis.Redis(unix_socket_path=str(data / "run" / "broker.sock"), socket_timeout=10)

    def start(self) -> Broker:
        with self._log.open("ab") as log:
            # The bond makes one system call and takes no lock: safe beside threads.
            bond = death_bond()
            # Synced each time: what it confirmed must be there after a kill, or a test could not tell whose loss one is.
            command = [*self._embedded.command, "--appendfsync", "always"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=bond)  # noqa: PLW1509
        while True:
            try:
                ping(self.url, 5)
            except BrokerUnavailable:
                assert self._process.poll() is None, self._log.read_text()
            else:
                return self

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    def take(self, queue: str = "short", timeout_s: float = 0) -> Message | None:
        """Take the oldest message away, as a worker does; None when there is none after the timeout."""
        steps = self.steps(queue)
        if timeout_s:
            found = self.client.brpop(steps, timeout=timeout_s)
            return None if found is None else self._read(found[1])
        return next((self._read(raw) for step in steps if (raw := self.client.rpop(step)) is not None), None)

    @staticmethod
    def steps(queue: str = "short") -> list[str]:
        """The lists of a queue, in the order in which a worker looks at them."""
        return [queue, f"{queue}\x06\x163", f"{queue}\x06\x166"]

    def waiting(self, queue: str = "short") -> int:
        """How many messages wait in a queue."""
        return sum(self.client.llen(step) for step in self.steps(queue))

    def all(self, queue: str = "short") -> list[Message]:
        return list(iter(lambda: self.take(queue), None))

    @staticmethod
    def _read(raw: bytes) -> Message:
        envelope = json.loads(raw)
        args, fields, _embed = json.loads(base64.b64decode(envelope["body"]))
        return Message(envelope["headers"], envelope["properties"], args, fields, envelope["content-type"])


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _shared_broker() -> Iterator[Broker]:
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    broker = Broker(folder)
    try:
        yield broker.start()
    finally:
        broker.stop()
        shutil.rmtree(folder)


@pytest.fixture
def broker(_shared_broker: Broker) -> Broker:
    """A broker with empty queues, shared: do not harm it."""
    _shared_broker.client.flushall()
    return _shared_broker


@pytest.fixture
def broker_at() -> Iterator[Callable[[Path], Broker]]:
    """Start a broker of the test's own on a data folder."""
    started: list[Broker] = []

    def start(data: Path) -> Broker:
        started.append(Broker(data))
        return started[-1].start()

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture
def own_broker(short_folder: Path, broker_at: Callable[[Path], Broker]) -> Broker:
    """A broker of the test's own, to be killed, frozen and reconfigured."""
    return broker_at(short_folder)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def client(inbox: Path, broker: Broker) -> Iterator[Client]:
    with Client(inbox=inbox, broker_url=broker.url) as made:
        yield made


class WorkerSide(threading.Thread):
    """What a worker does as seen from a producer: takes messages, reads the inbox, writes receipts."""

    def __init__(self, broker: Broker, inbox: Path) -> None:
        super().__init__(daemon=True)
        self._broker, self._inbox = broker, inbox
        self._stopping = threading.Event()
        self.contents: list[bytes] = []
        self.unanswered: list[Message] = []

    def run(self) -> None:
        while not self._stopping.is_set():
            message = self._broker.take(timeout_s=0.05)
            if message is None:
                continue
            if "inbox" in message.fields:
                self.answer(message)
            else:
                self.unanswered.append(message)

    def answer(self, message: Message) -> None:
        path = self._inbox / message.fields["inbox"]
        with InboxFile(path) as file:
            entries = []
            for document in file.manifest.documents:
                content = file.read(document)
                self.contents.append(content)
                entries.append(DocumentReceipt(name=document.name, status="stored", size_bytes=len(content)))
        write_receipt(self._inbox, StoreReceipt(request_id=message.headers["id"], state="done", documents=entries))
        path.unlink()

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.fixture
def worker_side(broker: Broker, inbox: Path) -> Iterator[WorkerSide]:
    worker = WorkerSide(broker, inbox)
    worker.start()
    yield worker
    worker.stop()


def staged(inbox: Path) -> list[Path]:
    """What lies in the inbox, part files included, receipts not."""
    return sorted(path for path in inbox.iterdir() if path.is_file())


@pytest.fixture(name="staged")
def _staged(inbox: Path) -> Callable[[], list[Path]]:
    return lambda: staged(inbox)


@pytest.fixture
def steps() -> Iterator[list[str]]:
    """The durable steps that this process announces, in order."""
    seen: list[str] = []
    durable.step.observer = seen.append
    yield seen
    durable.step.observer = None


@pytest.fixture
def crash_at() -> Callable[[int, Callable[[], object]], None]:
    """Run something in a child that dies at its n-th durable step, without a chance to clean up; fail if it lived past it."""

    def run(number: int, action: Callable[[], object]) -> None:
        child = os.fork()
        if child == 0:
            try:
                left = [number]

                def crash(_step: str) -> None:
                    left[0] -= 1
                    if left[0] < 0:
                        os._exit(CRASHED)

                durable.step.observer = crash
                action()
            finally:
                os._exit(0)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == CRASHED, f"the crash at step {number} did not happen"

    return run


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port whose listener accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
