"""A second message for a job, put into the queue as any Celery producer would: not by the client that is on trial."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from strongroom.contracts import CONTRACT
from strongroom.errors import StorageError
from strongroom.routes import SHORT_QUEUE, STORE_TASK
from strongroom.service import service_broker_url

_LIMITS = {"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 0}
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Doorbell:
    """Rings at the broker of a data folder's service."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._connection: Any = None  # kombu has no types

    def ring(self, job_id: str, *, receipt: bool) -> bool:
        """Send one message that names the job's inbox file; whether the broker took it."""
        fields = {"contract": CONTRACT, "request_id": job_id, "inbox": f"{job_id}.inbox", "receipt": receipt}
        try:
            if self._connection is None:
                self._connection = Connection(service_broker_url(self._data), transport_options=_LIMITS)
            producer = Producer(self._connection.default_channel, serializer="json", auto_declare=False)
            headers = {"lang": "py", "task": STORE_TASK, "id": job_id, "root_id": job_id, "retries": 0}
            producer.publish(((), fields, _EMBED), exchange="", routing_key=SHORT_QUEUE, headers=headers, correlation_id=job_id)
        except (KombuError, OSError, StorageError, redis.RedisError):
            self._hang_up()
            return False
        return True

    def _hang_up(self) -> None:
        with suppress(KombuError, OSError, redis.RedisError):
            if self._connection is not None:
                self._connection.release()
        self._connection = None
