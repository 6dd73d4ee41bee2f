"""The journal's vocabulary of whole libraries: they went into a file or came from one, and were erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Exported:
    """So many revisions of the library were written into a file that may be anywhere by now."""

    key: ClassVar[str] = "exported"
    library_id: str
    revisions: int
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """So many revisions of the library came from an export file; each has its record."""

    key: ClassVar[str] = "imported"
    library_id: str
    revisions: int
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was told of this version, or of all of the library when it is None, up to ``at`` never was: it is gone for good.

    ``since`` is when the first of its contents was stored, by whatever library; None where nothing told.
    """

    key: ClassVar[str] = "erased"
    library_id: str
    version: str | None
    revisions: int
    at: datetime
    by: str
    why: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ErasedFromBackups:
    """No backup in that repository, at that place, holds any more what was erased up to ``until``; so many had to go for that."""

    key: ClassVar[str] = "erased_from_backups"
    library_id: str
    version: str | None
    repository_id: str
    place: str
    backups: int
    until: datetime
    at: datetime
    by: str
    why: str = ""
