"""What a policy would do in the days to come, if uploads go on as they did. Pure, like the plan itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from storage.retention import Candidate, Policy, Revision, plan_library

SEEN = timedelta(days=30)
"""Uploads of so many days until now are taken for what will come."""
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Day:
    """One day of the future: what would be stored, removed and kept of everything looked at, in versions and stored bytes."""

    day: date
    stored: int = 0
    removed: int = 0
    kept: int = 0
    kept_bytes: int = 0
    going: list[str] = field(default_factory=list)
    """The first few versions that would go that day."""


_NAMED = 20


def begin(now: datetime, days: int) -> list[Day]:
    """Return the days to come, tomorrow first."""
    return [Day((now + number * _DAY).date()) for number in range(1, days + 1)]


def simulate(calendar: Sequence[Day], candidates: Iterable[Candidate], policy: Policy | None, now: datetime) -> None:
    """Add to the days of ``calendar`` what would become of one library under its policy; None keeps all of it.

    Each day brings again what came 30, 60, 90 ... days before, as new versions that order newest, or as new revisions of these.
    """
    versions = {one.version: one for one in candidates}
    uploads = _by_day(_uploads(versions.values(), now, len(calendar)), now)
    for number, day in enumerate(calendar, 1):
        for upload in uploads.get(number, []):
            day.stored += 1
            versions = _upload(versions, upload)
        if policy is not None and versions and (number == 1 or uploads.get(number)):
            versions = _clean(versions, policy, now + number * _DAY, day)
        day.kept += len(versions)
        day.kept_bytes += sum(revision.size_bytes for one in versions.values() for revision in one.revisions)


@dataclass(frozen=True, slots=True)
class _Upload:
    version: str
    revision: Revision
    order: tuple[int, str]


def _uploads(versions: Iterable[Candidate], now: datetime, days: int) -> Iterator[_Upload]:
    """Yield what will be stored, oldest first."""
    known = list(versions)
    recent = [(one, revision) for one in known for revision in one.revisions if now - SEEN < revision.stored_at <= now]
    recent.sort(key=lambda pair: (pair[1].stored_at, pair[0].version))
    rank, key = max((one.order for one in known), default=(0, ""))
    for turn in range(1, days // SEEN.days + 2):
        for number, (one, revision) in enumerate(recent):
            again = replace(revision, stored_at=revision.stored_at + turn * SEEN)
            # A key that goes on where the newest ends is above it; numbers of equal length order as text.
            yield _Upload(f"{one.version} (+{turn * SEEN.days} d)", again, (rank, f"{key}~{turn:04}{number:08}"))


def _by_day(uploads: Iterable[_Upload], now: datetime) -> dict[int, list[_Upload]]:
    found: dict[int, list[_Upload]] = defaultdict(list)
    for one in uploads:
        found[-((now - one.revision.stored_at) // _DAY)].append(one)
    return found


def _upload(versions: dict[str, Candidate], upload: _Upload) -> dict[str, Candidate]:
    there = versions.get(upload.version)
    if there is not None:
        return versions | {upload.version: replace(there, revisions=(*there.revisions, upload.revision))}
    library_id = next(iter(versions.values())).library_id if versions else ""
    new = Candidate(library_id, upload.version, upload.order, (upload.revision,), latest=True)
    return {name: replace(one, latest=False) if one.latest else one for name, one in versions.items()} | {new.version: new}


def _clean(versions: dict[str, Candidate], policy: Policy, now: datetime, day: Day) -> dict[str, Candidate]:
    left = dict(versions)
    for verdict in plan_library(versions.values(), policy, now):
        if not verdict.keep:
            del left[verdict.version]
            day.removed += 1
            if len(day.going) < _NAMED:
                day.going.append(f"{verdict.library_id} {verdict.version}")
        elif verdict.revisions:
            one = left[verdict.version]
            left[verdict.version] = replace(one, revisions=one.revisions[len(verdict.revisions) :])
    return left
