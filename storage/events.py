"""The journal's vocabulary: what was done to versions after they were stored (see docs/reference/disk-format.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from storage.index import VersionRecord, record_from_json
from storage.journal import append_journal, read_journal
from storage.library_events import Erased, ErasedFromBackups, Exported, Imported
from storage.name_events import Aliased, Naming, Renamed, Unaliased


@dataclass(frozen=True, slots=True)
class Void:
    """The record of a version with this ``stored_at`` and this content never came to be."""

    key: ClassVar[str] = "void"
    library_id: str
    version: str
    stored_at: datetime
    content_sha256: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The revision with the number ``revision``, stored at ``stored_at``, is removed; by a plan, if ``plan_id`` names one.

    ``content_sha256`` is what it held; empty in entries of releases that did not tell.
    """

    key: ClassVar[str] = "removed"
    library_id: str
    version: str
    stored_at: datetime
    revision: int
    at: datetime
    by: str
    why: str = ""
    plan_id: str = ""
    content_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """That removal is undone."""

    key: ClassVar[str] = "restored"
    library_id: str
    version: str
    stored_at: datetime
    revision: int
    at: datetime
    by: str
    why: str = ""
    plan_id: str = ""


@dataclass(frozen=True, slots=True)
class Purged:
    """That removal cannot be undone any more: its grace period was over, and its content may go."""

    key: ClassVar[str] = "purged"
    library_id: str
    version: str
    stored_at: datetime
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Pinned:
    """No policy removes this version."""

    key: ClassVar[str] = "pinned"
    library_id: str
    version: str
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unpinned:
    """Policies decide about it again."""

    key: ClassVar[str] = "unpinned"
    library_id: str
    version: str
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The label names this version of the library; none, when ``version`` is None."""

    key: ClassVar[str] = "labelled"
    library_id: str
    label: str
    version: str | None
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class LatestHeld:
    """``latest`` means this version; the one that orders newest again, when ``version`` is None.

    It holds until a version whose first record was stored later than ``at`` orders newest.
    """

    key: ClassVar[str] = "latest"
    library_id: str
    version: str | None
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The revision stored at ``stored_at`` has the content of the one stored at ``to_stored_at``: by whom and why."""

    key: ClassVar[str] = "rolled_back"
    library_id: str
    version: str
    stored_at: datetime
    to_stored_at: datetime
    at: datetime
    by: str
    why: str = ""


Silent = Void | Purged
"""What nobody did: the audit trail does not tell of it."""
Told = Naming | Exported | Imported | Erased | ErasedFromBackups
"""What tells of whole libraries, by their ids alone."""
Done = Removed | Restored | Pinned | Unpinned | Labelled | LatestHeld | RolledBack | Told
Event = Silent | Done
_KINDS: tuple[type[Event], ...] = (
    *(Void, Removed, Restored, Purged, Pinned, Unpinned, Labelled, LatestHeld, RolledBack),
    *(Renamed, Aliased, Unaliased, Exported, Imported, Erased, ErasedFromBackups),
)
_KIND_OF = {kind.key: kind for kind in _KINDS}
_TIMES = ("at", "stored_at", "to_stored_at", "since", "until")


REDACTED = "." * 64
"""What stands where the digest of an erased content stood, in what is told of another library's revision that was given up."""


def as_entry(event: Event | VersionRecord) -> dict[str, Any]:
    """Return the journal entry that tells of an event: one key, its kind. Empty texts are left out."""
    if isinstance(event, VersionRecord):
        return {"version": event.as_json()}
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {event.key: {name: value for name, value in values.items() if value != ""}}


def parse_entry(entry: Mapping[str, Any]) -> Event | VersionRecord | None:
    """Return what an entry tells of; None for a kind of a later format, whose fields are not looked at.

    Fields that a later release has added are passed over.

    Raises:
        KeyError, TypeError, ValueError: the entry lacks a field, or has one of another type.
    """
    ((key, told),) = entry.items()
    if key == "version":
        return record_from_json(told)
    kind = _KIND_OF.get(key)
    if kind is None:
        return None
    values: dict[str, Any] = {field.name: told[field.name] for field in fields(kind) if field.name in told}  # as JSON has them
    values.update({name: datetime.fromisoformat(values[name]) for name in _TIMES if values.get(name)})
    return kind(**values)


def append_events(journal: Path, events: Iterable[Event | VersionRecord]) -> None:
    """Add events durably, in one write.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    append_journal(journal, map(as_entry, events))


def read_events(journal: Path) -> Iterator[Event | VersionRecord]:
    """Yield what the journal tells of, oldest entry first; torn and damaged lines and later formats' entries are passed over."""
    for entry in read_journal(journal):
        event = parse_entry(entry)
        if event is not None:
            yield event
