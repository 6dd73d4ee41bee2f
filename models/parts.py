"""Long lists of keys, cut into parts that every database takes in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PART = 500
"""Keys of one statement. SQLite may be built to take no more than 999; 500 are as fast a key as thousands."""


def in_parts(keys: Iterable[T]) -> Iterator[list[T]]:
    """Yield the keys in lists of at most PART."""
    wanted = list(keys)
    for start in range(0, len(wanted), PART):
        yield wanted[start : start + PART]
