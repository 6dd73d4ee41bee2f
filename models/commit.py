"""The commit of a store: the moment from which versions exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.catalogue import known_places
from models.libraries import CurrentVersion, update_libraries
from models.rows import Committed, NewSegment, NewVersion
from models.tables import Segment, StoredObject, Version, new_version_id, table_of

_VERSION, _SEGMENT, _OBJECT = (table_of(kind) for kind in (Version, Segment, StoredObject))


class Outdated(Exception):
    """What a store read before its commit no longer holds: a content was condemned, or a version changed. Store it afresh."""


def commit_store(connection: Connection, segments: Sequence[NewSegment], versions: Sequence[NewVersion]) -> list[Committed]:
    """Add durable segments and the versions that they and older segments hold. Returns one answer a version, in order.

    A version that is there with the same content is ``unchanged``; with other content it gets the next revision, or is
    ``refused`` when it asks for that. Runs inside the caller's write transaction.

    Raises:
        Outdated: a version relies on a content that the catalogue no longer offers, or would be added though the disk does
            not know of it.
    """
    fresh = {place.content_sha256 for segment in segments for place in segment.places}
    relied_on = {version.content_sha256 for version in versions} - fresh
    if relied_on - known_places(connection, relied_on).keys():
        raise Outdated
    _add_segments(connection, segments, versions)
    answers: dict[int, Committed] = {}
    for turn in _rounds(versions):
        answers.update(_commit_round(connection, turn))
    return [answers[index] for index in range(len(versions))]


def _rounds(versions: Sequence[NewVersion]) -> list[dict[int, NewVersion]]:
    """Split a batch that names one version twice: the second is the next revision of the first."""
    seen: Counter[str] = Counter()
    rounds: list[dict[int, NewVersion]] = []
    for index, new in enumerate(versions):
        turn = seen[new.file_path]
        seen[new.file_path] += 1
        if turn == len(rounds):
            rounds.append({})
        rounds[turn][index] = new
    return rounds


def _commit_round(connection: Connection, versions: Mapping[int, NewVersion]) -> dict[int, Committed]:
    current = current_versions(connection, {new.file_path for new in versions.values()})
    answers = {index: _decide(new, current.get(new.file_path)) for index, new in versions.items()}
    added = [(versions[index], answer) for index, answer in answers.items() if answer.status == "stored"]
    if not all(new.recorded for new, _ in added):
        raise Outdated
    superseded = [current[new.file_path] for new, _ in added if new.file_path in current]
    update_libraries(connection, [new for new, _ in added], superseded)
    if superseded:
        ids = [old.version_id for old in superseded]
        connection.execute(update(_VERSION).where(_VERSION.c.version_id.in_(ids)).values(current=False, in_tree=True))
    if added:
        connection.execute(insert(_VERSION), [_version_row(new, answer) for new, answer in added])
    return answers


def _decide(new: NewVersion, old: CurrentVersion | None) -> Committed:
    if old is None:
        return Committed("stored", 1, new_version_id())
    if old.content_sha256 == new.content_sha256:
        return Committed("unchanged", old.revision, old.version_id)
    if new.refuse_other:
        return Committed("refused", old.revision, old.version_id)
    return Committed("stored", old.revision + 1, new_version_id())


def current_versions(connection: Connection, file_paths: Iterable[str]) -> dict[str, CurrentVersion]:
    """Return the current revision of each version that is there, by its path in the tree."""
    columns = _VERSION.c
    query = select(
        columns.file_path,
        columns.version_id,
        columns.library_id,
        columns.revision,
        columns.content_sha256,
        columns.file_size_bytes,
        columns.compressed_size_bytes,
    ).where(columns.file_path.in_(sorted(file_paths)), columns.current)
    return {row[0]: CurrentVersion(*row[1:]) for row in connection.execute(query)}


def _add_segments(connection: Connection, segments: Sequence[NewSegment], versions: Sequence[NewVersion]) -> None:
    if not segments:
        return
    now = versions[0].stored_at
    present = _present(connection, segments)
    rows = [
        {"segment_sha256": new.segment_sha256, "size_bytes": new.size_bytes, "object_count": len(new.places), "created_at": now}
        for new in segments
        if new.segment_sha256 not in present
    ]
    if not rows:
        return
    connection.execute(insert(_SEGMENT), rows)
    places = (place for new in segments if new.segment_sha256 not in present for place in new.places)
    connection.execute(insert(_OBJECT), [{name: getattr(place, name) for name in place.__slots__} for place in places])


def _present(connection: Connection, segments: Sequence[NewSegment]) -> set[str]:
    """The same batch stored twice makes the same segment twice, byte for byte."""
    digests = [new.segment_sha256 for new in segments]
    return set(connection.scalars(select(_SEGMENT.c.segment_sha256).where(_SEGMENT.c.segment_sha256.in_(digests))))


def _version_row(new: NewVersion, answer: Committed) -> dict[str, Any]:
    return {
        "version_id": answer.version_id,
        "library_id": new.library_id,
        "version": new.version,
        "revision": answer.revision,
        "current": True,
        "order_rank": new.order_rank,
        "order_key": new.order_key,
        "file_path": new.file_path,
        "file_size_bytes": new.size_bytes,
        "compressed_size_bytes": new.stored_bytes,
        "content_sha256": new.content_sha256,
        "created_at": new.stored_at,
        "download_source": new.source,
        "details": dict(new.details),
        "in_tree": False,
    }
