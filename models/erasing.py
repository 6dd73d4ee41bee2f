"""Erasure: the rows that go for good, and what else in the catalogue would still tell of a content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, update
from sqlmodel import SQLModel

from models.names import NAMINGS
from models.parts import in_parts
from models.removal import settle_library
from models.rows import Place
from models.tables import Job, Library, StoredObject, Version, table_of
from models.upkeep_tables import Audit, FindingRow, Label, Pin, RemovedVersion

_VERSION, _REMOVED, _LIBRARY, _OBJECT = (table_of(kind) for kind in (Version, RemovedVersion, Library, StoredObject))
_PIN, _LABEL, _AUDIT = (table_of(kind) for kind in (Pin, Label, Audit))
_KEPT = (*NAMINGS, "erased", "erased_from_backups", "exported", "imported")
"""What the audit trail goes on to say of what is erased: ids, by whom and why."""
_TWO = (_VERSION, _REMOVED)
_DIGEST = re.compile("[0-9a-f]{64}")
_FREE: tuple[tuple[type[SQLModel], str, tuple[str, ...]], ...] = (
    (Job, "job_id", ("outcome", "error", "progress", "suspects")),
    (FindingRow, "finding_id", ("details",)),
    (Audit, "audit_id", ("details",)),
)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A revision that is to be erased. ``content_sha256`` is empty where nothing but its number is known any more."""

    version_id: str
    library_id: str
    version: str
    revision: int
    content_sha256: str
    size_bytes: int
    stored_at: datetime


def doomed_revisions(connection: Connection, library_id: str, version: str | None = None) -> list[Doomed]:
    """Return every revision of a library or a version: stored, removed, and purged as far as a row is left."""
    found: list[Doomed] = []
    for table in (_VERSION, _REMOVED):
        names = ("version_id", "library_id", "version", "revision", "content_sha256", "file_size_bytes", "created_at")
        query = select(*(table.c[name] for name in names)).where(table.c.library_id == library_id)
        rows = connection.execute(query if version is None else query.where(table.c.version == version))
        found += [Doomed(*row) for row in rows]
    return sorted(found, key=lambda one: (one.version, one.revision))


def referring_places(connection: Connection, contents: Collection[str]) -> list[Place]:
    """Return the objects that refer to one of these contents and are of none of them."""
    found: dict[str, Place] = {}
    for part in in_parts(sorted(contents)):
        query = select(*(_OBJECT.c[name] for name in Place.__slots__)).where(_OBJECT.c.reference_sha256.in_(part))
        found.update((row[0], Place(*row)) for row in connection.execute(query))
    return [place for content, place in sorted(found.items()) if content not in contents]


def segments_with(connection: Connection, contents: Collection[str]) -> set[str]:
    """Return the segments that hold one of these contents, or what refers to one, as far as rows tell."""
    found: set[str] = set()
    for part in in_parts(sorted(contents)):
        mine = or_(_OBJECT.c.content_sha256.in_(part), _OBJECT.c.reference_sha256.in_(part))
        found.update(connection.scalars(select(_OBJECT.c.segment_sha256).where(mine)))
    return found


def drop_objects(connection: Connection, contents: Collection[str]) -> None:
    """Forget where these contents lie, which no revision needs: that one of them refers to another must not keep that."""
    for part in in_parts(sorted(contents)):
        connection.execute(delete(_OBJECT).where(_OBJECT.c.content_sha256.in_(part)))


def stored_bytes(connection: Connection, contents: Collection[str]) -> int:
    """Return the bytes that these contents take in all their places."""
    total = 0
    for part in in_parts(sorted(contents)):
        total += connection.scalar(select(func.sum(_OBJECT.c.length)).where(_OBJECT.c.content_sha256.in_(part))) or 0
    return total


def erase_rows(connection: Connection, library_id: str, version: str | None) -> None:
    """Delete the rows of a library or a version, its pins and labels. In the caller's transaction."""
    for table in (_VERSION, _REMOVED, _PIN, _LABEL):
        mine = [table.c.library_id == library_id, *([] if version is None else [table.c.version == version])]
        connection.execute(delete(table).where(*mine))


def erase_trail(connection: Connection, names: Collection[str], doomed: Callable[[str, str, datetime], bool]) -> None:
    """Delete what the audit trail says under one of these names, where that is so of name, version and time."""
    columns = (_AUDIT.c.audit_id, _AUDIT.c.library_id, _AUDIT.c.version, _AUDIT.c.at)
    for part in in_parts(sorted(names)):
        query = select(*columns).where(_AUDIT.c.library_id.in_(part), _AUDIT.c.action.not_in(_KEPT))
        ids = [row[0] for row in connection.execute(query).all() if doomed(row[1], row[2], row[3])]
        for some in in_parts(ids):
            connection.execute(delete(_AUDIT).where(_AUDIT.c.audit_id.in_(some)))


def is_kept_in_trail(action: str) -> bool:
    """Whether the audit trail goes on to say of what is erased that this was done."""
    return action in _KEPT


def is_held(connection: Connection, library_id: str, version: str | None) -> bool:
    """Whether ``latest`` means this version by hand."""
    held = connection.scalar(select(_LIBRARY.c.latest_held).where(_LIBRARY.c.library_id == library_id))
    return bool(held) and held == version


def is_empty_without(connection: Connection, library_id: str, version: str | None) -> bool:
    """Whether a library has no other revision than those of this version."""
    if version is None:
        return True
    rest = (select(table.c.version_id).where(table.c.library_id == library_id, table.c.version != version) for table in _TWO)
    return all(connection.scalar(query.limit(1)) is None for query in rest)


def settle_erased(connection: Connection, library_id: str, told: Mapping[str, Any] | None) -> None:
    """Have the library's row say what is left; ``told`` are the columns that its records tell. None: nothing is left of it."""
    if told is None:
        connection.execute(delete(_LIBRARY).where(_LIBRARY.c.library_id == library_id))
        return
    mine = _LIBRARY.c.library_id == library_id
    some = connection.scalar(select(_VERSION.c.version_id).where(_VERSION.c.library_id == library_id).limit(1))
    # Where versions are left they tell which one is the latest; else the removed ones do, which may come back.
    told = {name: value for name, value in told.items() if some is None or not name.startswith("latest_")}
    if told:
        connection.execute(update(_LIBRARY).where(mine).values(**told))
    settle_library(connection, library_id)


def redact_purged(connection: Connection, contents: Collection[str], text: str) -> None:
    """Take the digests of these contents out of rows that only keep a number: nobody has the contents any more."""
    for part in in_parts(sorted(contents)):
        connection.execute(update(_REMOVED).where(_REMOVED.c.content_sha256.in_(part)).values(content_sha256=text))


def forget_digests(connection: Connection, digests: Collection[str]) -> int:
    """Take digests out of what jobs, findings and the audit trail tell in free form; return how many rows that were."""
    changed = 0
    for kind, key, columns in _FREE:
        table = table_of(kind)
        told = or_(*(table.c[name].is_not(None) for name in columns))
        for row in connection.execute(select(table.c[key], *(table.c[name] for name in columns)).where(told)).all():
            news = {}
            for name, value in zip(columns, row[1:], strict=True):
                text = json.dumps(value)
                clean = _DIGEST.sub(lambda found: "erased" if found[0] in digests else found[0], text)
                if clean != text:
                    news[name] = json.loads(clean)
            if news:
                changed += 1
                connection.execute(update(table).where(table.c[key] == row[0]).values(**news))
    return changed
