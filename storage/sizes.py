"""Sizes as people write and read them: 1 kB is 1,000 bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([1-9][0-9]{0,14})\s?(|B|kB|MB|GB|TB)")

NO_SIZE = "Write bytes as a number, or 500MB, 2GB (1 kB is 1,000 bytes)."
"""What to write in place of what is no size."""


def parse_size(value: object) -> int | None:
    """Return the bytes that somebody wrote, as a number or such as 500MB; None when it is no size."""
    found = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return int(found[1]) * _UNITS[found[2]] if found else None


def in_words(size_bytes: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size_bytes) < 1000 or unit == "TB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")
