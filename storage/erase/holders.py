"""Who else may hold what is erased: backups, copies elsewhere. Each says so itself; an erasure names them and changes none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from storage.erase.scope import Scope


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that holds erased content: what it is, and what lets go of it."""

    where: str
    what: str
    remedy: str


class Holders(Protocol):
    """Knows copies beyond the data folder's own. A backup target is one."""

    def holding(self, scope: Scope, contents: Collection[str]) -> Iterable[Holding]:
        """Yield what holds, or may, what is told of this scope, or one of these contents, by what it has recorded itself."""
        ...
