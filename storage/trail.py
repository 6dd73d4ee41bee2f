"""The trail: whatever is changed by hand or by a policy is journalled and audited, inside the transaction that changes it.

The transaction is open while the journal is written, so that the journal has the order of the commits, and what was looked at
before is still so. Such changes are few, and an append costs one fsync. (Rejected: journal first, commit later, as stores do:
another change may come in between, and then the journal tells of something that never was.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from models.curation import AuditRow, add_audit
from models.database import Database
from storage.events import Event, Silent, append_events, parse_entry
from storage.index import VersionRecord
from storage.layout import DataFolder

_COLUMNS = ("library_id", "version", "at", "by", "why")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Archive:
    """A data folder and its catalogue, for those who change what is said of versions. Any process may, at any time."""

    folder: DataFolder
    database: Database
    clock: Callable[[], datetime] = _now


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, such as ``person:ada``, ``schedule`` or ``producer:crawler``, and why."""

    by: str
    why: str = ""


def behind(now: datetime, before: datetime | None) -> datetime:
    """Return a time that is behind another, whatever the clock says: a rebuild goes by the times."""
    return now if before is None else max(now, before + timedelta(microseconds=1))


def record_events(journal: Path, connection: Connection, events: Sequence[Event | VersionRecord]) -> None:
    """Make events durable in the journal, and add those that somebody did to the audit trail of the open transaction.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing of the transaction should be committed.
    """
    append_events(journal, events)
    add_audit(connection, [audit_row(one) for one in events if not isinstance(one, VersionRecord | Silent)])


def audit_row(event: Event) -> AuditRow:
    """Return the row of the audit trail that tells of an event: a rebuild makes it again from the journal alone."""
    assert not isinstance(event, Silent)  # nobody did it
    named = {field.name: getattr(event, field.name) for field in fields(event)}
    details = {name: _plain(value) for name, value in named.items() if name not in _COLUMNS and value != ""}
    return AuditRow(event.at, event.by, event.key, event.library_id, named.get("version") or "", event.why, details)


def event_of(row: AuditRow) -> Event:
    """Return the event that a row of the audit trail tells of, as it was journalled: what ``audit_row`` has undone.

    Raises:
        KeyError, TypeError, ValueError: it tells of none.
    """
    told = {"library_id": row.library_id, "at": row.at.isoformat(), "by": row.by, "why": row.why, **row.details}
    event = parse_entry({row.action: told})
    if event is None or isinstance(event, VersionRecord):
        raise ValueError(f"{row.action} is no event")
    return event


def _plain(value: object) -> Any:  # JSON
    return value.isoformat() if isinstance(value, datetime) else value
