"""One cache of compiled statements for every SQLite engine of a run.

SQLAlchemy compiles a statement once an engine, which is once a process in the program. The tests open thousands of engines: a
sixth of their processor time went into compiling the same statements.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect
from sqlalchemy.util import LRUCache


def share_compiled_statements() -> None:
    """Have engines share what they compile.

    A statement's key in the cache names its dialect: all are made alike here, so they may count as the same.
    """
    cache: LRUCache[Any, Any] = LRUCache(2000)
    make = Engine.__init__

    def make_sharing(self: Engine, *arguments: Any, **options: Any) -> None:  # SQLAlchemy's own, handed on
        make(self, *arguments, **options)
        if isinstance(self.dialect, Dialect):
            self._compiled_cache = cache

    Engine.__init__ = make_sharing  # type: ignore[method-assign]
    Dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
    Dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
