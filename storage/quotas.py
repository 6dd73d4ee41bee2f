"""Quotas as people set them: how many stored bytes a library may take, by pattern, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.patterns import most_exact
from storage.sizes import NO_SIZE, parse_size
from strongroom.errors import ConfigurationError

TOTAL = "total"
"""In place of a pattern: all libraries together. (A library of that name matches ``[t]otal``.)"""
UNLIMITED = "unlimited"
"""In place of a size: for libraries that a wider pattern would limit."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits in bytes by pattern of library ids; None stands for no limit. Of the patterns that match, the most exact one holds.

    Each library that matches has the whole limit for itself. ``total_bytes`` is for all together.
    """

    by_pattern: Mapping[str, int | None] = field(default_factory=dict)
    total_bytes: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return self.total_bytes is not None or any(limit is not None for limit in self.by_pattern.values())

    def of(self, library_id: str) -> int | None:
        """Return a library's limit."""
        pattern = most_exact(self.by_pattern, library_id)
        return None if pattern is None else self.by_pattern[pattern]


def parse_quotas(told: Mapping[str, Any], setting: str = "STRONGROOM_QUOTAS") -> Quotas:
    """Return the quotas that a setting tells: ``{"*": "10GB", "/legal/*": "unlimited", "total": "1TB"}``.

    Raises:
        ConfigurationError: a limit that is no size; the message names it.
    """
    limits = {pattern: _limit(limit, f"{setting}: the limit for {pattern!r}") for pattern, limit in told.items()}
    return Quotas({pattern: limit for pattern, limit in limits.items() if pattern != TOTAL}, limits.get(TOTAL))


def _limit(limit: object, where: str) -> int | None:
    if limit == UNLIMITED:
        return None
    found = parse_size(limit)
    if found is None:
        raise ConfigurationError(f"{where} is no size.", f'{NO_SIZE} "{UNLIMITED}" takes a limit away.')
    return found
