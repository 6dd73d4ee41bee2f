"""An application's own broker, as the tasks and the schedules use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from strongroom.errors import BrokerUnavailable


class AppBroker:
    """The application's own broker, as the tasks use it."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        """Send a message; see tasks.services.Broker."""
        try:
            self._app.send_task(task, kwargs=dict(arguments), queue=queue, priority=priority, ignore_result=True, retry=False)
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"The broker does not take {task}.") from error

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """Tell how long queues are; see tasks.services.Broker."""
        try:
            with self._app.connection_for_read() as connection:
                channel: Any = connection.default_channel  # celery-types does not know a channel's methods
                return {queue: _length(channel, queue) for queue in queues}
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable("The broker does not say what waits.") from error


def _length(channel: Any, queue: str) -> int:  # as above
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0  # a queue that nobody has sent to does not exist yet
