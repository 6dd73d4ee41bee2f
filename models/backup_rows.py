"""Rows that only the catalogue knows, out of one and into another: jobs, schedules, the audit trail, how often was read what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)
from sqlmodel import SQLModel

from models.backup_tables import Backup, Drill, SegmentChange
from models.bulk import Bulk, bulk_insert
from models.columns import UtcDateTime
from models.rebuild import MADE_ANEW
from models.tables import Job, Schedule, Slot, Version, table_of
from models.upkeep_tables import Audit, FindingRow

T = TypeVar("T")
Row = dict[str, Any]  # a row of any table, as JSON
SLACK = timedelta(hours=1)
"""A row's time is its writer's clock before the commit: rows that are that much older than the last dump are taken again."""
ACCESSES = "accesses"
"""How often versions were read: columns of rows that the disk tells, dumped as a table of their own."""

_ROWS = 1000
_AT_ONCE = 500
_VERSION, _JOB, _SLOT, _FINDING, _AUDIT = (table_of(kind) for kind in (Version, Job, Slot, FindingRow, Audit))
_ENDED = _JOB.c.finished_at.is_not(None)


@dataclass(frozen=True, slots=True)
class Dumping:
    """What of a table is dumped: its query, and whether that is all of it."""

    table: str
    whole: bool
    query: Select[Any]
    mark: Any  # JSON: how far this dump goes


def dumps(connection: Connection, marks: Mapping[str, Any], since: datetime | None) -> list[Dumping]:
    """Return what is to be dumped after what ``marks`` say was; everything when ``since``, the last snapshot, is None."""
    after = None if since is None else since - SLACK
    found = [_audits(connection, marks.get("audit"))]
    found += [_whole(kind) for kind in (Schedule, Drill)]
    backup = table_of(Backup)
    found.append(Dumping("backup", True, select(backup).where(backup.c.state != "running"), None))
    behind: list[tuple[Table, Callable[[datetime], ColumnElement[bool]], ColumnElement[bool]]] = [
        (_JOB, lambda at: _JOB.c.finished_at >= at, _ENDED),
        (_SLOT, lambda at: _SLOT.c.claimed_at >= at, true()),
        (_FINDING, lambda at: or_(_FINDING.c.last_seen >= at, _FINDING.c.closed_at >= at), true()),
    ]
    found += [_since(table, select(table).where(always), when, after) for table, when, always in behind]
    columns = [_VERSION.c[name] for name in ("file_path", "revision", "access_count", "last_accessed")]
    reads = select(*columns).where(_VERSION.c.last_accessed.is_not(None))
    found.append(
        Dumping(ACCESSES, after is None, reads if after is None else reads.where(_VERSION.c.last_accessed >= after), None)
    )
    return found


def _whole(kind: type[Schedule] | type[Drill]) -> Dumping:
    table = table_of(kind)
    return Dumping(table.name, True, select(table), None)


def _since(table: Table, query: Select[Any], when: Callable[[datetime], ColumnElement[bool]], after: datetime | None) -> Dumping:
    return Dumping(table.name, after is None, query if after is None else query.where(when(after)), None)


def _audits(connection: Connection, mark: list[int] | None) -> Dumping:
    """Entries are only ever added. Where there are not as many up to the last one as there were, the trail was made anew."""
    last, count = mark or (0, 0)
    there = connection.scalar(select(func.count()).select_from(_AUDIT).where(_AUDIT.c.audit_id <= last)) or 0
    whole = mark is None or there != count
    behind = select(func.count(), func.max(_AUDIT.c.audit_id)).where(_AUDIT.c.audit_id > (0 if whole else last))
    more, newest = connection.execute(behind).one()
    query = select(_AUDIT) if whole else select(_AUDIT).where(_AUDIT.c.audit_id > last)
    return Dumping("audit", whole, query, [newest or (0 if whole else last), more + (0 if whole else count)])


def rows_of(connection: Connection, dumping: Dumping) -> Iterator[Row]:
    """Yield the rows, times as text. Few of them are in memory at a time."""
    result = connection.execute(dumping.query.execution_options(yield_per=_ROWS)).mappings()
    for row in result:
        yield {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def load_rows(connection: Connection, table_name: str, rows: Iterable[Row]) -> int:
    """Put dumped rows into a catalogue, in the place of those with the same key; return how many.

    Columns that this release does not know are passed over, those that an older one did not know get their defaults. Rows of
    tables that it does not know are passed over altogether.
    """
    if table_name == ACCESSES:
        return _load_accesses(connection, rows)
    table = SQLModel.metadata.tables.get(table_name)
    if table is None or any(table is table_of(kind) for kind in MADE_ANEW):
        return 0
    loading = _Loading(connection, table)
    return sum(loading.add(part) for part in in_parts_of(rows, _AT_ONCE))


class _Loading:
    """Puts rows into one table. Where that was empty at first there is nothing whose place they could take."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection, self._table = connection, table
        self._was_empty = connection.execute(select(table).limit(1)).first() is None
        keys = list(table.primary_key.columns)
        self._keys = tuple(key.name for key in keys)
        same = and_(*(key == bindparam(f"b_{key.name}") for key in keys))
        self._delete = Bulk(delete(table).where(same), tuple(f"b_{name}" for name in self._keys))
        self._inserts: dict[tuple[str, ...], Bulk] = {}

    def add(self, rows: Sequence[Row]) -> int:
        columns = [column for column in self._table.columns if column.name in rows[0]]
        names = tuple(column.name for column in columns)
        values = list(zip(*(_values(column.type, [row.get(column.name) for row in rows]) for column in columns), strict=True))
        if not self._was_empty:
            of_key = [names.index(name) for name in self._keys]
            self._delete.run(self._connection, ([row[at] for at in of_key] for row in values))
        if any(column.default is not None and column.name not in names for column in self._table.columns):
            self._connection.execute(insert(self._table), [dict(zip(names, row, strict=True)) for row in values])
        else:
            self._inserts.setdefault(names, bulk_insert(self._table, names)).run(self._connection, values)
        return len(rows)


def in_parts_of(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of that size at most."""
    source = iter(rows)
    while part := list(islice(source, size)):
        yield part


def count_on(connection: Connection) -> None:
    """Have the numbers that the database gives go on behind those that were loaded: PostgreSQL does not see to that itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in SQLModel.metadata.sorted_tables:
        for column in table.primary_key.columns:
            if column.autoincrement is True or (len(table.primary_key.columns) == 1 and isinstance(column.type, Integer)):
                highest = connection.execute(select(func.max(column))).scalar()
                if highest is not None:
                    named = {"table": table.name, "column": column.name, "highest": highest}
                    connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)"), named)


def empty_the_rest(connection: Connection) -> None:
    """Delete what the disk does not tell: dumps take its place."""
    keep = {table_of(SegmentChange).name, *(table_of(kind).name for kind in MADE_ANEW)}
    for table in reversed(SQLModel.metadata.sorted_tables):
        if table.name not in keep:
            connection.execute(delete(table))


def in_order(tables: Iterable[str]) -> list[str]:
    """Return names of dumped tables so that what refers to others comes behind them."""
    order = [table.name for table in SQLModel.metadata.sorted_tables]
    return sorted(tables, key=lambda name: order.index(name) if name in order else len(order))


def _values(kind: object, values: list[Any]) -> list[Any]:  # a column's values
    return [value and datetime.fromisoformat(value) for value in values] if isinstance(kind, UtcDateTime) else values


_READ = Bulk(
    update(_VERSION)
    .where(_VERSION.c.file_path == bindparam("path"), _VERSION.c.revision == bindparam("number"))
    .values(access_count=bindparam("reads"), last_accessed=bindparam("at")),
    ("path", "number", "reads", "at"),
)


def _load_accesses(connection: Connection, rows: Iterable[Row]) -> int:
    count = 0
    for part in in_parts_of(rows, _AT_ONCE):
        told = [(row["file_path"], row["revision"], row["access_count"], row["last_accessed"]) for row in part]
        _READ.run(connection, ((*row[:3], datetime.fromisoformat(row[3])) for row in told))
        count += len(part)
    return count
