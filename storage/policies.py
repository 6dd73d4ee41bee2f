"""Policies as people set them: JSON that says for which libraries which retention holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from storage.patterns import most_exact
from storage.retention import Policy
from storage.sizes import NO_SIZE, parse_size
from strongroom.errors import ConfigurationError

ALL = "all"
"""In place of a policy: every version is kept."""

_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
_SPAN = re.compile(r"(?:[1-9][0-9]{0,5}[hdwy])+")
_COUNTS = tuple(one.name for one in fields(Policy) if one.name not in {"within", "max_bytes"})
_MOST = 1_000_000_000
_LONGEST = timedelta(days=365_000)


@dataclass(frozen=True, slots=True)
class Policies:
    """Policies by pattern of library ids; None stands for keeping all. Of the patterns that match, the most exact one holds."""

    by_pattern: Mapping[str, Policy | None]

    def __bool__(self) -> bool:
        """Whether any is set."""
        return bool(self.by_pattern)

    def of(self, library_id: str) -> Policy | None:
        """Return the policy of a library; None when all of it is kept."""
        pattern = most_exact(self.by_pattern, library_id)
        return None if pattern is None else self.by_pattern[pattern]


def parse_policies(told: Mapping[str, Any], setting: str = "STRONGROOM_RETENTION") -> Policies:
    """Return the policies that a setting tells: ``{"*": {"keep_last": 5, "within": "90d"}, "/legal/*": "all"}``.

    Raises:
        ConfigurationError: one of them is empty, or says something that no policy can; the message names it.
    """
    return Policies({pattern: _parse(rules, f"{setting}: the policy for {pattern!r}") for pattern, rules in told.items()})


def parse_policy(told: Mapping[str, Any], where: str = "the policy") -> Policy:
    """Return one policy.

    Raises:
        ConfigurationError: as ``parse_policies``.
    """
    known = {*_COUNTS, "within", "max_size"}
    if strange := sorted(set(told) - known):
        raise ConfigurationError(
            f"{where} has {', '.join(strange)}, which says nothing.", f"It may have {', '.join(sorted(known))}."
        )
    rules: dict[str, Any] = {name: _count(told[name], f"{where}: {name}") for name in _COUNTS if name in told}
    if "within" in told:
        rules["within"] = _span(told["within"], f"{where}: within")
    if "max_size" in told:
        rules["max_bytes"] = _size(told["max_size"], f"{where}: max_size")
    if not rules:
        raise ConfigurationError(f"{where} is empty: it would keep nothing.", _SAY)
    return Policy(**rules)


_SAY = 'Say what is kept, such as {"keep_last": 5, "within": "90d"}; or "all" in place of a policy.'


def _parse(rules: object, where: str) -> Policy | None:
    if rules == ALL:
        return None
    if not isinstance(rules, Mapping):
        raise ConfigurationError(f"{where} is neither an object of rules nor {ALL!r}.", _SAY)
    return parse_policy(rules, where)


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise ConfigurationError(f"{where} must be a whole number from 1 on.", "Leave a rule out that is not to count.")
    return value


def _span(value: object, where: str) -> timedelta:
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        raise ConfigurationError(f"{where} is no time span.", "Write 90d, 12h, 6w, 1y or several of them: 1y6w.")
    parts = [int(count) * _SPANS[unit] for count, unit in re.findall(r"([0-9]+)([hdwy])", value)]
    total = sum(parts, timedelta())
    if total > _LONGEST:
        raise ConfigurationError(f"{where} is longer than a thousand years.", 'Say "all" in place of a policy to keep all.')
    return total


def _size(value: object, where: str) -> int:
    found = parse_size(value)
    if found is None:
        raise ConfigurationError(f"{where} is no size.", NO_SIZE)
    return found
