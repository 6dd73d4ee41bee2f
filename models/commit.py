"""The commit of a store: the moment from which versions exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.bulk import Adder
from models.catalogue import known_places, list_places
from models.changes import note_change
from models.history import CurrentVersion, already_there, current_versions, erased_later, removed_revisions
from models.libraries import correct_latest, update_libraries
from models.names import real_names
from models.parts import in_parts
from models.rows import Committed, NewSegment, NewVersion, Place
from models.tables import Segment, StoredObject, Version, new_version_id, table_of

_VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Version, Segment, StoredObject))
VERSION_COLUMNS = (
    "version_id",
    "library_id",
    "version",
    "revision",
    "current",
    "order_rank",
    "order_key",
    "file_path",
    "file_size_bytes",
    "compressed_size_bytes",
    "content_sha256",
    "created_at",
    "download_source",
    "details",
    "in_tree",
)
"""What a store knows of a version, in the order of ``_version_row``; every other column has a default."""

_VERSIONS = Adder(Version, *VERSION_COLUMNS)
_OBJECTS = Adder(StoredObject, *Place.__slots__)
_place_row = attrgetter(*Place.__slots__)


class Outdated(Exception):
    """What a store read before its commit no longer holds: another store, or a sweep, came in between."""


def commit_store(connection: Connection, segments: Sequence[NewSegment], versions: Sequence[NewVersion]) -> list[Committed]:
    """Add durable segments and the versions that they and older segments hold. Returns one answer a version, in order.

    A version that is there with the same content is ``unchanged``; with other content it gets the next revision, or is
    ``refused`` when it asks for that. Runs inside the caller's write transaction. Revisions follow the time they were stored
    at, so that a rebuild from the disk, which knows nothing but these times, numbers them alike.

    Raises:
        Outdated: a version relies on a content that the catalogue no longer offers, would be added though the disk does not
            know of it, or would be a revision older than the one before it or than a removal or an erasure; or a segment is about
            to be swept; or a library was renamed meanwhile.
    """
    fresh = {place.content_sha256 for segment in segments for place in segment.places}
    if real_names(connection, (version.library_id for version in versions)):
        raise Outdated
    relied_on = {version.content_sha256 for version in versions} - fresh
    if relied_on - known_places(connection, relied_on).keys():
        raise Outdated
    _show_again(connection, fresh)
    for segment in segments:
        add_segment(connection, segment, versions[0].stored_at)
    current = current_versions(connection, {new.file_path for new in versions})
    answers = already_there(connection, [(new.file_path, new.content_sha256) for new in versions], current)
    for number, turn in enumerate(_rounds({index: new for index, new in enumerate(versions) if index not in answers})):
        if number:
            current = current_versions(connection, {new.file_path for new in turn.values()})
        answers.update(_commit_round(connection, turn, current))
    return [answers[index] for index in range(len(versions))]


def _rounds(versions: Mapping[int, NewVersion]) -> list[dict[int, NewVersion]]:
    """Split a batch that names one version twice: the second is the next revision of the first."""
    seen: Counter[str] = Counter()
    rounds: list[dict[int, NewVersion]] = []
    for index, new in versions.items():
        turn = seen[new.file_path]
        seen[new.file_path] += 1
        if turn == len(rounds):
            rounds.append({})
        rounds[turn][index] = new
    return rounds


def _commit_round(
    connection: Connection, versions: Mapping[int, NewVersion], current: Mapping[str, CurrentVersion]
) -> dict[int, Committed]:
    removed = removed_revisions(connection, {new.file_path for new in versions.values()})
    numbers = {path: number for path, (number, _) in removed.items()}
    answers = {index: _decide(new, current.get(new.file_path), numbers.get(new.file_path, 0)) for index, new in versions.items()}
    added = [(versions[index], answer) for index, answer in answers.items() if answer.status == "stored"]
    superseded = {new.file_path: current[new.file_path] for new, _ in added if new.file_path in current}
    if any(current[new.file_path].stored_at >= new.stored_at for new, _ in added if new.file_path in current):
        raise Outdated
    if any(removed[new.file_path][1] >= new.stored_at for new, _ in added if new.file_path in removed):
        raise Outdated
    erased = erased_later(connection, min(new.stored_at for new, _ in added)) if added else {}
    if any(erased[new.library_id] >= new.stored_at for new, _ in added if new.library_id in erased):
        raise Outdated
    sunk = update_libraries(connection, [new for new, _ in added], superseded)
    for ids in in_parts(old.version_id for old in superseded.values()):
        connection.execute(update(_VERSION).where(_VERSION.c.version_id.in_(ids)).values(current=False, in_tree=True))
    _VERSIONS.add(connection, (_version_row(new, answer) for new, answer in added))
    correct_latest(connection, sunk)
    return answers


def _decide(new: NewVersion, old: CurrentVersion | None, removed: int) -> Committed:
    """Decide about one version; ``removed`` is the highest number among its removed revisions, which is not given again."""
    if old is not None and old.content_sha256 == new.content_sha256:
        return Committed("unchanged", old.revision, old.version_id)
    if old is not None and new.refuse_other:
        return Committed("refused", old.revision, old.version_id)
    if not new.recorded:
        raise Outdated
    return Committed("stored", max(old.revision if old else 0, removed) + 1, new_version_id())


def _show_again(connection: Connection, contents: Iterable[str]) -> None:
    """Have the tree show again what was written again, since its bytes were damaged or another store wrote them meanwhile."""
    columns = _VERSION.c
    for part in in_parts(sorted(contents)):
        ids = connection.scalars(
            select(columns.version_id).where(columns.content_sha256.in_(part), columns.current, columns.in_tree)
        )
        for shown in in_parts(ids):
            connection.execute(update(_VERSION).where(columns.version_id.in_(shown)).values(in_tree=False))


def add_segment(connection: Connection, new: NewSegment, now: datetime) -> None:
    """Add a segment, or what is missing of it: two stores of the same documents write the same segment, byte for byte.

    It came ``now`` if its index does not tell when.
    """
    condemned = connection.scalar(select(_SEGMENT.c.condemned).where(_SEGMENT.c.segment_sha256 == new.segment_sha256))
    if condemned:
        raise Outdated
    there = set()
    if condemned is None:
        row = {"segment_sha256": new.segment_sha256, "size_bytes": new.size_bytes, "object_count": len(new.places)}
        connection.execute(insert(_SEGMENT), {**row, "created_at": new.written_at or now, "condemned": False})
    else:
        there = {place.content_sha256 for place in list_places(connection, new.segment_sha256)}
    note_change(connection, [new.segment_sha256], "added" if condemned is None else "changed", now)
    _OBJECTS.add(connection, (_place_row(place) for place in new.places if place.content_sha256 not in there))


def _version_row(new: NewVersion, answer: Committed) -> tuple[Any, ...]:
    """Return the values of VERSION_COLUMNS."""
    return (
        answer.version_id,
        new.library_id,
        new.version,
        answer.revision,
        True,
        new.order_rank,
        new.order_key,
        new.file_path,
        new.size_bytes,
        new.stored_bytes,
        new.content_sha256,
        new.stored_at,
        new.source,
        dict(new.details),
        False,
    )
