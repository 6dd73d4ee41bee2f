"""How often versions were read, added up elsewhere: one statement for many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, update

from models.bulk import Bulk
from models.tables import Version, table_of

_VERSION = table_of(Version)
_ADD = Bulk(
    update(_VERSION)
    .where(_VERSION.c.version_id == bindparam("key"))
    .values(access_count=_VERSION.c.access_count + bindparam("reads"), last_accessed=bindparam("at")),
    ("key", "reads", "at"),
)


def add_accesses(connection: Connection, reads: Iterable[tuple[str, int, datetime]]) -> None:
    """Add to the counts of revisions: id, how many reads, when the last of them was. Those that are gone are passed over."""
    _ADD.run(connection, sorted(reads))  # in one order in every process: no two updates wait for each other's rows
