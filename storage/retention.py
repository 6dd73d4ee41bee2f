"""Retention: which versions of a library are kept, which go, and why. Pure: no files, no database, the clock is an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a version; ``size_bytes`` are its stored bytes."""

    number: int
    stored_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version as a policy sees it: its revisions, oldest first, the last being the current one.

    ``order`` is where it stands among the versions of its library (storage/ordering.py); the greater, the newer.
    """

    library_id: str
    version: str
    order: tuple[int, str]
    revisions: tuple[Revision, ...]
    latest: bool = False
    pinned: bool = False
    labels: tuple[str, ...] = ()

    @property
    def stored_at(self) -> datetime:
        """When the current revision was stored."""
        return self.revisions[-1].stored_at

    @property
    def is_protected(self) -> bool:
        """Whether no policy may remove it."""
        return self.latest or self.pinned or bool(self.labels)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept. A version stays when any rule keeps it; where no rule is about versions, all of them stay.

    ``hourly`` to ``yearly``: the newest version of each of the last so many hours, days ... in which anything was stored.
    ``within``: whatever was stored so long before the newest. ``max_bytes``: of what the rules keep, the newest that fit.
    ``keep_revisions``: so many revisions of each version, the newest.
    """

    keep_last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta | None = None
    max_bytes: int | None = None
    keep_revisions: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all: somebody forgot it, or mistyped it."""
        return self == Policy()

    @property
    def keeps_by_rule(self) -> bool:
        """Whether any rule says which versions to keep."""
        return bool(self.keep_last or self.within is not None or any(getattr(self, rule) for rule in _PERIODS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a version, and why. ``revisions`` are those that go: all of them, or the older ones of one that stays."""

    library_id: str
    version: str
    keep: bool
    reason: str
    revisions: tuple[Revision, ...] = ()


def plan_library(candidates: Iterable[Candidate], policy: Policy, now: datetime) -> list[Verdict]:
    """Return what becomes of each version of one library, the newest first.

    The latest version, pinned and labelled ones always stay; of the latter two every revision. Times count from the newest
    version (from now, when a clock ran ahead), so that a library which nobody stores into any more loses nothing by waiting.

    Raises:
        ValueError: the policy is empty, or the versions are of several libraries.
    """
    if policy.is_empty:
        raise ValueError("an empty policy keeps nothing: say what is to be kept")
    versions = sorted(candidates, key=_newest_first, reverse=True)
    if len({one.library_id for one in versions}) > 1:
        raise ValueError("a plan is made for each library by itself")
    reasons = _kept_by_rules(versions, policy, now)
    too_much = _too_much(versions, reasons, policy)
    unkept = f"no rule keeps it ({', '.join(described(policy))})"
    full = f"the library's newer versions fill its {policy.max_bytes:,} bytes" if too_much else ""
    return [
        _kept(one, reasons[one.version], policy)
        if one.version in reasons and one.version not in too_much
        else Verdict(one.library_id, one.version, False, full if one.version in too_much else unkept, one.revisions)
        for one in versions
    ]


def keep_all(candidates: Iterable[Candidate]) -> list[Verdict]:
    """Return that every version stays, for a library that no policy is meant for."""
    versions = sorted(candidates, key=_newest_first, reverse=True)
    return [Verdict(one.library_id, one.version, keep=True, reason="no policy is meant for it") for one in versions]


def _stored_at(one: Candidate) -> datetime:
    return one.revisions[-1].stored_at


def _newest_first(one: Candidate) -> tuple[tuple[int, str], datetime, str]:
    return (one.order, one.stored_at, one.version)


def _kept_by_rules(versions: Sequence[Candidate], policy: Policy, now: datetime) -> Mapping[str, list[str]]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in versions:
        if one.is_protected:
            reasons[one.version] += _protections(one)
    for one in versions if not policy.keeps_by_rule else []:
        reasons[one.version].append("every version is kept")
    for number, one in enumerate(versions[: policy.keep_last], 1):
        reasons[one.version].append(f"number {number} of the last {policy.keep_last}")
    by_time = sorted(versions, key=_stored_at, reverse=True)  # of those stored at once the newest stays first
    for rule in _PERIODS:
        for version, period in _newest_of_each(by_time, rule, getattr(policy, rule)):
            reasons[version].append(f"the newest of {period} ({rule})")
    if policy.within is not None and versions:
        since = min(by_time[0].stored_at, now) - policy.within
        reason = f"stored within {span(policy.within)} of the newest"
        for one in takewhile(lambda one: one.stored_at >= since, by_time):
            reasons[one.version].append(reason)
    return reasons


def _protections(one: Candidate) -> list[str]:
    labels = [f"labelled {label}" for label in sorted(one.labels)]
    return [*(["latest"] if one.latest else []), *(["pinned"] if one.pinned else []), *labels]


def _newest_of_each(by_time: Sequence[Candidate], rule: str, count: int) -> list[tuple[str, str]]:
    """Return the versions that were stored last in each of the last ``count`` periods that have any, with their period."""
    found: dict[str, str] = {}
    for one in by_time if count else ():
        if found.setdefault(_PERIODS[rule](one.stored_at), one.version) == one.version and len(found) == count:
            break
    return [(version, period) for period, version in found.items()]


_PERIODS: Mapping[str, Callable[[datetime], str]] = MappingProxyType(
    {
        "hourly": lambda at: f"{at:%Y-%m-%d %H}h",
        "daily": lambda at: f"{at:%Y-%m-%d}",
        "weekly": lambda at: f"{at:%G-W%V}",
        "monthly": lambda at: f"{at:%Y-%m}",
        "yearly": lambda at: f"{at:%Y}",
    }
)


def _too_much(versions: Sequence[Candidate], reasons: Mapping[str, list[str]], policy: Policy) -> set[str]:
    """Return the versions that rules keep and that do not fit: the oldest, from the first that is too much on."""
    if policy.max_bytes is None:
        return set()
    room = policy.max_bytes - sum(_staying_bytes(one, policy) for one in versions if one.is_protected)
    found: set[str] = set()
    for one in versions:
        if one.is_protected or not reasons.get(one.version):
            continue
        room -= _staying_bytes(one, policy)
        if room < 0:
            found.add(one.version)
    return found


def _kept(one: Candidate, reasons: Sequence[str], policy: Policy) -> Verdict:
    return Verdict(one.library_id, one.version, keep=True, reason="; ".join(reasons), revisions=_going(one, policy))


def _going(one: Candidate, policy: Policy) -> tuple[Revision, ...]:
    """Return the older revisions that go of a version that stays."""
    if policy.keep_revisions is None or one.pinned or one.labels:
        return ()
    return one.revisions[: -policy.keep_revisions]


def _staying_bytes(one: Candidate, policy: Policy) -> int:
    return sum(revision.size_bytes for revision in one.revisions) - sum(gone.size_bytes for gone in _going(one, policy))


def described(policy: Policy) -> list[str]:
    """Return a policy's rules in words, as they were set."""
    rules = [f"{name} {getattr(policy, name)}" for name in ("keep_last", *_PERIODS) if getattr(policy, name)]
    if policy.within is not None:
        rules.append(f"within {span(policy.within)}")
    if policy.max_bytes is not None:
        rules.append(f"max_size {policy.max_bytes:,}")
    if policy.keep_revisions is not None:
        rules.append(f"keep_revisions {policy.keep_revisions}")
    return rules


def span(time: timedelta) -> str:
    """Return a time span as people say it: 90 days, 36 hours."""
    hours = time // timedelta(hours=1)
    count, unit = (hours // 24, "day") if hours % 24 == 0 else (hours, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'}"
