"""workers/taking.py: a message is in its queue or noted down as taken, whenever its worker dies; the next worker puts it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue
from kombu.transport.redis import Transport

from config.celery import celery_config
from tests.support.broker import running_broker
from tests.support.processes import await_that
from workers.broker import UNACKED
from workers.taking import TakingChannel

QUEUES = ("short", "celery")


class Taking(Transport):
    """What workers/pulse.py makes of kombu's."""

    Channel = TakingChannel


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker."""
    with running_broker(tmp_path_factory.mktemp("b"), "everysec") as address:
        yield address


@pytest.fixture
def broker(url: str) -> Iterator[redis.Redis]:
    """The same from inside, with nothing in it."""
    with redis.Redis.from_url(url.replace("redis+socket", "unix").replace("virtual_host", "db")) as client:
        client.flushall()
        yield client


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    """A producer and a worker's settings."""
    with Celery("test", broker=url, set_as_current=False) as made:
        made.conf.update(celery_config())
        yield made


class Worker:
    """What a worker does with messages: it takes them, and acknowledges those that it gets through with."""

    def __init__(self, app: Celery) -> None:
        self.got: list[int] = []
        self.connection: Connection = app.connection_for_read()
        self.connection.transport_cls = Taking  # type: ignore[assignment]  # kombu takes a class as well as a name
        self._queues = [Queue(name) for name in QUEUES]

    def begin(self) -> Consumer:
        return Consumer(self.connection, self._queues, callbacks=[self._do]).__enter__()

    def take(self, count: int) -> list[int]:
        """Take so many messages; return what was got so far."""
        before = len(self.got)
        while len(self.got) < before + count:
            self.connection.drain_events(timeout=5)
        return self.got

    def die(self) -> None:
        """Let go of the connection and read nothing any more, as the end of a process does."""
        channel: Any = self.connection.default_channel
        channel.client.connection.disconnect()
        channel._in_poll = None
        self.connection.release()

    def _do(self, body: Any, message: Any) -> None:
        self.got.append(body[1]["number"])
        message.ack()


def _send(app: Celery, number: int, queue: str = "short", task: str = "strongroom.store", **options: Any) -> None:
    with app.connection_for_write() as connection:
        app.send_task(task, kwargs={"number": number}, queue=queue, connection=connection, **options)


def test_messages_come_by_priority_and_in_order_and_are_gone_when_acknowledged(app: Celery, broker: redis.Redis) -> None:
    for number, priority in enumerate((6, 3, 3, 0)):
        _send(app, number, priority=priority)
    worker = Worker(app)
    with closing(worker.connection):
        worker.begin()
        assert worker.take(4) == [3, 1, 2, 0]
        assert (broker.keys("short*"), broker.hlen(UNACKED), broker.zcard("unacked_index")) == ([], 0, 0)


def test_a_worker_that_waits_hears_every_queue_and_priority(app: Celery, broker: redis.Redis) -> None:
    worker = Worker(app)
    with closing(worker.connection):
        worker.begin()
        for number, (queue, priority) in enumerate([("short", 3), ("short", 0), ("celery", 6)]):
            with pytest.raises(TimeoutError):
                worker.connection.drain_events(timeout=0.05)
            _send(app, number, queue, priority=priority)
            assert worker.take(1)[-1] == number
    assert broker.hlen(UNACKED) == 0


def test_what_a_worker_took_and_never_read_is_noted_down_and_put_back_by_the_next(app: Celery, broker: redis.Redis) -> None:
    dead = Worker(app)
    dead.begin()
    with pytest.raises(TimeoutError):
        dead.connection.drain_events(timeout=0.05)  # it asks for a message, and waits
    _send(app, 7, priority=3)
    await_that(lambda: not broker.keys("short*"), "the broker has handed the message out")
    assert broker.hlen(UNACKED) == broker.zcard("unacked_index") == 1
    (envelope, exchange, key) = json.loads(next(iter(broker.hgetall(UNACKED).values())))
    assert (envelope["headers"]["task"], exchange, key) == ("strongroom.store", "", "short")
    assert dead.got == []
    living = Worker(app)
    with closing(living.connection):
        living.begin()
        assert living.take(1) == [7]
    assert broker.hlen(UNACKED) == broker.zcard("unacked_index") == 0
    dead.die()


def test_what_another_program_has_in_hand_stays_there(app: Celery, broker: redis.Redis) -> None:
    """Two Celery programs on one database share the place where that is noted down."""
    other = Worker(app)
    other.begin()
    with pytest.raises(TimeoutError):
        other.connection.drain_events(timeout=0.05)
    _send(app, 7, priority=3, task="billing.charge_card")
    await_that(lambda: broker.hlen(UNACKED) == 1, "it is being done")
    broker.hset(UNACKED, "odd", b"no JSON")
    broker.zadd("unacked_index", {"odd": 1, "gone": 2})
    worker = Worker(app)
    with closing(worker.connection):
        worker.begin()
        assert (broker.llen("short\x06\x163"), broker.hlen(UNACKED)) == (0, 2)
    other.die()


def test_what_names_no_tag_is_handed_over_as_it_is(app: Celery, broker: redis.Redis) -> None:
    """Whatever it is: the worker says so, as ever."""
    worker = Worker(app)
    channel: Any = worker.connection.default_channel
    with closing(worker.connection):
        worker.begin()
        for odd in (b"no JSON", b"[1]", b'{"properties": 7}', b'{"properties": {"delivery_tag": 7}}', b"[" * 2000):
            broker.lpush("short", odd)
            channel.client.connection = channel.client.connection or channel.client.connection_pool.get_connection()
            channel._brpop_start()
            assert channel.client.parse_response(channel.client.connection, "BRPOP") == (b"short", odd)
            channel._in_poll = None
    assert broker.hlen(UNACKED) == 0


def test_a_message_whose_answer_is_lost_comes_though_no_worker_starts(app: Celery, broker: redis.Redis) -> None:
    """Kombu drops a connection that does not answer, and asks on the next one, on the same channel."""
    worker = Worker(app)
    with closing(worker.connection):
        worker.begin()
        channel: Any = worker.connection.default_channel
        with pytest.raises(TimeoutError):
            worker.connection.drain_events(timeout=0.05)
        _send(app, 7, priority=3)
        await_that(lambda: broker.hlen(UNACKED) == 1, "the broker has handed the message out")
        channel.client.connection.disconnect()
        assert worker.take(1) == [7]
    assert broker.hlen(UNACKED) == broker.zcard("unacked_index") == 0


def test_an_idle_worker_outlasts_a_broker_that_is_full(app: Celery, broker: redis.Redis) -> None:
    """It refuses BLMOVE then, and answers the script behind that all the same."""
    worker = Worker(app)
    with closing(worker.connection):
        worker.begin()
        with pytest.raises(TimeoutError):
            worker.connection.drain_events(timeout=0.05)
        broker.config_set("maxmemory", 1)
        try:
            with pytest.raises(redis.OutOfMemoryError):
                broker.blmove("short", "short", 1, "RIGHT", "RIGHT")
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    worker.connection.drain_events(timeout=0.15)
        finally:
            broker.config_set("maxmemory", 0)
        for number in range(3):
            _send(app, number)
        assert worker.take(3) == [0, 1, 2]
    assert broker.hlen(UNACKED) == 0
