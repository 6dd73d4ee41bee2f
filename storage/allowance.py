"""Allowance: whether a library may grow by what is about to be committed. Asked inside the commit, so that a quota is hard."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from models.admission import returnable_bytes, used_bytes
from models.history import already_there
from models.rows import NewSegment
from models.sweeping import known_segments
from storage.layout import DataFolder
from storage.outcome import Outcome
from storage.quotas import Quotas
from storage.sizes import in_words
from strongroom import durable
from strongroom.errors import QuotaExceeded

FASTEST_BYTES_S = 4 << 30
"""Nobody stores faster: far below a limit it is enough to have looked a while ago. To sum up a million versions takes time."""

_Name = str | None
"""A library; None for all together."""


@dataclass(frozen=True, slots=True)
class _Look:
    used_bytes: int
    """With what is removed and may come back at once: a sum that nothing but a store has grow."""
    at_s: float


class Allowance:
    """What the quotas leave to each library of one catalogue. Calls may come from several threads."""

    def __init__(self, quotas: Quotas, clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas, self._clock = quotas, clock
        self._looks: dict[_Name, _Look] = {}

    def refuse(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Fail those of these documents that would have a library, or all together, take more than its quota; return them.

        In the write transaction that commits the others. What changes nothing is never failed.
        """
        if not self._quotas:
            return []
        there = already_there(connection, [(one.named.file_path, one.known.content_sha256) for one in outcomes])
        growing = [one for index, one in enumerate(outcomes) if index not in there]
        wanted: Counter[_Name] = Counter()
        for one in growing:
            wanted.update(dict.fromkeys((one.named.library_id, None), one.stored_bytes))
        tight = {name: used for name, needed in wanted.items() if (used := self._used(connection, name, needed)) is not None}
        return [one for one in growing if self._is_over(one, tight)] if tight else []

    def require(self, connection: Connection, growth: Mapping[str, int]) -> None:
        """Make sure that libraries may grow by so many bytes for a person who asks; in the transaction that has them grow.

        Raises:
            QuotaExceeded: one of them may not, or all together may not.
        """
        wanted: list[tuple[_Name, int]] = [*growth.items(), (None, sum(growth.values()))]
        for name, needed in wanted:
            used = self._used(connection, name, needed) if needed > 0 else None
            if used is not None:
                library_id = name if name is not None else max(growth, key=lambda one: growth[one])
                raise self._error(name, used, needed, library_id, BY_HAND)

    def has_room(self, connection: Connection, wanted: Mapping[_Name, int]) -> bool:
        """Whether each of these libraries may grow by so many bytes now."""
        return all(self._used(connection, name, needed) is None for name, needed in wanted.items())

    def could_have_room(self, wanted: Mapping[_Name, int]) -> bool:
        """Whether these libraries might grow by so many bytes if nothing else were stored."""
        return all((limit := self._limit(name)) is None or needed <= limit for name, needed in wanted.items())

    def _limit(self, name: _Name) -> int | None:
        return self._quotas.total_bytes if name is None else self._quotas.of(name)

    def _used(self, connection: Connection, name: _Name, needed: int) -> int | None:
        """Return what a library takes when it cannot grow by so many bytes; None when it can."""
        limit = self._limit(name)
        if limit is None:
            return None
        look, now_s = self._looks.get(name), self._clock()
        if look is not None and look.used_bytes + (now_s - look.at_s) * FASTEST_BYTES_S + needed <= limit:
            return None
        used = used_bytes(connection, name)
        if used + needed + FASTEST_BYTES_S <= limit:  # else it would not be good for a second
            self._looks[name] = _Look(used + returnable_bytes(connection, name), now_s)
        return used if used + needed > limit else None

    def _is_over(self, one: Outcome, tight: dict[_Name, int]) -> bool:
        """Fail a document for which there is no room; else take its bytes from what is left."""
        names = [name for name in (one.named.library_id, None) if name in tight]
        for name in names:
            limit = self._limit(name)
            assert limit is not None
            if tight[name] + one.stored_bytes > limit:
                one.error = self._error(name, tight[name], one.stored_bytes, one.named.library_id)
                return True
        for name in names:
            tight[name] += one.stored_bytes
        return False

    def _error(self, name: _Name, used: int, needed: int, library_id: str, hint: str | None = None) -> QuotaExceeded:
        limit = self._limit(name)
        assert limit is not None
        who = f"{name} takes" if name is not None else "All libraries together take"
        words = f"{who} {in_words(used)} of {in_words(limit)}: there is no room for {in_words(needed)} more."
        context = {"library_id": library_id, "needs_bytes": needed, "quota_of": name or "total"}
        return QuotaExceeded(words, hint, {**context, "used_bytes": used, "limit_bytes": limit})


BY_HAND = (
    "`strongroom quota` shows what is used: remove versions (`strongroom cleanup`) or raise STRONGROOM_QUOTAS. "
    "With STRONGROOM_QUOTAS='{}' before it, a command looks at no quota this once."
)
"""The hint where a person waits for the answer, and no job does."""


def discard(connection: Connection, folder: DataFolder, segments: Iterable[NewSegment]) -> None:
    """Remove segments that this store has written and that no row names, inside a write transaction.

    Another store may have written the same one and not have committed: it looks in its own commit whether the file is in place.
    """
    names = [one.segment_sha256 for one in segments]
    for name in sorted(set(names) - known_segments(connection, names)):
        with durable.os_errors("cannot remove a segment that is not used"):
            folder.index(name).unlink(missing_ok=True)  # first: what has no index is known to be garbage
            folder.segment(name).unlink(missing_ok=True)
