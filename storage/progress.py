"""How whoever waits is told how far something has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told after each step how many bytes of how many have been read."""


def silent(_done: int, _total: int) -> None:
    """Take progress that nobody looks at."""
