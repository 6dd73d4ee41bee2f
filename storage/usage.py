"""Usage: what each library takes of its quota, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.admission import used_by_library
from models.database import Database
from storage.quotas import Quotas

NEAR = 0.85
"""From this part of a limit on somebody should make room, or raise it."""

State = Literal["unlimited", "fine", "near", "full"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a library takes: stored bytes of all its revisions. ``limit_bytes`` None: no limit. ``share`` may be above 1."""

    library_id: str
    used_bytes: int
    limit_bytes: int | None

    @property
    def share(self) -> float | None:
        """Which part of the limit is used."""
        return None if self.limit_bytes is None else self.used_bytes / self.limit_bytes

    @property
    def state(self) -> State:
        """How near the limit is; full when not even a small document fits."""
        if self.share is None:
            return "unlimited"
        return "full" if self.share >= 0.999 else "near" if self.share >= NEAR else "fine"


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """All libraries, those nearest to their limit first, and all together (its ``library_id`` is empty)."""

    libraries: Sequence[Usage]
    total: Usage

    @property
    def tight(self) -> list[Usage]:
        """Those that are near their limit, or at it."""
        return [one for one in (self.total, *self.libraries) if one.state in {"near", "full"}]


def report_quotas(database: Database, quotas: Quotas, library_id: str | None = None) -> QuotaReport:
    """Return what is used of every quota; of one library's, and of the total, when one is named."""
    with database.read() as connection:
        used = used_by_library(connection)
    total = Usage("", sum(used.values()), quotas.total_bytes)
    names = used if library_id is None else [library_id]
    libraries = [Usage(name, used.get(name, 0), quotas.of(name)) for name in names]
    return QuotaReport(sorted(libraries, key=lambda one: (-(one.share or -1.0), -one.used_bytes, one.library_id)), total)
