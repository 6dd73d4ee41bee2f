"""One statement, many rows: what SQLAlchemy does for each row of an ``executemany`` is done once for all, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import UpdateBase
from sqlmodel import SQLModel

from models.tables import table_of

Row = Sequence[Any]  # a row of any table


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement whose parameters are ``names``; ``run`` takes rows in that order."""

    statement: UpdateBase
    names: tuple[str, ...]

    def run(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Execute the statement for each row; for none at all do nothing."""
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        if not columns:
            return
        plan = _plan(self.statement, self.names, connection.dialect)
        for at, convert in plan.converters:
            columns[at] = map(convert, columns[at])
        ordered = zip(*(columns[at] for at in plan.order), strict=True)
        if plan.positional:
            connection.exec_driver_sql(plan.sql, list(ordered))
        else:
            connection.exec_driver_sql(plan.sql, [dict(zip(self.names, row, strict=True)) for row in ordered])


def bulk_insert(table: Table, names: Iterable[str]) -> Bulk:
    """Return the insert of rows that have these columns. Columns with a default must be among them: no row is looked at."""
    names = tuple(names)
    return Bulk(insert(table).values({name: bindparam(name) for name in names}), names)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement as the driver takes it. ``order``: which of the names stands where; ``converters``: which need one."""

    sql: str
    positional: bool
    order: tuple[int, ...]
    converters: tuple[tuple[int, Callable[[Any], Any]], ...]


@lru_cache(maxsize=64)  # few statements; each engine has a dialect of its own
def _plan(statement: UpdateBase, names: tuple[str, ...], dialect: Dialect) -> _Plan:
    compiled: Any = statement.compile(dialect=dialect)  # SQLCompiler, which the annotation does not promise
    if compiled.binds.keys() != set(names):
        raise ValueError(f"not given: {sorted(compiled.binds.keys() ^ set(names))}")
    order = tuple(map(names.index, compiled.positiontup)) if compiled.positional else tuple(range(len(names)))
    converters = ((at, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for at, name in enumerate(names))
    return _Plan(str(compiled), compiled.positional, order, tuple((at, one) for at, one in converters if one is not None))


class Adder:
    """Adds rows that have these columns to a table; the others get their defaults."""

    def __init__(self, kind: type[SQLModel], *names: str) -> None:
        table = table_of(kind)
        defaults: dict[str, Any] = {  # scalars of several types
            column.name: column.default.arg  # type: ignore[attr-defined] # a scalar one has it
            for column in table.columns
            if column.default is not None and column.default.is_scalar and column.name not in names
        }
        self._bulk: Bulk = bulk_insert(table, (*names, *defaults))
        self._rest = tuple(defaults.values())

    def add(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Add the rows, whose values are in the order of the names."""
        self._bulk.run(connection, ((*row, *self._rest) for row in rows))
