"""Which segments came, changed and went, noted in the transaction that does it: an incremental backup reads nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from models.backup_tables import SegmentChange
from models.bulk import Adder
from models.tables import table_of

What = Literal["added", "changed", "gone", "anew"]
KEPT = timedelta(days=60)
"""How long changes are remembered. A backup that builds on an older one compares everything."""

_CHANGE = table_of(SegmentChange)
_CHANGES = Adder(SegmentChange, "segment_sha256", "what", "at")


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened behind a number: names that had no row then and have come, and those that had one and changed or went."""

    added: frozenset[str]
    others: frozenset[str]


def note_change(connection: Connection, names: Iterable[str], what: What, at: datetime | None = None) -> None:
    """Note it in the open write transaction."""
    now = at or datetime.now(UTC)
    _CHANGES.add(connection, ((name, what, now) for name in names))


def note_anew(connection: Connection, at: datetime) -> None:
    """Note that the catalogue was made anew: numbers begin again, and mean nothing to what was noted before."""
    note_change(connection, [secrets.token_hex(8)], "anew", at)


def epoch(connection: Connection) -> str:
    """Return what tells this catalogue from others, and from itself before it was made anew; nothing, if nobody has asked yet."""
    query = select(_CHANGE.c.segment_sha256).where(_CHANGE.c.what == "anew").order_by(_CHANGE.c.change_id.desc())
    return connection.execute(query.limit(1)).scalar() or ""


def last_change(connection: Connection) -> int:
    """Return the number of the last change; 0 when there was none."""
    return connection.execute(select(func.max(_CHANGE.c.change_id))).scalar() or 0


def mark_of_change(connection: Connection, number: int) -> str | None:
    """Return what tells a change from any other that may have its number; None when it is not known (any more).

    Where a data folder or a database was put back to an older state, numbers are given out once more, to other changes.
    """
    query = select(_CHANGE.c.segment_sha256, _CHANGE.c.at).where(_CHANGE.c.change_id == number)
    row = connection.execute(query).one_or_none()
    return None if row is None else f"{row.segment_sha256} {row.at.isoformat()}"


def changes_behind(connection: Connection, number: int) -> Changes | None:
    """Return what changed behind a number of this epoch; None when that is not known any more: then all must be compared."""
    first = connection.execute(select(func.min(_CHANGE.c.change_id)).where(_CHANGE.c.what != "anew")).scalar()
    if last_change(connection) < number or (first or 1) > number + 1:
        return None
    query = select(_CHANGE.c.segment_sha256, _CHANGE.c.what).where(_CHANGE.c.change_id > number, _CHANGE.c.what != "anew")
    seen: dict[str, str] = {}
    for name, what in connection.execute(query.order_by(_CHANGE.c.change_id)):
        seen.setdefault(name, what)
    added = frozenset(name for name, what in seen.items() if what == "added")
    return Changes(added, frozenset(seen.keys() - added))


def forget_changes(connection: Connection, now: datetime) -> None:
    """Forget what is long past, but not which catalogue this is, nor the last number."""
    past = (_CHANGE.c.at < now - KEPT) & (_CHANGE.c.change_id < last_change(connection))
    connection.execute(delete(_CHANGE).where(past, _CHANGE.c.what != "anew"))
