"""Who else may hold what is erased: backups, copies elsewhere. Each says so itself; an erasure names them and changes none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that holds erased content: what it is, and what lets go of it."""

    where: str
    what: str
    remedy: str


class Holders(Protocol):
    """Knows copies beyond the data folder's own. A backup target is one."""

    def holding(self, segments: Collection[str], contents: Collection[str]) -> Iterable[Holding]:
        """Yield what holds one of these segments (digests of their bytes) or contents, by what it has recorded itself."""
        ...
