"""The fence around the work of a job: each transaction that it writes first asks whether the job is still its holder's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection, Engine

Check = Callable[[Connection], object]
"""Raises when nothing may be written any more."""

# By context, since other threads of the process write, too: the heartbeat, and whoever reconciles, hold no job's lease.
_fence: ContextVar[tuple[Engine, Check] | None] = ContextVar("fence", default=None)


@contextmanager
def fenced(engine: Engine, check: Check) -> Iterator[None]:
    """Have each transaction that this thread begins in the block to write to this database begin with ``check``.

    There is one writer at a time, so what was true at its beginning is true when it commits. Other databases, such as that of a
    backup that is restored to be looked at, are not asked.
    """
    before = _fence.set((engine, check))
    try:
        yield
    finally:
        _fence.reset(before)


def pass_fence(connection: Connection) -> None:
    """Make sure that a transaction that has just begun to write may do so.

    Raises:
        Whatever the fence's check raises.
    """
    fence = _fence.get()
    if fence is not None and fence[0] is connection.engine:
        fence[1](connection)
