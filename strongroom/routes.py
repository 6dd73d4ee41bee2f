"""The names under which jobs travel: tasks and queues, the same on both sides of the broker."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

STORE_TASK = "strongroom.store"
VERIFY_TASK = "strongroom.verify"

SHORT_QUEUE = "short"
"""Jobs of seconds at most: stores of ordinary documents."""

LONG_QUEUE = "long"
"""Jobs that may take minutes, so that no short one waits behind them."""

LONG_DOCUMENT_BYTES = 32 * 1024 * 1024
"""A staged document above this makes a long job: at 50 MB/s through codec and parser a store of it holds a worker for seconds."""

Priority = Literal["high", "normal", "low"]
"""Which of the waiting jobs goes first. Since contract 2."""

PRIORITIES: Mapping[Priority, int] = MappingProxyType({"high": 0, "normal": 3, "low": 6})
"""What a priority is on the wire: the ``priority`` property of the Celery message, lower goes first.

A message without that property, such as a plain Celery producer's, counts as 0: it goes before what our clients call normal.
"""

PRIORITY_STEPS = tuple(PRIORITIES.values())
"""The transport option ``priority_steps`` of both sides: each step is a list of its own, ``short`` or ``short\\x06\\x163``."""


def store_queue(largest_bytes: int) -> str:
    """Return the queue of a store whose largest document has this many bytes as staged."""
    return LONG_QUEUE if largest_bytes > LONG_DOCUMENT_BYTES else SHORT_QUEUE
