"""Events of tasks on a real loop of kombu, over its transport in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from workers.gathered_events import GATHERED_S, Dispatcher

Told = list[Any]  # messages as kombu decodes them


@pytest.fixture
def loop() -> Iterator[Any]:
    before = get_event_loop()
    hub = Hub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(before)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told: Told = []

    def publish(_self: Dispatcher, event: object, *_rest: object, **_more: object) -> None:
        told.append(event)

    monkeypatch.setattr(Dispatcher, "_publish", publish)
    return told


@pytest.fixture
def dispatcher(loop: Any, told: Told) -> Dispatcher:
    app = Celery("one", broker="memory://", set_as_current=False)
    app.events.dispatcher_cls = "workers.gathered_events:Dispatcher"
    lone: Callable[[], object] = lambda: pytest.fail("Celery's own way: each event by itself")  # noqa: E731
    made: Any = app.events.Dispatcher(Connection("memory://"), hostname="h", buffer_group=["task"], on_send_buffered=lone)
    assert isinstance(made, Dispatcher)
    return made


def turn(loop: Any, until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        next(loop.loop)


def test_the_events_of_a_tenth_of_a_second_go_as_one_message(loop: Any, dispatcher: Dispatcher, told: Told) -> None:
    loop.call_later(10 * GATHERED_S, lambda: None)  # a loop without a timer ends
    started = time.monotonic()
    for number in range(100):
        dispatcher.send("task-received", uuid=f"{number}")
    assert told == []
    turn(loop, lambda: told)
    assert time.monotonic() - started >= GATHERED_S
    assert [[event["uuid"] for event in message] for message in told] == [[f"{number}" for number in range(100)]]
    dispatcher.send("task-received", uuid="later")
    turn(loop, lambda: len(told) == 2)
    assert [event["uuid"] for event in told[1]] == ["later"]


def test_what_was_gathered_is_told_before_a_worker_ends(dispatcher: Dispatcher, told: Told) -> None:
    dispatcher.send("task-succeeded", uuid="last")
    dispatcher.disable()
    assert [event["uuid"] for event in told[0]] == ["last"]


def test_a_worker_s_own_events_wait_for_nothing(dispatcher: Dispatcher, told: Told) -> None:
    dispatcher.send("worker-online")
    assert [event["type"] for event in told] == ["worker-online"]
