"""The composition root of the workers: settings become the tasks' services, once a process."""

from __future__ import annotations

import gc
import os
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from config.settings import Settings
from strongroom.errors import BrokerUnavailable
from tasks.owner import this_process
from tasks.services import Services
from workers.prepare import make_engine


class ProcessServices:
    """Gives each process services of its own: a prefork child must not use what its parent opened."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._pid = 0
        self._services: Services | None = None

    def __call__(self) -> Services:
        """Return this process's services; the first call opens the data folder."""
        if self._services is None or self._pid != os.getpid():
            engine = make_engine(self._settings).open()
            self._pid = os.getpid()
            self._services = Services(engine, this_process(), self._settings.max_attempts, self._send, self._waiting)
            # What is imported lives as long as the process: looking at it in each collection took a tenth of a store's time.
            gc.collect()
            gc.freeze()
        return self._services

    def _send(self, task: str, arguments: dict[str, Any], *, queue: str) -> None:
        try:
            self._app.send_task(task, kwargs=arguments, queue=queue, ignore_result=True, retry=False)
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"The broker does not take {task}.") from error

    def _waiting(self, queue: str) -> int:
        try:
            with self._app.connection_for_read() as connection:
                channel: Any = connection.default_channel  # celery-types does not know a channel's methods
                return int(channel.queue_declare(queue, passive=True).message_count)
        except ChannelError:
            return 0  # a queue that nobody has sent to does not exist yet
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable("The broker does not say what waits.") from error
