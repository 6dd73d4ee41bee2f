"""The journal's vocabulary of names: what a library is called from then on, and what else means it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Renamed:
    """The library is called ``to`` from now on; all that was told of it before is of that one. Its old id becomes an alias."""

    key: ClassVar[str] = "renamed"
    library_id: str
    to: str
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Aliased:
    """The name ``alias`` means this library, too."""

    key: ClassVar[str] = "aliased"
    library_id: str
    alias: str
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unaliased:
    """It does no longer."""

    key: ClassVar[str] = "unaliased"
    library_id: str
    alias: str
    at: datetime
    by: str
    why: str = ""


Naming = Renamed | Aliased | Unaliased
