"""One line to the broker: the only module that needs kombu, imported when the first message is sent."""

from __future__ import annotations

import os
import socket
from typing import Any

from kombu import Connection, Producer
from kombu.exceptions import ChannelError, KombuError
from kombu.transport import redis as _transport  # noqa: F401 - here, where no process forks; kombu would import it with the first line

from strongroom.errors import BrokerUnavailable, ConfigurationError
from strongroom.message import Message
from strongroom.routes import PRIORITY_STEPS

SCHEMES = ("redis", "rediss", "redis+socket")

# Answers by which the broker says that it did not take the message. Known by name, since redis is not this package's to import.
_REFUSALS = {"ResponseError", "BusyLoadingError", "AuthenticationError", "DataError"}
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Line:
    """A connection of one thread at a time, which is never retried by itself: an answer comes, or an error, in bounded time.

    Raises:
        ConfigurationError: the address cannot be one.
        BrokerUnavailable: the broker refused, or did not answer in time.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url
        self._origin = f"gen{os.getpid()}@{socket.gethostname()}"
        # Connecting may try two addresses (IPv6, then IPv4): each gets half.
        options = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s / 2,
            "max_retries": 0,
            "priority_steps": list(PRIORITY_STEPS),
        }
        self._connection = _connection(url, options)
        self._errors: tuple[type[BaseException], ...] = (
            KombuError,
            OSError,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )
        try:
            self._channel = self._connection.default_channel
        except ValueError as error:
            self.close()
            raise ConfigurationError(f"The broker's address cannot be used: {error}.") from error
        except self._errors as error:
            self.close()
            raise _unavailable("cannot reach the broker", error, delivery="none") from error
        self._producer = Producer(self._channel, serializer="json", auto_declare=False)

    def check(self) -> None:
        """Make sure of the connection, opened again when the broker was gone meanwhile. Free of round trips when it is fresh.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        pool = self._channel.pool
        try:
            connection = pool.get_connection()
            try:
                connection.check_health()
            finally:
                pool.release(connection)
        except self._errors as error:
            raise _unavailable("cannot reach the broker", error, delivery="none") from error

    def publish(self, message: Message) -> None:
        """Send one Celery message (protocol 2) to its queue.

        kombu's producer, not Celery's ``send_task``: that reads the producer's own Celery settings and environment
        (CELERY_BROKER_URL, a pickling serializer, Django's fixup), and costs half as much again.

        Raises:
            BrokerUnavailable: ``context["delivery"]`` is "none" when the broker did not take it, "unknown" when no answer came.
        """
        try:
            self._producer.publish(
                ((), dict(message.fields), _EMBED),
                exchange="",
                routing_key=message.queue,
                priority=message.number,
                headers=_headers(message, self._origin),
                correlation_id=message.request_id,
                reply_to="",
                delivery_mode=2,
            )
        except self._errors as error:
            refused = any(kind.__name__ in _REFUSALS for kind in type(error).__mro__)
            what = "the broker refused the message" if refused else "the broker did not confirm the message"
            raise _unavailable(what, error, delivery="none" if refused else "unknown") from error

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue, whatever their priority. Those that a worker has in hand do not count.

        Raises:
            BrokerUnavailable: the broker did not tell.
        """
        try:
            return int(self._channel.queue_declare(queue, passive=True).message_count)
        except ChannelError:  # on Redis an empty queue is none
            return 0
        except self._errors as error:
            raise _unavailable("the broker does not say how many messages wait", error, delivery="none") from error

    def close(self) -> None:
        """Hang up."""
        self._connection.release()


def _connection(url: str, options: dict[str, Any]) -> Any:  # kombu has no types
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigurationError(f"A broker's address begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}, then `://`.")
    try:
        return Connection(url, transport_options=options)
    except (ValueError, KeyError) as error:
        # Without the address: it may hold a password.
        raise ConfigurationError(f"The broker's address cannot be read ({type(error).__name__}).") from None


def _unavailable(what: str, error: BaseException, *, delivery: str) -> BrokerUnavailable:
    hint = None
    if "AuthenticationError" in {kind.__name__ for kind in type(error.__cause__ or error).__mro__}:
        hint = "Correct the user and password in the broker's address."
    elif delivery == "unknown":
        hint = "The documents may be stored all the same. Call again: storing the same document twice is safe."
    return BrokerUnavailable(f"{what}: {str(error)[:300]}", hint, {"delivery": delivery})


def _headers(message: Message, origin: str) -> dict[str, Any]:
    # https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2; what Flower shows names the job, not its content.
    shown = {name: value for name, value in message.fields.items() if isinstance(value, str | bool | int)}
    return {
        "lang": "py",
        "task": message.task,
        "id": message.request_id,
        "root_id": message.request_id,
        "parent_id": None,
        "group": None,
        "group_index": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": repr(shown),
        "origin": origin,
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
