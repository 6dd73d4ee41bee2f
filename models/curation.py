"""Pins, labels, a ``latest`` by hand, and the audit trail: what people said about versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from models.libraries import correct_latest
from models.tables import Library, Version, table_of
from models.upkeep_tables import Audit, Label, Pin

_LIBRARY, _VERSION, _PIN, _LABEL, _AUDIT = (table_of(kind) for kind in (Library, Version, Pin, Label, Audit))


@dataclass(frozen=True, slots=True)
class PinRow:
    """A version that no policy removes."""

    library_id: str
    version: str
    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A name that a person gave to a version of a library."""

    library_id: str
    label: str
    version: str
    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A change to what is stored. ``action`` is the kind of its journal entry, where it has one."""

    at: datetime
    by: str
    action: str
    library_id: str
    version: str
    why: str
    details: Mapping[str, Any]  # JSON, by action


@dataclass(frozen=True, slots=True)
class Held:
    """What a library's ``latest`` means, and whether by hand, since ``at``. ``changed_at`` is when something was last stored."""

    version: str
    by_hand: bool
    at: datetime | None
    changed_at: datetime


def list_pins(connection: Connection, library_id: str | None = None, version: str | None = None) -> list[PinRow]:
    """Return the pins of everything, of a library, or of a version, by library and version."""
    columns = _PIN.c
    query = select(*(columns[name] for name in PinRow.__slots__)).order_by(columns.library_id, columns.version)
    if library_id is not None:
        query = query.where(columns.library_id == library_id)
    if version is not None:
        query = query.where(columns.version == version)
    return [PinRow(*row) for row in connection.execute(query)]


def put_pin(connection: Connection, pin: PinRow) -> None:
    """Add a pin to a version that has none."""
    connection.execute(insert(_PIN), {name: getattr(pin, name) for name in PinRow.__slots__})


def drop_pin(connection: Connection, library_id: str, version: str) -> None:
    """Remove a version's pin, if it has one."""
    connection.execute(delete(_PIN).where(_PIN.c.library_id == library_id, _PIN.c.version == version))


def list_labels(connection: Connection, library_id: str | None = None) -> list[LabelRow]:
    """Return the labels of everything or of a library, by library and label."""
    columns = _LABEL.c
    query = select(*(columns[name] for name in LabelRow.__slots__)).order_by(columns.library_id, columns.label)
    if library_id is not None:
        query = query.where(columns.library_id == library_id)
    return [LabelRow(*row) for row in connection.execute(query)]


def find_label(connection: Connection, library_id: str, label: str) -> str | None:
    """Return the version that a label names; None when there is no such label."""
    return connection.scalar(select(_LABEL.c.version).where(_LABEL.c.library_id == library_id, _LABEL.c.label == label))


def put_label(connection: Connection, label: LabelRow) -> None:
    """Have a label name a version, whatever it named before."""
    drop_label(connection, label.library_id, label.label)
    connection.execute(insert(_LABEL), {name: getattr(label, name) for name in LabelRow.__slots__})


def drop_label(connection: Connection, library_id: str, label: str) -> None:
    """Remove a label, if there is one."""
    connection.execute(delete(_LABEL).where(_LABEL.c.library_id == library_id, _LABEL.c.label == label))


def find_held(connection: Connection, library_id: str) -> Held | None:
    """Return what ``latest`` means; None when there is no such library."""
    columns = _LIBRARY.c
    query = select(columns.latest_version, columns.latest_held != "", columns.latest_held_at, columns.updated_at)
    row = connection.execute(query.where(columns.library_id == library_id)).first()
    return None if row is None else Held(row[0], bool(row[1]), row[2], row[3])


def hold_latest(connection: Connection, library_id: str, version: str | None, at: datetime) -> None:
    """Have ``latest`` mean this version, which must be there; the newest again when None. The tree is to show it."""
    held = {"latest_held": version or "", "latest_held_at": at if version else None}
    connection.execute(update(_LIBRARY).where(_LIBRARY.c.library_id == library_id).values(held))
    correct_latest(connection, [library_id])


def add_audit(connection: Connection, rows: Iterable[AuditRow]) -> None:
    """Add to the audit trail."""
    values = [{name: getattr(row, name) for name in AuditRow.__slots__} | {"details": dict(row.details)} for row in rows]
    if values:
        connection.execute(insert(_AUDIT), values)


def audited(connection: Connection, actions: Iterable[str]) -> list[AuditRow]:
    """Return every change of these kinds, the oldest first."""
    columns = _AUDIT.c
    query = select(*(columns[name] for name in AuditRow.__slots__)).where(columns.action.in_(tuple(actions)))
    return [AuditRow(*row) for row in connection.execute(query.order_by(columns.audit_id))]


def list_audit(
    connection: Connection, library_id: str | None = None, version: str | None = None, limit: int = 1000
) -> list[AuditRow]:
    """Return the last changes, the newest first: to everything, to a library, or to a version and what it is part of."""
    columns = _AUDIT.c
    query = select(*(columns[name] for name in AuditRow.__slots__)).order_by(columns.audit_id.desc()).limit(limit)
    if library_id is not None:
        query = query.where(columns.library_id == library_id)
    if version is not None:
        query = query.where(columns.version.in_((version, "")))
    return [AuditRow(*row) for row in connection.execute(query)]
