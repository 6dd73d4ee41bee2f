"""How it stands with drills: what the last one found, unless it is too long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from models.drills import DrillRow
from models.findings import Observation

Verdict = Literal["fresh", "stale", "failed", "never"]
VERDICTS: tuple[Verdict, ...] = ("fresh", "stale", "failed", "never")
DRILLS = frozenset({"drill_failed", "drill_late"})
"""The findings that are drills' own."""


def standing(last: DrillRow | None, max_age_days: int, now: datetime) -> Verdict:
    """Return how it stands: a drill that was well is stale when it is too long ago, one that failed stays failed."""
    if last is None:
        return "never"
    for verdict in VERDICTS:
        if last.verdict == verdict != "fresh":
            return verdict
    return "stale" if _is_late(last.at, max_age_days, now) else "fresh"


def observe_drills(
    drills: Sequence[DrillRow], backup: datetime | None, since: datetime | None, max_age_days: int, now: datetime
) -> list[Observation]:
    """Return what is wrong. ``backup``: when the last good backup began; ``since``: since when somebody looks."""
    last = drills[0] if drills else None
    if last is not None and last.verdict == "failed":
        said = "; ".join(map(str, last.details.get("problems", [])[:3]))
        return [Observation("drill_failed", "", "", f"the drill of {last.at:%Y-%m-%d %H:%M} UTC failed: {said}")]
    looked_at = last.at if last else since
    if backup is None or looked_at is None or not _is_late(looked_at, max_age_days, now):
        return []  # where there is no backup, that is what is told
    words = f"no drill was made since {last.at:%Y-%m-%d %H:%M} UTC" if last else "no drill was ever made"
    return [Observation("drill_late", "", "", f"{words}, and one every {max_age_days} days is wanted")]


def _is_late(at: datetime, max_age_days: int, now: datetime) -> bool:
    return max_age_days > 0 and now - at > timedelta(days=max_age_days)
