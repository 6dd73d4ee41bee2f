"""What a cleanup plan is made from: the revisions of a library, and what protects them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from models.parts import in_parts
from models.tables import Library, StoredObject, Version, table_of
from models.upkeep_tables import Label, Pin

_LIBRARY, _VERSION, _OBJECT = (table_of(kind) for kind in (Library, Version, StoredObject))
_PIN, _LABEL = table_of(Pin), table_of(Label)
_SHOWN = [
    _VERSION.c[name]
    for name in ("version_id", "library_id", "version", "revision", "current", "order_rank", "order_key", "created_at")
]
_SHOWN += [_VERSION.c[name] for name in ("compressed_size_bytes", "content_sha256")]

_PART: BindParameter[list[str]] = bindparam("part", expanding=True)
_SHARED = (
    select(_VERSION.c.content_sha256, func.count())
    .where(_VERSION.c.content_sha256.in_(_PART))
    .group_by(_VERSION.c.content_sha256)
    .having(func.count() > 1)
)
_STORED_BYTES = select(func.sum(_OBJECT.c.length)).where(_OBJECT.c.content_sha256.in_(_PART))


class RevisionRow(NamedTuple):
    """A revision as far as a plan must know it. A tuple, since a plan of thousands is to take milliseconds."""

    version_id: str
    library_id: str
    version: str
    revision: int
    current: bool
    order_rank: int
    order_key: str
    stored_at: datetime
    stored_bytes: int
    content_sha256: str


@dataclass(frozen=True, slots=True)
class LibraryState:
    """What a plan for one library is made from. ``revisions`` are sorted by version, then by number."""

    library_id: str
    latest: str
    revisions: tuple[RevisionRow, ...]
    pinned: frozenset[str]
    labels: tuple[tuple[str, str], ...]
    """Version and label, sorted."""


def library_state(connection: Connection, library_id: str) -> LibraryState:
    """Return what a plan for a library is made from."""
    query = select(*_SHOWN).where(_VERSION.c.library_id == library_id).order_by(_VERSION.c.version, _VERSION.c.revision)
    revisions = tuple(map(RevisionRow._make, connection.execute(query).all()))  # one by one takes half as long again
    latest = connection.scalar(select(_LIBRARY.c.latest_version).where(_LIBRARY.c.library_id == library_id))
    pinned = connection.scalars(select(_PIN.c.version).where(_PIN.c.library_id == library_id))
    labels = connection.execute(select(_LABEL.c.version, _LABEL.c.label).where(_LABEL.c.library_id == library_id))
    return LibraryState(library_id, latest or "", revisions, frozenset(pinned), tuple(sorted((row[0], row[1]) for row in labels)))


def freed_bytes(connection: Connection, contents: Counter[str]) -> int:
    """Return the stored bytes of those contents that no more revisions name than are counted here: what goes with these."""
    freed = 0
    for part in in_parts(sorted(contents)):
        shared = connection.execute(_SHARED, {"part": part})
        needed = {row[0] for row in shared if row[1] > contents[row[0]]}
        freed += int(connection.scalar(_STORED_BYTES, {"part": [one for one in part if one not in needed]}) or 0)
    return freed


def find_revisions(connection: Connection, version_ids: Iterable[str]) -> list[RevisionRow]:
    """Return those of these revisions that are stored."""
    found: list[RevisionRow] = []
    for part in in_parts(version_ids):
        found += [RevisionRow(*row) for row in connection.execute(select(*_SHOWN).where(_VERSION.c.version_id.in_(part)))]
    return found
