"""Signs of life: a file in the run folder for each worker and beat, touched by its own loop while it is at work."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

STALE_AFTER_S = 30.0
"""A loop touches its file every 2 s (a worker's heartbeat) or 10 s (beat's longest sleep)."""


def sign_of(data: Path, part: str) -> Path:
    """Return where ``part`` leaves its sign of life."""
    return data / "run" / f"{part}.alive"


def give_sign(data: Path, part: str) -> None:
    """Touch the sign of ``part``. Never raises: a full disk must not stop a loop that could free it."""
    with suppress(OSError):
        sign_of(data, part).touch(mode=0o600)


def remove_sign(data: Path, part: str) -> None:
    """Remove the sign of ``part``, so that the next one is known to come from its next process."""
    sign_of(data, part).unlink(missing_ok=True)


def has_given_sign(data: Path, part: str) -> bool:
    """Tell whether ``part`` gave a sign since ``remove_sign``."""
    return sign_of(data, part).exists()


def is_alive(data: Path, part: str) -> bool:
    """Tell whether the last sign of ``part`` is younger than ``STALE_AFTER_S``. Works across containers that share the folder."""
    try:
        last = sign_of(data, part).stat().st_mtime
    except FileNotFoundError:
        return False
    return datetime.now(UTC).timestamp() - last < STALE_AFTER_S
