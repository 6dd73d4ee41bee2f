"""Watermarks: how full the disk is, how long it will last, and from when on somebody should know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from models.admission import added_bytes
from models.database import Database
from storage.governor import Governor, Space
from storage.layout import DataFolder
from storage.sizes import in_words

LOW_LEFT, CRITICAL_LEFT = timedelta(days=7), timedelta(hours=6)
"""As bad as a watermark: the disk will be full within this time, as fast as it was filled during the last day."""

CALM = 0.02
"""What has been told is over when so much less of the disk is used than when it began: else it would begin again each minute."""

Level = Literal["fine", "low", "critical"]


@dataclass(frozen=True, slots=True)
class Watermarks:
    """From which part of the disk on space is low, and critical."""

    low: float = 0.85
    critical: float = 0.95


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """A disk. ``bytes_per_day`` is what was stored during the last day; None: not known."""

    level: Level
    space: Space
    reserve_bytes: int
    bytes_per_day: float | None = None

    @property
    def used_share(self) -> float:
        """Which part of the disk is not free."""
        return 1 - self.space.free_bytes / self.space.total_bytes if self.space.total_bytes else 0.0

    @property
    def room_bytes(self) -> int:
        """What is free above the reserve; negative when that is being used."""
        return self.space.free_bytes - self.reserve_bytes

    @property
    def left(self) -> timedelta | None:
        """When the disk will be full, as far as can be told; None when nothing was stored during the last day, or in years."""
        if not self.bytes_per_day:
            return None
        days = max(0, self.room_bytes) / self.bytes_per_day
        return timedelta(days=days) if days < 3650 else None

    def words(self) -> str:
        """Return it as people read it."""
        told = f"{self.used_share:.0%} used, {in_words(self.space.free_bytes)} of {in_words(self.space.total_bytes)} free"
        if self.room_bytes <= 0:
            told += f"; the reserve of {in_words(self.reserve_bytes)} is being used, jobs wait"
        elif self.left is not None and self.bytes_per_day is not None and self.left < timedelta(days=60):
            told += f"; full in {_span(self.left)} at {in_words(self.bytes_per_day)} a day"
        return told


def report_space(
    governor: Governor, marks: Watermarks, bytes_per_day: float | None = None, *, before: Level = "fine"
) -> SpaceReport:
    """Look at the disk. ``before`` is the level that people know of: it takes a little more to be better again.

    Raises:
        StorageError: the operating system does not say.
    """
    space = governor.space()
    seen = SpaceReport("fine", space, governor.reserve_bytes(space), bytes_per_day)
    level: Level = "fine"
    if _is_beyond(seen, marks.low - (CALM if before != "fine" else 0), LOW_LEFT):
        level = "low"
    if _is_beyond(seen, marks.critical - (CALM if before == "critical" else 0), CRITICAL_LEFT) or seen.room_bytes <= 0:
        level = "critical"
    return SpaceReport(level, space, seen.reserve_bytes, bytes_per_day)


def daily_bytes(database: Database, now: datetime) -> float:
    """Return how many bytes were stored during the last day.

    Raises:
        StorageError: the catalogue does not answer.
    """
    with database.read() as connection:
        return float(added_bytes(connection, now - timedelta(days=1)))


def what_helps(folder: DataFolder) -> str:
    """Return the command that frees most: the trash is emptied before its time, else less is kept."""
    if any(_trashed(folder)):
        return "STRONGROOM_GRACE_HOURS=1 strongroom cleanup sweep"
    return "strongroom cleanup (docs/how-to/disk-full.md says what else may go)"


def _trashed(folder: DataFolder) -> Iterator[str]:
    if folder.trash.is_dir():
        yield from (path.name for path in folder.trash.iterdir() if path.name.startswith("swept-"))


def _is_beyond(report: SpaceReport, mark: float, within: timedelta) -> bool:
    return report.used_share >= mark or (report.left is not None and report.left <= within)


def _span(time: timedelta) -> str:
    hours = time.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"
