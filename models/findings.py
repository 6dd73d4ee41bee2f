"""Findings: what was found wrong, since when, until when. One row while it lasts, however often it is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.parts import in_parts
from models.tables import table_of
from models.upkeep_tables import FindingRow

_FINDING = table_of(FindingRow)
_COLUMNS = _FINDING.c


@dataclass(frozen=True, slots=True)
class Observation:
    """Something found wrong: its kind, whom it concerns (a version, a library), where, in words."""

    code: str
    subject: str
    path: str
    message: str = field(compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding when it is seen again."""
        return self.code, self.subject, self.path


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """A finding that lasts."""

    code: str
    severity: str
    subject: str
    path: str
    message: str
    first_seen: datetime
    last_seen: datetime


def open_findings(connection: Connection) -> list[OpenFinding]:
    """Return the findings that last, the oldest first."""
    query = select(_FINDING).where(_COLUMNS.closed_at.is_(None)).order_by(_COLUMNS.first_seen, _COLUMNS.finding_id)
    return [
        OpenFinding(
            row["code"],
            row["severity"],
            row["subject"],
            row["path"],
            str(row["details"].get("message", "")),
            row["first_seen"],
            row["last_seen"],
        )
        for row in connection.execute(query).mappings()
    ]


def last_found_by(connection: Connection, seen_by: str) -> list[Observation]:
    """Return the findings that last and that one way of looking has found first: those that it closes."""
    query = select(_COLUMNS.code, _COLUMNS.subject, _COLUMNS.path, _COLUMNS.details).where(_COLUMNS.closed_at.is_(None))
    return [
        Observation(row[0], row[1], row[2], str(row[3].get("message", "")))
        for row in connection.execute(query)
        if row[3].get("seen_by") == seen_by
    ]


def note_findings(
    connection: Connection, seen_by: str, observed: Sequence[Observation], severities: Mapping[str, str], now: datetime
) -> tuple[list[Observation], list[Observation]]:
    """Record all that one way of looking found; return what is new, and what it had found before and finds no more.

    Only what the same way of looking has found is closed: another one may see what this one cannot.
    """
    query = select(_COLUMNS.finding_id, _COLUMNS.code, _COLUMNS.subject, _COLUMNS.path, _COLUMNS.details)
    there: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {  # JSON
        (row[1], row[2], row[3]): (row[0], row[4]) for row in connection.execute(query.where(_COLUMNS.closed_at.is_(None)))
    }
    wanted = {one.key: one for one in observed}
    again = [there[key][0] for key in wanted.keys() & there.keys()]
    gone = {key: one for key, one in there.items() if key not in wanted and one[1].get("seen_by") == seen_by}
    for part in in_parts(again):
        connection.execute(update(_FINDING).where(_COLUMNS.finding_id.in_(part)).values(last_seen=now))
    for part in in_parts(number for number, _ in gone.values()):
        connection.execute(update(_FINDING).where(_COLUMNS.finding_id.in_(part)).values(closed_at=now))
    new = [one for key, one in wanted.items() if key not in there]
    rows = [
        {"code": one.code, "severity": severities.get(one.code, ""), "subject": one.subject, "path": one.path}
        | {"first_seen": now, "last_seen": now, "details": {"message": one.message, "seen_by": seen_by}}
        for one in new
    ]
    if rows:
        connection.execute(insert(_FINDING), rows)
    return new, [Observation(*key, str(details.get("message", ""))) for key, (_, details) in gone.items()]
