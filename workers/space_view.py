"""How full the disk is and what the quotas leave, as doctor, status and the metrics show it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from config.settings import Settings
from models.database import Database
from storage.governor import Governor
from storage.layout import DataFolder
from storage.quotas import parse_quotas
from storage.sizes import in_words
from storage.usage import QuotaReport, report_quotas
from storage.watermarks import Level, SpaceReport, daily_bytes, report_space, what_helps
from strongroom.errors import DataFolderError, StorageError
from workers.prepare import watermarks_of

State = Literal["fine", "note", "trouble"]
Verdict = tuple[State, str, str]
"""As a line of doctor: how bad it is, what was seen, what mends it."""

_STATES: Mapping[Level, State] = MappingProxyType({"fine": "fine", "low": "note", "critical": "trouble"})
_LEAST_FREE_INODES = 0.05
_NAMED = 3


def view_space(settings: Settings, database: Database | None, now: datetime) -> SpaceReport:
    """Look at the disk of the data folder; without a catalogue, or one that answers, it is not known how fast it fills.

    Raises:
        StorageError: the operating system does not say how much is free.
    """
    per_day = None
    if database is not None and _is_there(settings, database):
        with suppress(StorageError):
            per_day = daily_bytes(database, now)
    return report_space(Governor(settings.data_dir, settings.reserve_bytes), watermarks_of(settings), per_day)


def view_quotas(settings: Settings, database: Database) -> QuotaReport:
    """Look at what is used of the quotas.

    Raises:
        StorageError: the catalogue does not answer.
    """
    if not _is_there(settings, database):
        raise DataFolderError("There is no catalogue, and to ask for it would make one.")
    return report_quotas(database, parse_quotas(settings.quotas))


def _is_there(settings: Settings, database: Database) -> bool:
    return not database.is_sqlite or (settings.data_dir / "metadata" / "catalogue.db").exists()


def judge_space(settings: Settings, database: Database | None, now: datetime) -> Verdict:
    """Say whether there is enough space, and for how long."""
    report = view_space(settings, database, now)
    status = os.statvfs(settings.data_dir)
    if status.f_files and status.f_favail < status.f_files * _LEAST_FREE_INODES:
        return "trouble", f"{report.words()}, and hardly any inodes", "Remove small files from this file system."
    mend = "" if report.level == "fine" else what_helps(DataFolder(settings.data_dir))
    return _STATES[report.level], report.words(), mend


def judge_quotas(settings: Settings, database: Database) -> Verdict:
    """Say whether some library is near its quota."""
    if not settings.quotas:
        return "fine", "none is set", ""
    tight = view_quotas(settings, database).tight
    if not tight:
        return "fine", "all have room", ""
    named = [f"{one.library_id or 'all together'} {one.share:.0%} of {in_words(one.limit_bytes or 0)}" for one in tight[:_NAMED]]
    more = f" and {len(tight) - _NAMED} more" if len(tight) > _NAMED else ""
    return "trouble" if any(one.state == "full" for one in tight) else "note", ", ".join(named) + more, "strongroom quota"


def space_fields(report: SpaceReport) -> dict[str, Any]:  # JSON
    """Return the report for programs."""
    left = report.left
    return {
        "level": report.level,
        "total_bytes": report.space.total_bytes,
        "free_bytes": report.space.free_bytes,
        "reserve_bytes": report.reserve_bytes,
        "used_share": round(report.used_share, 4),
        "hours_until_full": None if left is None else round(left.total_seconds() / 3600, 1),
    }
