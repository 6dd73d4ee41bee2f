"""Durations as people say them."""

from __future__ import annotations

from datetime import timedelta


def span(time: timedelta) -> str:
    """Return a duration as people say it, in one unit."""
    seconds = max(0.0, time.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f} s"
