"""Patterns of library ids: which of several holds for a library."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def most_exact(patterns: Iterable[str], library_id: str) -> str | None:
    """Return which of these patterns holds for a library: the id itself, else the one with the most that is no wildcard."""
    matching = [pattern for pattern in patterns if pattern == library_id or fnmatchcase(library_id, pattern)]
    return max(matching, key=lambda pattern: (pattern == library_id, _exactness(pattern), pattern), default=None)


def _exactness(pattern: str) -> int:
    return sum(char not in "*?[]" for char in pattern)
