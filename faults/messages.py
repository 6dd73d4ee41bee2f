"""What the embedded broker of a service holds, by what is in it: kombu is not asked."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import redis


def broker_of(data: Path) -> redis.Redis:
    """Return a connection to the embedded broker of the service on a data folder."""
    return redis.Redis(unix_socket_path=str(data / "run" / "broker.sock"), socket_timeout=5)


def message_count(client: redis.Redis) -> int:
    """Return how many messages wait or are not acknowledged yet."""
    return sum(_length(client, key) for key in cast("list[bytes]", client.keys("*")))


def _length(client: redis.Redis, key: bytes) -> int:
    """Return how many messages a key of kombu's holds: a queue is a list, what is not acknowledged yet is a hash."""
    kind = client.type(key)
    if kind == b"list":
        return int(client.llen(key))
    return int(client.hlen(key)) if key == b"unacked" else 0
