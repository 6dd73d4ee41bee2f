"""The names under which jobs travel: tasks and queues, the same on both sides of the broker."""

from __future__ import annotations

STORE_TASK = "strongroom.store"
VERIFY_TASK = "strongroom.verify"

SHORT_QUEUE = "short"
"""Jobs of seconds at most: stores of ordinary documents."""

LONG_QUEUE = "long"
"""Jobs that may take minutes, so that no short one waits behind them."""

LONG_DOCUMENT_BYTES = 32 * 1024 * 1024
"""A staged document above this makes a long job: at 50 MB/s through codec and parser a store of it holds a worker for seconds."""


def store_queue(largest_bytes: int) -> str:
    """Return the queue of a store whose largest document has this many bytes as staged."""
    return LONG_QUEUE if largest_bytes > LONG_DOCUMENT_BYTES else SHORT_QUEUE
