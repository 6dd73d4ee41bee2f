"""Forks: a child must not be made while another thread of ours holds a lock that the child would wait for for ever.

Modules are imported under locks, and kombu computes its properties under locks. Measured with a thread that stores while the
process forks: the first child hung. A fork therefore waits until no thread of ours is inside, and none enters meanwhile.

What is registered to run before a fork runs in reverse order. The standard library's pool and its logging take their locks there,
and kombu's import needs logging's: they are imported here, hence registered first, and run after the wait instead of before it.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see above; it imports logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT_S = 2.0
"""How long a fork waits for threads inside kombu: its locks are held for microseconds, or as long as a busy machine keeps their
holder from its processor; what takes longer is the network."""

LONGEST_IMPORT_S = 60.0
"""How long it waits for an import: that ends by itself, and a child without its end would wait for ever. It takes 0.2 s on an
idle machine."""

_PAUSE_S = 0.0005


class _Door:
    """Who is inside, and whether anybody may enter."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Be as new: whoever was inside is not in this process."""
        self.lock = threading.Lock()
        self.inside: set[object] = set()
        self.importing: dict[object, int] = {}
        self.held = False


_door = _Door()


@contextmanager
def not_forked(*, importing: bool = False) -> Iterator[None]:
    """Keep other threads from forking while entered, for a bounded time."""
    ticket = object()
    with _door.lock:  # held by a fork
        if importing:
            _door.importing[ticket] = threading.get_ident()
        else:
            _door.inside.add(ticket)
    try:
        yield
    finally:
        _door.inside.discard(ticket)
        _door.importing.pop(ticket, None)


def _before() -> None:
    _door.held = _door.lock.acquire(timeout=LONGEST_WAIT_S)
    began = time.monotonic()
    while (_door.inside and time.monotonic() - began < LONGEST_WAIT_S) or (
        _others_import() and time.monotonic() - began < LONGEST_IMPORT_S
    ):
        time.sleep(_PAUSE_S)


def _others_import() -> bool:
    # A module that forks while this very thread imports it waits for nobody.
    return any(thread != threading.get_ident() for thread in list(_door.importing.values()))


def _after_in_parent() -> None:
    if _door.held:
        _door.held = False
        _door.lock.release()


def _after_in_child() -> None:
    _door.renew()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
