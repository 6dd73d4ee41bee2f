"""The library rows: sums and the latest version, kept by the commit so that reading them costs nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from models.bulk import Bulk, bulk_insert
from models.catalogue import NEWEST_FIRST
from models.history import CurrentVersion
from models.parts import in_parts
from models.rows import LIBRARY_FACTS, NewVersion
from models.tables import Library, Version, table_of

_LIBRARY, _VERSION = table_of(Library), table_of(Version)
_SUMS = ("total_versions", "total_size_bytes", "compressed_size_bytes")
_LATEST = ("latest_rank", "latest_key", "latest_at", "latest_version")
_HELD = ("latest_held", "latest_held_at")
_NOT_HELD: Mapping[str, str | None] = {"latest_held": "", "latest_held_at": None}
_CHANGING = (*LIBRARY_FACTS, *_SUMS, *_LATEST, *_HELD, "updated_at")
_ALL = ("library_id", "created_at", *_CHANGING)
_FIND = select(*(_LIBRARY.c[name] for name in _ALL))
_ADD = bulk_insert(_LIBRARY, _ALL)
_SET: Any = {name: bindparam(name) for name in _CHANGING}  # values() asks for more kinds of keys than a dict of str has
_CHANGE = Bulk(update(_LIBRARY).where(_LIBRARY.c.library_id == bindparam("key")).values(_SET), ("key", *_CHANGING))
_stored_at = attrgetter("stored_at")
_all_of, _changing_of = itemgetter(*_ALL), itemgetter("library_id", *_CHANGING)


def update_libraries(connection: Connection, added: Sequence[NewVersion], superseded: Mapping[str, CurrentVersion]) -> list[str]:
    """Add the new versions to their libraries' sums, take the superseded ones out, and move ``latest`` where it must.

    ``superseded`` are the revisions that were current until now, by their path in the tree.

    A library's facts are those that its newest version told, when it became the newest; facts that it does not tell stay.
    A ``latest`` by hand stays until a version that was not there before, stored later than it was said, orders newest.
    Returns the libraries whose newest version may have sunk by a new revision: it is for ``correct_latest`` to find.
    """
    groups: dict[str, list[NewVersion]] = defaultdict(list)
    for new in added:
        groups[new.library_id].append(new)
    gone: dict[str, list[CurrentVersion]] = defaultdict(list)
    for old in superseded.values():
        gone[old.library_id].append(old)
    there: dict[str, dict[str, Any]] = {}  # rows, as the table has them
    for part in in_parts(sorted(groups)):
        rows = connection.execute(_FIND.where(_LIBRARY.c.library_id.in_(part)))
        there.update((row[0], dict(zip(_ALL, row, strict=True))) for row in rows)
    changed = [_changed(there.get(name), versions, gone[name], superseded) for name, versions in groups.items()]
    _ADD.run(connection, (_all_of(row) for row in changed if row["library_id"] not in there))
    _CHANGE.run(connection, (_changing_of(row) for row in changed if row["library_id"] in there))
    return [name for name, row in there.items() if _has_sunk(row, groups[name])]


def correct_latest(connection: Connection, library_ids: Sequence[str]) -> None:
    """Find the newest version of libraries anew, once their versions are in the table, and have the tree show the latest."""
    columns, library = _VERSION.c, _LIBRARY.c
    for name in library_ids:
        query = select(columns.order_rank, columns.order_key, columns.created_at, columns.version)
        query = query.where(columns.library_id == name, columns.current).order_by(*NEWEST_FIRST, columns.version_id)
        found = connection.execute(query.limit(1)).first()
        if found is None:  # every version of it is removed
            continue
        *order, newest = found
        held = connection.scalar(select(library.latest_held).where(library.library_id == name))
        latest = dict(zip(_LATEST, (*order, held or newest), strict=True))
        connection.execute(update(_LIBRARY).where(library.library_id == name).values(latest))
        there = (columns.library_id == name, columns.current, columns.version == latest["latest_version"])
        connection.execute(update(_VERSION).where(*there).values(in_tree=False))


def _changed(
    row: dict[str, Any] | None, added: Sequence[NewVersion], gone: Sequence[CurrentVersion], known: Collection[str]
) -> dict[str, Any]:
    new = dict(row) if row else _empty(added[0])
    empty = not new["total_versions"]  # or every version was removed: what the row says of the latest is of what there was
    new["total_versions"] += len(added) - len(gone)
    new["total_size_bytes"] += sum(one.size_bytes for one in added) - sum(one.size_bytes for one in gone)
    new["compressed_size_bytes"] += sum(one.stored_bytes for one in added) - sum(one.stored_bytes for one in gone)
    for one in sorted(added, key=_stored_at):  # one by one, or a rebuild would have to know which came together
        if empty or _order(one) >= (new["latest_rank"], new["latest_key"], new["latest_at"]):
            empty = False
            if new["latest_held"] and one.file_path not in known and one.stored_at > new["latest_held_at"]:
                new.update(_NOT_HELD)
            new.update(dict(zip(_LATEST, (*_order(one), new["latest_held"] or one.version), strict=True)))
            new.update(_facts(one.library))
    # A batch that names a version twice comes in rounds, and the last one need not have the latest time.
    new["updated_at"] = max([one.stored_at for one in added] + ([row["updated_at"]] if row else []))
    return new


def _has_sunk(row: Mapping[str, Any], added: Sequence[NewVersion]) -> bool:
    """Whether the newest version may have a new revision that orders below the old one, since it is to be sorted as another."""
    if row["latest_held"]:
        return True  # the row does not say which version orders newest
    before = (row["latest_rank"], row["latest_key"])
    return any((one.order_rank, one.order_key) < before for one in added if one.version == row["latest_version"])


def _order(version: NewVersion) -> tuple[int, str, datetime]:
    return (version.order_rank, version.order_key, version.stored_at)


def _empty(first: NewVersion) -> dict[str, Any]:
    texts = dict.fromkeys(LIBRARY_FACTS, "")
    sums = dict.fromkeys(_SUMS, 0)
    unknown = {"trust_score": None, "star_count": None}
    return {**texts, **unknown, **sums, **_NOT_HELD, "library_id": first.library_id, "created_at": first.stored_at}


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in LIBRARY_FACTS if name in facts}
