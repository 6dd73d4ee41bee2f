"""Removal: rows of removed revisions move to a table of their own, where they can be called back, and back again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from models.libraries import correct_latest
from models.parts import in_parts
from models.tables import Library, Version, table_of
from models.upkeep_tables import Audit, RemovedVersion

_LIBRARY, _VERSION, _REMOVED, _AUDIT = (table_of(kind) for kind in (Library, Version, RemovedVersion, Audit))
_KEPT_COLUMNS = tuple(column.name for column in _VERSION.columns)


@dataclass(frozen=True, slots=True)
class Going:
    """A revision that is to go, and why."""

    version_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A revision that is removed."""

    version_id: str
    library_id: str
    version: str
    revision: int
    stored_at: datetime
    removed_at: datetime
    removed_by: str
    why: str
    plan_id: str
    content_sha256: str


_GONE = [_REMOVED.c[name] for name in ("version_id", "library_id", "version", "revision", "created_at")]
_GONE += [_REMOVED.c[name] for name in ("removed_at", "removed_by", "why", "plan_id", "content_sha256")]


def remove_revisions(connection: Connection, going: Sequence[Going], at: datetime, by: str, plan_id: str) -> list[Gone]:
    """Move revisions to ``removed_version``; of a version whose current revision goes the newest that is left becomes current.

    Libraries' sums and latest versions follow. Runs inside the caller's write transaction. Revisions that are not there are
    passed over.
    """
    whys = {one.version_id: one.why for one in going}
    gone: list[Gone] = []
    touched: dict[str, str] = {}
    for part in in_parts(whys):
        rows = connection.execute(select(_VERSION).where(_VERSION.c.version_id.in_(part))).mappings().all()
        if not rows:
            continue
        moved = [_removed_row(row, at, by, whys[row["version_id"]], plan_id) for row in rows]
        connection.execute(insert(_REMOVED), moved)
        connection.execute(delete(_VERSION).where(_VERSION.c.version_id.in_(part)))
        touched.update((row["file_path"], row["library_id"]) for row in rows)
        gone += [_gone(row) for row in moved]
    _settle(connection, touched)
    return gone


def restorable(connection: Connection, plan_id: str) -> list[Gone]:
    """Return what a plan removed and what can still be restored, by version."""
    query = select(*_GONE).where(_REMOVED.c.plan_id == plan_id, _REMOVED.c.purged_at.is_(None))
    return [Gone(*row) for row in connection.execute(query.order_by(_REMOVED.c.file_path, _REMOVED.c.revision))]


def growth_by_restoring(connection: Connection, version_ids: Iterable[str]) -> dict[str, int]:
    """Return by how many stored bytes each library would grow if these came back."""
    columns = _REMOVED.c
    growth: dict[str, int] = defaultdict(int)
    for part in in_parts(version_ids):
        wanted = columns.version_id.in_(part) & columns.purged_at.is_(None)
        query = select(columns.library_id, func.sum(columns.compressed_size_bytes)).where(wanted)
        for library_id, size in connection.execute(query.group_by(columns.library_id)):
            growth[library_id] += int(size)
    return dict(growth)


def restore_revisions(connection: Connection, version_ids: Iterable[str]) -> list[str]:
    """Move removed revisions back; return those that were there.

    A version that was stored anew meanwhile keeps its current revision, which is newer.
    """
    back: list[str] = []
    touched: dict[str, str] = {}
    for part in in_parts(version_ids):
        wanted = _REMOVED.c.version_id.in_(part) & _REMOVED.c.purged_at.is_(None)
        columns = [_REMOVED.c[name] for name in _KEPT_COLUMNS]
        rows = [
            dict(row) | {"current": False, "in_tree": True}
            for row in connection.execute(select(*columns).where(wanted)).mappings()
        ]
        if not rows:
            continue
        connection.execute(insert(_VERSION), rows)
        connection.execute(delete(_REMOVED).where(wanted))
        touched.update((row["file_path"], row["library_id"]) for row in rows)
        back += [row["version_id"] for row in rows]
    _settle(connection, touched)
    return back


def write_audit(connection: Connection, action: str, revisions: Sequence[Gone], at: datetime, by: str, plan_id: str) -> None:
    """Record who did what to revisions: one row for each version."""
    by_version: dict[tuple[str, str], list[Gone]] = defaultdict(list)
    for one in revisions:
        by_version[one.library_id, one.version].append(one)
    rows = [
        {"at": at, "by": by, "action": action, "library_id": library_id, "version": version, "why": of[-1].why}
        | {"details": {"plan_id": plan_id, "revisions": [one.revision for one in of]}}
        for (library_id, version), of in by_version.items()
    ]
    if rows:
        connection.execute(insert(_AUDIT), rows)


def removed_ones(connection: Connection, version_ids: Iterable[str]) -> list[Gone]:
    """Return those of these revisions that are removed."""
    found: list[Gone] = []
    for part in in_parts(version_ids):
        found += [Gone(*row) for row in connection.execute(select(*_GONE).where(_REMOVED.c.version_id.in_(part)))]
    return found


def _removed_row(row: Mapping[Any, Any], at: datetime, by: str, why: str, plan_id: str) -> dict[str, Any]:
    removed = {"removed_at": at, "removed_by": by, "why": why, "plan_id": plan_id, "purged_at": None}
    # In ``version`` it says of an older revision that nothing needs to be shown; here, that something may be shown. A current one
    # that was not shown yet counts, too: the tree shows the revision before it.
    return {**row, **removed, "in_tree": bool(row["current"])}


def _gone(row: Mapping[str, Any]) -> Gone:
    return Gone(*(row[column.name] for column in _GONE))


def _settle(connection: Connection, touched: Mapping[str, str]) -> None:
    """Have the newest revision of each version be its current one; then correct what the libraries' rows say."""
    for paths in in_parts(sorted(touched)):
        _settle_versions(connection, paths)
    for library_id in sorted(set(touched.values())):
        _settle_library(connection, library_id)


def _settle_versions(connection: Connection, file_paths: Collection[str]) -> None:
    columns = _VERSION.c
    query = select(columns.file_path, columns.version_id, columns.current).where(columns.file_path.in_(file_paths))
    newest = {row[0]: row for row in connection.execute(query.order_by(columns.revision))}
    wrong = [row for row in newest.values() if not row[2]]
    paths, ids = [row[0] for row in wrong], [row[1] for row in wrong]
    if not wrong:
        return
    demoted = update(_VERSION).where(columns.file_path.in_(paths), columns.current)
    connection.execute(demoted.values(current=False, in_tree=True))
    connection.execute(update(_VERSION).where(columns.version_id.in_(ids)).values(current=True, in_tree=False))


def _settle_library(connection: Connection, library_id: str) -> None:
    columns, library = _VERSION.c, _LIBRARY.c
    mine = (columns.library_id == library_id) & columns.current
    sums = select(func.count(), func.sum(columns.file_size_bytes), func.sum(columns.compressed_size_bytes)).where(mine)
    count, plain, stored = connection.execute(sums).one()
    values: dict[str, Any] = {"total_versions": count, "total_size_bytes": plain or 0, "compressed_size_bytes": stored or 0}
    connection.execute(update(_LIBRARY).where(library.library_id == library_id).values(values))
    before = connection.execute(select(_LIBRARY).where(library.library_id == library_id)).mappings().one()
    held = before["latest_held"]
    if held and not connection.scalar(select(func.count()).where(mine, columns.version == held)):
        unheld = {"latest_held": "", "latest_held_at": None}
        connection.execute(update(_LIBRARY).where(library.library_id == library_id).values(unheld))
    elif _is_newest(connection, before):
        return
    correct_latest(connection, [library_id])


def settle_library(connection: Connection, library_id: str) -> None:
    """Correct what a library's row says of its versions. In the caller's write transaction."""
    _settle_library(connection, library_id)


def _is_newest(connection: Connection, row: Mapping[Any, Any]) -> bool:
    """Whether the version that a library's row takes for the newest is there, and none above it."""
    columns = _VERSION.c
    order = (columns.order_rank.desc(), columns.order_key.desc(), columns.created_at.desc())
    query = select(columns.order_rank, columns.order_key, columns.created_at, columns.version)
    newest = connection.execute(
        query.where(columns.library_id == row["library_id"], columns.current).order_by(*order).limit(1)
    ).first()
    known = (row["latest_rank"], row["latest_key"], row["latest_at"], row["latest_version"])
    return newest is not None and tuple(newest)[: 3 if row["latest_held"] else 4] == known[: 3 if row["latest_held"] else 4]


def still_shown(connection: Connection, limit: int) -> list[tuple[str, str, str]]:
    """Return id, library and path of removed versions that the tree still shows."""
    columns = _REMOVED.c
    query = select(columns.version_id, columns.library_id, columns.file_path).where(columns.in_tree).limit(limit)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def mark_hidden(connection: Connection, version_ids: Iterable[str]) -> None:
    """Record that the tree shows these removed versions no more."""
    for part in in_parts(version_ids):
        connection.execute(update(_REMOVED).where(_REMOVED.c.version_id.in_(part)).values(in_tree=False))
