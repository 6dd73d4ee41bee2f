"""How a worker takes messages from the broker: what it cannot read is kept before it is acknowledged.

Celery logs such a message and lets it go, or dies of it and takes it again. It also tells Flower of each task by itself, and its
main process waits for the broker each time: 38 % of that process's time when it is busy. Here a tenth of a second's events go
together. Everything else is Celery's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.exceptions import ContentDisallowed

from config.settings import read_settings
from storage.layout import DataFolder
from strongroom.errors import InvalidMessage, StorageError
from tasks.unreadable import RawMessage, keep_unreadable, unknown_task, unreadable
from workers.signals import wake_pipe

log = structlog.get_logger()

PAUSE_S = 1.0
"""Between two deliveries of a message that could not be kept: the disk is full."""

EVENTS_TOGETHER_S = 0.1
"""For how long events of tasks are gathered. Celery sends them sooner when there are 24."""

_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, ContentDisallowed)
"""What Celery and kombu raise about a message of a form that they did not expect."""


class KeepingConsumer(Consumer):
    """Celery's consumer, which keeps what it cannot read. It opens no database: children are forked from its process."""

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    timer: Any  # kombu's or Celery's, by pool
    _flush_events: Callable[[], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Celery's own: handed on
        self._failed = DataFolder(read_settings().data_dir).inbox / "failed"
        self._events_due_s = 0.0
        self._signalled = 0
        super().__init__(*arguments, **options)

    def register_with_event_loop(self, hub: Any) -> None:  # kombu's
        """Have a signal turn the loop at once: Celery looks for it when a message or timer has come, up to a second later."""
        super().register_with_event_loop(hub)
        with suppress(ValueError):  # this is not the main thread: no signal comes here
            self._signalled = self._signalled or wake_pipe()[0]
            hub.add_reader(self._signalled, os.read, self._signalled, 4096)

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:  # as above; a kombu message
        """Return what is called with each message."""
        handle = super().create_task_handler(*arguments, **options)

        def look_first(message: Any) -> None:
            reason = fault_of(message)
            if reason is not None:
                self.keep(message, unreadable(reason))
                return
            try:
                handle(message)
            except self.connection_errors + self.channel_errors:
                raise
            except _ODD as error:
                if message.acknowledged:
                    raise
                self.keep(message, unreadable(f"Celery does not take the message: {error!r}"))

        return look_first

    def on_send_event_buffered(self) -> Any:  # as celery-types have it
        """Have gathered events sent, all together. Celery calls this at each event, and sends them when its loop turns."""
        now_s = monotonic()
        if now_s >= self._events_due_s:  # by the time, not by a flag: a timer may be lost with the connection
            self._events_due_s = now_s + EVENTS_TOGETHER_S
            self.timer.call_after(EVENTS_TOGETHER_S, self._flush_events)

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Keep a message whose body cannot be decoded or unpacked."""
        self.keep(message, unreadable(f"The message cannot be decoded: {exc}"))

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Keep a message that names no task."""
        self.keep(message, unreadable("The message names no task."))

    def on_unknown_task(self, body: object, message: Any, exc: BaseException) -> None:  # noqa: ARG002  # Celery's signature
        """Keep a message for a task that this release does not have."""
        self.keep(message, unknown_task(_task_of(message)))

    def on_invalid_task(self, body: object, message: Any, exc: BaseException) -> None:  # noqa: ARG002  # Celery's signature
        """Keep a message that is of no use to the task that it names."""
        self.keep(message, unreadable(f"The message is no message of a task: {exc}"))

    def keep(self, message: Any, error: InvalidMessage) -> None:
        """Keep a message and acknowledge it; where it cannot be kept, put it back into its queue after a pause."""
        try:
            path = keep_unreadable(self._failed, raw_message(message), error)
        except StorageError as trouble:
            log.log(logging.ERROR, "a message that cannot be read is put back into its queue", error=str(trouble))
            self.timer.call_after(PAUSE_S, message.reject_log_error, (log, self.connection_errors, True))
            return
        log.log(logging.ERROR, "a message cannot be read: it is kept", job=path.stem, error=error.message, hint=error.hint)
        message.ack_log_error(log, self.connection_errors)


def raw_message(message: Any) -> RawMessage:
    """Return a kombu message as it is kept. One that could be unpacked is kept unpacked, and does not say it is packed."""
    body = message.body if isinstance(message.body, bytes) else str(message.body or "").encode("utf-8", "surrogatepass")
    headers = dict(message.headers) if isinstance(message.headers, Mapping) else {"headers": message.headers}
    if not message.errors:
        headers.pop("compression", None)
    return RawMessage(body, message.content_type, message.content_encoding, headers, dict(message.properties))


def fault_of(message: Any) -> str | None:
    """Return what is wrong with a message's form; None when Celery can hand it to its task.

    Celery looks at some of this only in a child, where it logs and acknowledges, and at the rest not at all. Decoding is done
    once: kombu remembers the outcome.
    """
    headers = message.headers
    if not isinstance(headers, Mapping):
        return "The message's headers are no object."
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001  # whatever a decoder raises, it is about these bytes
        return f"The message cannot be decoded: {error}"
    said = {**body, **headers} if isinstance(body, Mapping) else headers
    return _fault_of_headers(said) or _fault_of_body(body)


def _fault_of_headers(said: Mapping[str, Any]) -> str | None:
    if not isinstance(said.get("task"), str):
        return "The message names no task."
    if not isinstance(said.get("id"), str) or not said["id"]:
        return "The message has no id."
    limits = said.get("timelimit")
    if limits and not (isinstance(limits, list) and len(limits) == 2 and all(one is None or _is_number(one) for one in limits)):
        return "The message's time limits are no pair of numbers."
    return None


def _fault_of_body(body: object) -> str | None:
    arguments: object
    fields: object
    more: object
    if isinstance(body, Mapping):  # Celery's first protocol
        arguments, fields, more = body.get("args", []), body.get("kwargs", {}), {}
    elif isinstance(body, list) and len(body) == 3:
        arguments, fields, more = body[0], body[1], body[2] or {}
    else:
        return "The message's body is not a list of arguments, fields and options."
    if isinstance(arguments, list) and isinstance(fields, Mapping) and isinstance(more, Mapping):
        return None
    return "The message's arguments are no list, or its fields no object."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _task_of(message: Any) -> str:
    body = message.decode()
    return str(message.headers.get("task") or body["task"])
