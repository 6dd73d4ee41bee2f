"""What the catalogue has of a version already: its current revision, and whether a store would change anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from models.parts import in_parts
from models.rows import Committed
from models.tables import Version, table_of
from models.upkeep_tables import Audit, RemovedVersion

_VERSION, _REMOVED, _AUDIT = (table_of(kind) for kind in (Version, RemovedVersion, Audit))
_HIGHEST_REMOVED = (
    select(_REMOVED.c.file_path, func.max(_REMOVED.c.revision), func.max(_REMOVED.c.removed_at))
    .where(_REMOVED.c.file_path.in_(bindparam("paths", expanding=True)))
    .group_by(_REMOVED.c.file_path)
)
_ANY_REMOVED = select(_REMOVED.c.version_id).limit(1)
_ERASED_LATER = select(_AUDIT.c.library_id, _AUDIT.c.at).where(_AUDIT.c.at >= bindparam("since"), _AUDIT.c.action == "erased")
_CURRENT = select(
    _VERSION.c.file_path,
    _VERSION.c.version_id,
    _VERSION.c.library_id,
    _VERSION.c.revision,
    _VERSION.c.content_sha256,
    _VERSION.c.file_size_bytes,
    _VERSION.c.compressed_size_bytes,
    _VERSION.c.created_at,
).where(_VERSION.c.file_path.in_(bindparam("paths", expanding=True)), _VERSION.c.current)


@dataclass(frozen=True, slots=True)
class CurrentVersion:
    """The current revision of a version, as far as a commit must know it."""

    version_id: str
    library_id: str
    revision: int
    content_sha256: str
    size_bytes: int
    stored_bytes: int
    stored_at: datetime


def current_versions(connection: Connection, file_paths: Iterable[str]) -> dict[str, CurrentVersion]:
    """Return the current revision of each version that is there, by its path in the tree."""
    found: dict[str, CurrentVersion] = {}
    for part in in_parts(sorted(file_paths)):
        rows = connection.execute(_CURRENT, {"paths": part})
        found.update((row[0], CurrentVersion(*row[1:])) for row in rows)
    return found


def removed_revisions(connection: Connection, file_paths: Iterable[str]) -> dict[str, tuple[int, datetime]]:
    """Return the highest number among each version's removed revisions and when one was removed last, by its path in the tree."""
    found: dict[str, tuple[int, datetime]] = {}
    if connection.scalar(_ANY_REMOVED) is None:  # where nobody ever removed anything, stores need not look further
        return found
    for part in in_parts(sorted(file_paths)):
        found.update((row[0], (row[1], row[2])) for row in connection.execute(_HIGHEST_REMOVED, {"paths": part}))
    return found


def erased_later(connection: Connection, since: datetime) -> dict[str, datetime]:
    """Return when something of which library was erased, then or later: there is any only where a clock was put back.

    What is told of it up to then never was, so whatever is stored now has to be later.
    """
    found: dict[str, datetime] = {}
    for library_id, at in connection.execute(_ERASED_LATER, {"since": since}):
        found[library_id] = max(at, found.get(library_id, at))
    return found


def already_there(
    connection: Connection, wanted: Sequence[tuple[str, str]], current: Mapping[str, CurrentVersion] | None = None
) -> dict[int, Committed]:
    """Return the answers for those of a batch's (path, content) that are there, by their place in the batch.

    ``current`` are the current versions of these paths, where the caller has them.
    A batch may name one version more than once: the second is the next revision of the first. So they are there when the
    version's last revisions are just these, in this order; else a batch that runs again would add them once more.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, (path, _) in enumerate(wanted):
        groups[path].append(index)
    if current is None:
        current = current_versions(connection, groups)
    answers: dict[int, Committed] = {}
    for path in current:
        contents = [wanted[index][1] for index in groups[path]]
        if current[path].content_sha256 == contents[-1]:
            answers.update(zip(groups[path], _last_revisions(connection, current[path], path, contents), strict=False))
    return answers


def _last_revisions(connection: Connection, current: CurrentVersion, path: str, contents: Sequence[str]) -> list[Committed]:
    """Return the revisions that hold these contents, if they are the last ones of their version; else nothing."""
    found = Committed("unchanged", current.revision, current.version_id)
    if len(contents) == 1:
        return [found]
    columns = _VERSION.c
    query = select(columns.revision, columns.version_id, columns.content_sha256).where(columns.file_path == path)
    history = [tuple(row) for row in connection.execute(query.order_by(columns.revision.desc()).limit(len(contents)))]
    answers: list[Committed] = []
    for content in reversed(contents):  # neighbours of equal content are one revision
        while history and answers and history[0][2] != content and answers[-1].revision == history[0][0]:
            history.pop(0)
        if not history or history[0][2] != content:
            return []
        answers.append(Committed("unchanged", history[0][0], history[0][1]))
    return answers[::-1]
