"""The workers' consumer on a broker in memory, with what it would hand to its pool noted down."""

from __future__ import annotations

import base64
import errno
import json
import pickle
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.asynchronous.hub import Hub
from kombu.asynchronous.timer import Timer

from config.settings import Settings
from tests.support.desk import failing
from workers.app import create_app
from workers.consumer import EVENTS_TOGETHER_S, PAUSE_S, KeepingConsumer

HEADERS = {"task": "strongroom.store", "id": "message-0001", "lang": "py"}
GOOD = json.dumps([[], {"text": "{}"}, {"callbacks": None}]).encode()


class Desk:
    """A consumer on a queue; ``send`` puts raw bytes there, ``take`` has it look at everything that waits."""

    def __init__(self, app: Celery, folder: Path) -> None:
        self.failed = folder / "inbox" / "failed"
        self.handed_on: list[str] = []
        self.timer = Timer()
        self._connection = app.connection_for_write()
        self._queue = app.amqp.queues["short"]
        pool = SimpleNamespace(num_processes=2, is_green=False, flush=None, apply_async=None)
        controller = SimpleNamespace(state=SimpleNamespace(revoked=set()), semaphore=None, use_eventloop=False)
        self.consumer: Any = KeepingConsumer(self._note, app=app, pool=pool, timer=self.timer, controller=controller)
        self.consumer.event_dispatcher = None
        self.consumer.update_strategies()
        self._tasks = app.amqp.TaskConsumer(self._connection, queues=[self._queue], on_decode_error=self.consumer.on_decode_error)
        self._tasks.on_message = self.consumer.create_task_handler()
        self._tasks.consume()

    def _note(self, request: Any) -> None:
        self.handed_on.append(request.id)
        request.acknowledge()

    def send(
        self, body: Any = GOOD, headers: Any = HEADERS, content_type: str | None = "application/json", **options: Any
    ) -> None:
        producer = self._connection.Producer(self._connection.default_channel, auto_declare=False)
        encoding = options.pop("content_encoding", "utf-8")
        exchange, key = self._queue.exchange.name, self._queue.routing_key
        producer.publish(
            body,
            headers=dict(headers),
            content_type=content_type,
            content_encoding=encoding,
            exchange=exchange,
            routing_key=key,
            **options,
        )

    def take(self) -> None:
        with suppress(socket.timeout):
            while True:
                self._connection.drain_events(timeout=0.01)

    @property
    def waiting(self) -> int:
        return int(self._connection.default_channel.queue_declare("short", passive=True).message_count)

    @property
    def unacknowledged(self) -> int:
        qos = self._connection.default_channel.qos
        return len(qos._delivered) - len(qos._dirty)

    @property
    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self.failed.glob("*.unread"))]

    def close(self) -> None:
        self._connection.default_channel.queue_purge("short")
        self._connection.close()


@pytest.fixture
def desk(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(scratch))
    made = Desk(create_app(Settings(data_dir=scratch), "memory://"), scratch)
    yield made
    made.close()


def test_a_message_in_order_is_handed_on_and_nothing_is_kept(desk: Desk) -> None:
    desk.send()
    desk.send(json.dumps({**HEADERS, "id": "message-0002", "args": [], "kwargs": {"text": "{}"}}).encode(), {})
    desk.take()
    assert desk.handed_on == ["message-0001", "message-0002"]
    assert desk.kept == []


class Trap:
    """What an object may do that is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("unpickled", "w")


UNREADABLE: dict[str, dict[str, Any]] = {
    "100,000 levels": {"body": b"[" * 100_000 + b"]" * 100_000},
    "100,000 levels inside": {"body": b'[[], {"content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}, {}]"},
    "a number of 5,000 digits": {"body": b"[[], {" + b'"contract": ' + b"9" * 5000 + b"}, {}]"},
    "no JSON": {"body": b"\xff\xfe{not json"},
    "nothing": {"body": b""},
    "an unknown content type": {"content_type": "application/x-nobody-knows"},
    "no content type": {"content_type": None},
    "pickle": {"body": pickle.dumps(Trap()), "content_type": "application/x-python-serialize", "content_encoding": "binary"},
    "YAML": {"body": b"!!python/object/apply:os.abort []", "content_type": "application/x-yaml"},
    "an unknown encoding": {"content_encoding": "klingon", "content_type": "text/plain"},
    "packed, and not": {"headers": {**HEADERS, "compression": "application/x-gzip"}},
    "no headers": {"headers": {}},
    "no headers, no object": {"headers": {}, "body": b"7"},
    "no id": {"headers": {"task": "strongroom.store"}},
    "an id that is a number": {"headers": {**HEADERS, "id": 7}},
    "a task that is a list": {"headers": {**HEADERS, "task": ["strongroom.store"]}},
    "a foreign task": {"headers": {**HEADERS, "task": "tasks.add"}},
    "odd time limits": {"headers": {**HEADERS, "timelimit": 7}},
    "an expiry that is no time": {"headers": {**HEADERS, "expires": "soon"}},
    "null": {"body": b"null"},
    "a number": {"body": b"5"},
    "a text": {"body": b'"args"'},
    "two of three parts": {"body": b"[[], {}]"},
    "fields that are no object": {"body": b'[[], "text", {}]'},
    "arguments that are no list": {"body": b"[{}, {}, {}]"},
    "options that are no object": {"body": b'[[], {}, "callbacks"]'},
    "an object without arguments, of another form": {"body": b'{"args": 7, "kwargs": {}}'},
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_kept_to_the_byte_and_the_next_message_is_handed_on(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.send(**sent)
    desk.send(headers={**HEADERS, "id": "message-after"})
    desk.take()
    (kept,) = desk.kept
    assert base64.b64decode(kept["body_base64"]) == sent.get("body", GOOD)
    assert kept["headers"] == sent.get("headers", HEADERS)
    assert kept["error"]["code"] == "invalid_message"
    assert desk.handed_on == ["message-after"]
    assert (desk.waiting, desk.unacknowledged) == (0, 0)
    assert list(tmp_path.iterdir()) == [], "nothing was unpickled"


def test_a_task_of_a_newer_release_is_kept_with_the_advice_to_upgrade(desk: Desk) -> None:
    desk.send(headers={**HEADERS, "task": "strongroom.purge"})
    desk.send(json.dumps({**HEADERS, "task": "strongroom.merge", "args": [], "kwargs": {}}).encode(), {})
    desk.take()
    assert [one["error"]["code"] for one in desk.kept] == ["message_too_new"] * 2
    assert "upgrade the workers" in desk.kept[0]["error"]["hint"]
    assert desk.unacknowledged == 0


def test_a_packed_message_is_kept_unpacked_and_does_not_say_that_it_is_packed(desk: Desk) -> None:
    desk.send(b"{", compression="gzip")
    desk.take()
    (kept,) = desk.kept
    assert base64.b64decode(kept["body_base64"]) == b"{"
    assert kept["headers"] == HEADERS


def test_what_cannot_be_kept_is_not_acknowledged_and_comes_again_after_a_pause(desk: Desk) -> None:
    with failing("unreadable: fsync", OSError(errno.ENOSPC, "No space left on device")):
        desk.send(b"{")
        desk.take()
    assert desk.kept == []
    assert desk.unacknowledged == 1
    (later,) = desk.timer.queue
    assert 0 < later.eta - monotonic() <= PAUSE_S
    later.entry()
    assert (desk.waiting, desk.unacknowledged) == (1, 0)
    desk.take()
    assert len(desk.kept) == 1
    assert (desk.waiting, desk.unacknowledged) == (0, 0)


class Told:
    """A dispatcher of events that counts."""

    def __init__(self) -> None:
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[Told, Callable[[float], None]]:
    """What was told of tasks, and a clock to be set."""
    told = desk.consumer.event_dispatcher = Told()
    monkeypatch.setattr("workers.consumer.monotonic", lambda: 1000.0)
    return told, lambda later_s: monkeypatch.setattr("workers.consumer.monotonic", lambda: 1000.0 + later_s)


def test_the_events_of_a_tenth_of_a_second_are_sent_together(desk: Desk, told: tuple[Told, Callable[[float], None]]) -> None:
    sent, set_clock = told
    for _ in range(100):
        desk.consumer.on_send_event_buffered()
    (timer,) = desk.timer.queue
    assert sent.flushes == 0
    timer.entry()
    assert sent.flushes == 1
    set_clock(EVENTS_TOGETHER_S + 0.001)
    desk.consumer.on_send_event_buffered()
    assert len(desk.timer.queue) == 2, "later events are sent, too"


def test_events_are_sent_again_after_a_connection_took_the_timers_along(
    desk: Desk, told: tuple[Told, Callable[[float], None]]
) -> None:
    _sent, set_clock = told
    desk.consumer.on_send_event_buffered()
    desk.timer.clear()
    set_clock(EVENTS_TOGETHER_S + 0.001)
    desk.consumer.on_send_event_buffered()
    assert len(desk.timer.queue) == 1


def test_a_signal_turns_the_loop_at_once(desk: Desk) -> None:
    """Celery learns of it in its loop: without this each stop of a worker waits for the next message or timer."""
    hub, before = Hub(), signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        for _ in range(2):  # again with each new connection
            desk.consumer.register_with_event_loop(hub)
        (descriptor,) = hub.readers
        assert not select.select([descriptor], [], [], 0)[0]
        signal.raise_signal(signal.SIGUSR1)
        assert select.select([descriptor], [], [], 0)[0], "the loop waits no longer"
        next(hub.create_loop())
        assert not select.select([descriptor], [], [], 0)[0], "and does not turn for ever"
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
        hub.close()
