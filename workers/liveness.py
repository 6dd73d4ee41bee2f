"""Signs of life and of work: files in the run folder, touched by the processes of a part while they are at it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

SILENT_AFTER_S = 15.0
"""A worker that has finished nothing, and runs nothing, for so long does not work: beat sends it a probe every 5 s."""

STALE_AFTER_S = 30.0
"""A loop touches its file every 2 s (a worker's heartbeat) or 10 s (beat's longest sleep)."""


def sign_of(data: Path, part: str) -> Path:
    """Return where the loop of ``part`` shows that it turns."""
    return data / "run" / f"{part}.alive"


def give_sign(data: Path, part: str) -> None:
    """Touch the sign of ``part``. Never raises: a full disk must not stop a loop that could free it."""
    _touch(sign_of(data, part))


def remove_sign(data: Path, part: str) -> None:
    """Remove the sign of ``part``, which has ended, so that the next one is known to come from its next process."""
    sign_of(data, part).unlink(missing_ok=True)


def has_given_sign(data: Path, part: str) -> bool:
    """Tell whether ``part`` gave a sign since ``remove_sign``."""
    return sign_of(data, part).exists()


def last_sign(data: Path, part: str) -> int | None:
    """Return a number that changes with each sign of the loop of ``part``; None when there is none."""
    return _changed_ns(sign_of(data, part))


def is_alive(data: Path, part: str) -> bool:
    """Tell whether the last sign of ``part`` is younger than ``STALE_AFTER_S``. Works across containers that share the folder."""
    return is_young(seconds_since(sign_of(data, part)), STALE_AFTER_S)


def give_work_sign(data: Path, part: str) -> None:
    """Show that ``part`` has finished something, a probe at least. Never raises."""
    _touch(_worked(data, part))


def give_busy_sign(data: Path, part: str) -> None:
    """Show that ``part`` is in the middle of something that takes long. Never raises."""
    _touch(_busy(data, part))


def last_work(data: Path, part: str) -> int | None:
    """Return a number that changes with each sign of work that ``part`` gives; None when it never gave one."""
    times = [time for time in map(_changed_ns, (_worked(data, part), _busy(data, part))) if time is not None]
    return max(times, default=None)


def worked_s_ago(data: Path, part: str) -> float | None:
    """Return how long ago ``part`` gave its last sign of work; None when it never gave one."""
    last = last_work(data, part)
    return None if last is None else _now_s() - last / 1e9


def seconds_since(sign: Path) -> float | None:
    """Return the age of a sign; negative when the clock was set back since; None when there is none."""
    changed = _changed_ns(sign)
    return None if changed is None else _now_s() - changed / 1e9


def is_young(age_s: float | None, limit_s: float) -> bool:
    """Tell whether a sign of this age counts. One from far in the future is left from before the clock was set back."""
    return age_s is not None and abs(age_s) < limit_s


def _worked(data: Path, part: str) -> Path:
    return data / "run" / f"{part}.worked"


def _busy(data: Path, part: str) -> Path:
    return data / "run" / f"{part}.busy"


def _touch(sign: Path) -> None:
    with suppress(OSError):
        sign.touch(mode=0o600)


def _changed_ns(sign: Path) -> int | None:
    try:
        return sign.stat().st_mtime_ns
    except OSError:
        return None


def _now_s() -> float:
    return datetime.now(UTC).timestamp()
