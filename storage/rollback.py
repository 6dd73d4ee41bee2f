"""Rollback: ``latest`` means an older version again, or a version has older content again. Nothing is lost by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection

from models.catalogue import list_versions
from models.commit import Outdated, commit_store
from models.curation import Held, find_held, hold_latest
from models.history import removed_revisions
from models.names import real_name
from models.rows import NewVersion, StoredVersion
from storage.allowance import Allowance
from storage.events import LatestHeld, RolledBack
from storage.index import VersionRecord
from storage.ordering import order_of
from storage.paths import LATEST
from storage.read import stream_content
from storage.recorded import find_record
from storage.trail import Actor, Archive, behind, record_events
from storage.versions import Changed
from strongroom.errors import CatalogueBusy, IntegrityError, InvalidRequest, NotFound

ATTEMPTS = 3

Kind = Literal["latest", "content", "unchanged"]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback came to.

    ``latest``: it means ``version`` now, and meant ``latest_before``. ``content``: ``revision`` is the current one now, with the
    content of ``to_revision``; ``from_revision`` was current before.
    """

    kind: Kind
    library_id: str
    version: str
    revision: int
    from_revision: int
    to_revision: int
    latest_before: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a rollback is to do. ``target`` holds what is to be read then, ``current`` the version's current revision."""

    kind: Kind
    target: StoredVersion
    current: StoredVersion
    held: Held

    def came_to(self, revision: int) -> Rollback:
        old = self.current
        return Rollback(self.kind, old.library_id, old.version, revision, old.revision, self.target.revision, self.held.version)


def follow_newest(archive: Archive, library_id: str, actor: Actor) -> Changed:
    """Have ``latest`` mean the version that orders newest again, after a rollback.

    Raises:
        NotFound: no such library.
    """
    with archive.database.write() as connection:
        library_id = real_name(connection, library_id)
        held = _held(connection, library_id)
        if not held.by_hand:
            return Changed(library_id, held.version, changed=False)
        _hold(archive, connection, library_id, None, held, actor)
        newest = _held(connection, library_id).version
    return Changed(library_id, newest, changed=True)


def rollback(
    archive: Archive, library_id: str, version: str, actor: Actor, to: int | None = None, allowance: Allowance | None = None
) -> Rollback:
    """Go back to an older state; a reader sees the old or the new one.

    ``latest`` means ``version`` from now on, until a version that was not there before orders newest. If it means that version
    already, as the newest one, the version's content goes back one revision. With ``to`` the version's content goes back to that
    revision, whatever ``latest`` means. Going back makes a new revision: nothing is lost, and another rollback undoes it. A new
    revision counts for quotas; what ``latest`` means does not.

    Run twice, the second changes nothing where ``to`` is given or ``latest`` was moved; else it undoes the first.

    Raises:
        NotFound: no such library, version or revision.
        InvalidRequest: the version has one revision only.
        IntegrityError: what it would go back to is damaged; nothing was changed.
        QuotaExceeded: ``allowance`` has no room for another revision; nothing was changed.
        CatalogueBusy: others changed the version meanwhile, again and again.
    """
    for _ in range(ATTEMPTS):
        with archive.database.read() as connection:
            plan = _plan(connection, library_id, version, to)
        if plan.kind == "unchanged":
            return plan.came_to(plan.current.revision)
        _check(archive, plan)
        record = find_record(archive.folder, archive.database, plan.target) if plan.kind == "content" else None
        try:
            with archive.database.write() as connection:
                if _plan(connection, library_id, version, to) == plan:
                    if allowance is not None and plan.kind == "content":
                        allowance.require(connection, {plan.current.library_id: plan.target.place.length})
                    return _carry_out(archive, connection, plan, record, actor)
        except Outdated:
            continue
    raise CatalogueBusy(f"{library_id} {version} is being changed by others, again and again.")


def _check(archive: Archive, plan: _Plan) -> None:
    try:
        for _ in stream_content(archive.folder, plan.target.place):
            pass  # what it refers to may be damaged as well
    except IntegrityError as error:
        raise IntegrityError(f"{_told(plan.target)} is damaged: nothing was changed.", None, error.context) from error


def _carry_out(archive: Archive, connection: Connection, plan: _Plan, record: VersionRecord | None, actor: Actor) -> Rollback:
    if record is None:
        _hold(archive, connection, plan.current.library_id, plan.current.version, plan.held, actor)
        return plan.came_to(plan.current.revision)
    path = plan.current.file_path
    _, removed_at = removed_revisions(connection, {path}).get(path, (0, None))
    stored_at = behind(behind(archive.clock(), plan.current.created_at), removed_at)
    record = replace(record, stored_at=stored_at, refuse_other=False)
    told = (record.library_id, record.version, stored_at, plan.target.created_at, stored_at, actor.by, actor.why)
    (answer,) = commit_store(connection, [], [_new_version(record, plan.target)])
    # Who and why first: a version whose line alone survived a crash would be a change that nobody made.
    record_events(archive.folder.journal, connection, [RolledBack(*told), record])
    return plan.came_to(answer.revision)


def _hold(archive: Archive, connection: Connection, library_id: str, version: str | None, held: Held, actor: Actor) -> None:
    # Behind every store of the library: a rebuild, which knows nothing but the times, must not have one of them end the hold.
    at = behind(behind(archive.clock(), held.changed_at), held.at)
    record_events(archive.folder.journal, connection, [LatestHeld(library_id, version, at, actor.by, actor.why)])
    hold_latest(connection, library_id, version, at)


def _plan(connection: Connection, library_id: str, version: str, to: int | None) -> _Plan:
    library_id = real_name(connection, library_id)
    held = _held(connection, library_id)
    name = held.version if version == LATEST else version
    revisions = sorted(list_versions(connection, library_id, name, history=True), key=lambda one: -one.revision)
    if not revisions:
        raise NotFound(f"{library_id} {name} is not stored.")
    current = revisions[0]
    if to is None and not current.latest:
        return _Plan("latest", current, current, held)
    if to is None and held.by_hand:
        return _Plan("unchanged", current, current, held)
    target = _older(revisions) if to is None else _numbered(revisions, to)
    same = target.place.content_sha256 == current.place.content_sha256
    return _Plan("unchanged" if same else "content", target, current, held)


def _older(revisions: list[StoredVersion]) -> StoredVersion:
    current = revisions[0]
    for one in revisions[1:]:
        if one.place.content_sha256 != current.place.content_sha256:
            return one
    raise InvalidRequest(
        f"`latest` means {current.library_id} {current.version} already, and that has no older revision to go back to.",
        "Name an older version: `strongroom history LIBRARY` lists them.",
    )


def _numbered(revisions: list[StoredVersion], number: int) -> StoredVersion:
    for one in revisions:
        if one.revision == number:
            return one
    there = ", ".join(str(one.revision) for one in reversed(revisions))
    raise NotFound(f"{revisions[0].library_id} {revisions[0].version} has no revision {number}.", f"It has: {there}.")


def _new_version(record: VersionRecord, target: StoredVersion) -> NewVersion:
    order, place = order_of(record.sort_as or record.version), target.place
    return NewVersion(
        record.library_id,
        record.version,
        order.rank,
        order.key,
        target.file_path,
        place.content_sha256,
        place.size_bytes,
        place.length,
        record.stored_at,
        source=record.source,
        library=record.library,
        details=record.details,
    )


def _held(connection: Connection, library_id: str) -> Held:
    held = find_held(connection, library_id)
    if held is None:
        raise NotFound(f"{library_id} is not stored.")
    return held


def _told(one: StoredVersion) -> str:
    return f"{one.library_id} {one.version}, revision {one.revision},"
