"""No search for garbage while a process starts or ends: nothing is garbage then, and each search looks at all that was imported.

A third of the processor time of a command, and of each part of a service, went into these searches.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 20_000
"""Objects that are made before the garbage collector looks. A batch of 500 documents has 12,000, which go with it: at Python's
own 700 they are looked at again and again, for 3 to 4 us a document. What a cycle may keep for so long is a few MB."""


def hold() -> None:
    """Begin a process: search for nothing until ``resume``, and never at its end."""
    gc.disable()
    atexit.register(gc.freeze)


def resume() -> None:
    """Search from now on, among what is made from now on; what was imported stays in memory that forked children share."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.enable()


@contextmanager
def held() -> Iterator[None]:
    """Search for nothing while a command that runs imports what it needs: a tenth of a command's time."""
    gc.disable()
    try:
        yield
    finally:
        resume()


def settle() -> None:
    """Have the garbage collector work for a process that stores: what is there now is never looked at, what comes seldom.

    What is imported lives as long as the process: looking at it in each collection took a tenth of a store's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
