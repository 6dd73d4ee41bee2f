"""Other names of libraries, and what a library's new name changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from models.parts import in_parts
from models.tables import Library, Version, table_of
from models.upkeep_tables import Alias, Audit, Label, Pin, RemovedVersion

_LIBRARY, _VERSION, _ALIAS, _AUDIT = (table_of(kind) for kind in (Library, Version, Alias, Audit))
_PIN, _LABEL, _REMOVED = (table_of(kind) for kind in (Pin, Label, RemovedVersion))
NAMINGS = ("renamed", "aliased", "unaliased")
"""Actions of the audit trail that change what names mean."""


@dataclass(frozen=True, slots=True)
class AliasRow:
    """Another name of a library. An empty ``library_id``: it is none any more, and the tree may still show it."""

    alias: str
    library_id: str
    at: datetime
    by: str
    why: str


_MEANT = (  # built once: every group of a batch asks
    select(_ALIAS.c.alias, _ALIAS.c.library_id).where(
        _ALIAS.c.alias.in_(bindparam("names", expanding=True)), _ALIAS.c.library_id != ""
    )
)
_SHOWN = [_ALIAS.c[name] for name in AliasRow.__slots__]


def real_names(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return the libraries that those of these names mean that are aliases."""
    found: dict[str, str] = {}
    for part in in_parts(sorted(set(names))):
        found.update((row[0], row[1]) for row in connection.execute(_MEANT, {"names": part}))
    return found


def real_name(connection: Connection, name: str) -> str:
    """Return the library that a name means: itself, unless it is an alias."""
    return real_names(connection, [name]).get(name, name)


def list_aliases(connection: Connection, library_id: str | None = None) -> list[AliasRow]:
    """Return the aliases of everything or of a library, by name."""
    query = select(*_SHOWN).where(_ALIAS.c.library_id != "").order_by(_ALIAS.c.alias)
    if library_id is not None:
        query = query.where(_ALIAS.c.library_id == library_id)
    return [AliasRow(*row) for row in connection.execute(query)]


def is_library(connection: Connection, library_id: str) -> bool:
    """Whether there is a library of this id, though all of it may be removed."""
    return connection.scalar(select(_LIBRARY.c.library_id).where(_LIBRARY.c.library_id == library_id)) is not None


def put_alias(connection: Connection, alias: AliasRow) -> None:
    """Have a name mean a library, whatever it meant before; an empty ``library_id``: nothing, once the tree has followed."""
    connection.execute(delete(_ALIAS).where(_ALIAS.c.alias == alias.alias))
    connection.execute(insert(_ALIAS), {name: getattr(alias, name) for name in AliasRow.__slots__} | {"in_tree": False})


def unlinked_aliases(connection: Connection) -> list[AliasRow]:
    """Return what the tree does not show yet, or shows no longer rightly."""
    return [AliasRow(*row) for row in connection.execute(select(*_SHOWN).where(~_ALIAS.c.in_tree).order_by(_ALIAS.c.alias))]


def mark_linked(connection: Connection, aliases: Iterable[AliasRow]) -> None:
    """Record that the tree shows these, as they were looked at; what is no alias any more is forgotten."""
    for one in aliases:
        same = (_ALIAS.c.alias == one.alias, _ALIAS.c.library_id == one.library_id)
        connection.execute(update(_ALIAS).where(*same).values(in_tree=True) if one.library_id else delete(_ALIAS).where(*same))


def unlink_all(connection: Connection) -> None:
    """Record that the tree shows no alias: it is to be built anew."""
    connection.execute(update(_ALIAS).values(in_tree=False))


def last_change(connection: Connection, library_id: str) -> datetime | None:
    """Return the latest time that anything tells of a library, or of a change of names: what comes now is later."""
    times = [
        select(func.max(table.c[column])).where(table.c.library_id == library_id)
        for table, column in (
            (_LIBRARY, "updated_at"),
            (_LIBRARY, "latest_held_at"),
            (_VERSION, "created_at"),
            (_REMOVED, "created_at"),
            (_REMOVED, "removed_at"),
            (_AUDIT, "at"),
        )
    ]
    times.append(select(func.max(_AUDIT.c.at)).where(_AUDIT.c.action.in_(NAMINGS)))
    return max((at for query in times if (at := connection.scalar(query)) is not None), default=None)


def rename_library(connection: Connection, old: str, new: str, path_of: Callable[[str, str], str]) -> None:
    """Give a library another id: its rows, whatever is said of it, and its aliases follow; the tree is to show all of it anew.

    ``path_of`` returns where the tree shows a version. The new id must be free. In the caller's write transaction.
    """
    columns = [column for column in _LIBRARY.c if column.name != "library_id"]
    names = ["library_id", *(column.name for column in columns)]
    copied = select(bindparam("new", new, _LIBRARY.c.library_id.type), *columns).where(_LIBRARY.c.library_id == old)
    connection.execute(insert(_LIBRARY).from_select(names, copied))
    for table in (_VERSION, _REMOVED):
        _move(connection, table, old, new, path_of)
    # Of what is removed the old folder goes as a whole; of older revisions nothing needs to be shown.
    connection.execute(update(_VERSION).where(_VERSION.c.library_id == new, _VERSION.c.current).values(in_tree=False))
    connection.execute(update(_REMOVED).where(_REMOVED.c.library_id == new).values(in_tree=False))
    for table in (_PIN, _LABEL):
        connection.execute(update(table).where(table.c.library_id == old).values(library_id=new))
    connection.execute(update(_ALIAS).where(_ALIAS.c.library_id == old).values(library_id=new, in_tree=False))
    connection.execute(delete(_LIBRARY).where(_LIBRARY.c.library_id == old))


def _move(connection: Connection, table: Table, old: str, new: str, path_of: Callable[[str, str], str]) -> None:
    versions = list(connection.scalars(select(table.c.version).where(table.c.library_id == old).distinct()))
    moved = [{"was": path_of(old, version), "path": path_of(new, version)} for version in versions]
    if moved:
        moving = update(table).where(table.c.file_path == bindparam("was"))
        connection.execute(moving.values(file_path=bindparam("path"), library_id=new), moved)
