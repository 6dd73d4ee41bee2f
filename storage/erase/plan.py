"""What an erasure would take, and what it would leave since somebody else needs it. Changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from sqlalchemy import Connection

from models.catalogue import list_libraries
from models.database import Database
from models.erasing import Doomed, doomed_revisions, referring_places, stored_bytes
from models.mending import holders
from models.names import list_aliases, real_name
from storage.documents import Limits, unpack
from storage.erase.holders import Holders, Holding
from storage.erase.note import Target
from storage.erase.scope import Scope, names_told
from storage.paths import LATEST
from storage.trail import Archive
from strongroom.errors import NotFound, StorageError
from strongroom.inbox import InboxFile


@dataclass(frozen=True, slots=True)
class StillHeld:
    """A content that stays, since a revision that is not erased has it, too."""

    content_sha256: str
    library_id: str
    version: str
    revision: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would do. ``plan_id`` names exactly this. ``contents`` are those that go, ``shared`` those that stay.

    ``referring`` counts contents that are encoded anew first. ``waiting`` are accepted jobs that would bring some of it back.
    """

    plan_id: str
    targets: tuple[Target, ...]
    revisions: tuple[Doomed, ...]
    contents: tuple[str, ...]
    stored_bytes: int
    shared: tuple[StillHeld, ...]
    referring: int
    waiting: tuple[str, ...]
    backups: tuple[Holding, ...]
    names: tuple[str, ...]


def find_targets(
    database: Database, library_id: str | None, version: str | None = None, matching: str | None = None
) -> tuple[Target, ...]:
    """Return what is meant: a library, a version of it, or every library whose id matches a pattern as of a shell.

    Raises:
        NotFound: nothing is.
    """
    with database.read() as connection:
        if library_id is None:
            names = [one.library_id for one in list_libraries(connection) if fnmatchcase(one.library_id, matching or "")]
            if not names:
                raise NotFound(f"No library matches {matching!r}.")
            return tuple((name, None) for name in names)
        real = real_name(connection, library_id)
        known = {one.version for one in doomed_revisions(connection, real)}
        if not known or (version is not None and version not in known):
            hint = "Name the version itself: `latest` may mean another one when it is erased." if version == LATEST else None
            raise NotFound(f"{library_id} {version or ''}".strip() + " is not stored.", hint)
    return ((real, version),)


def make_plan(archive: Archive, targets: Sequence[Target], others: Sequence[Holders], limits: Limits) -> Plan:
    """Return what an erasure of these would do now."""
    folder, database = archive.folder, archive.database
    with database.read() as connection:
        revisions = [one for library_id, version in targets for one in doomed_revisions(connection, library_id, version)]
        contents = {one.content_sha256 for one in revisions if one.content_sha256}
        shared = still_held(connection, contents, targets)
        gone = contents - {one.content_sha256 for one in shared}
        size, referring = stored_bytes(connection, gone), len(referring_places(connection, gone))
        names = {name for library_id, _ in targets for name in (library_id, *_aliases(connection, library_id))}
    backups = tuple(held for one in others for held in one.holding(_meant(archive, targets, revisions), gone))
    waiting = tuple(path.name for path in sorted(folder.inbox.glob("*.inbox")) if holds_any(path, gone, limits))
    digest = hashlib.sha256(repr((sorted(targets, key=repr), sorted(one.version_id for one in revisions))).encode()).hexdigest()
    told = (tuple(revisions), tuple(sorted(gone)), size, tuple(shared), referring, waiting, backups, tuple(sorted(names)))
    return Plan(digest[:16], tuple(targets), *told)


def _meant(archive: Archive, targets: Sequence[Target], revisions: Sequence[Doomed]) -> Scope:
    at = max((one.stored_at for one in revisions), default=archive.clock())
    ends = dict.fromkeys(targets, max(at, archive.clock()))
    return Scope(ends, names_told(archive.folder.journal), min((one.stored_at for one in revisions), default=None))


def still_held(connection: Connection, contents: Collection[str], targets: Collection[Target]) -> list[StillHeld]:
    """Return the revisions beyond the targets that need one of these contents."""
    found = [
        StillHeld(one.content_sha256, one.library_id, one.version, one.revision)
        for one in holders(connection, contents)
        if (one.library_id, None) not in targets and (one.library_id, one.version) not in targets
    ]
    return sorted(found, key=lambda one: (one.content_sha256, one.library_id, one.version, one.revision))


def _aliases(connection: Connection, library_id: str) -> list[str]:
    return [one.alias for one in list_aliases(connection, library_id)]


def holds_any(path: Path, contents: Collection[str], limits: Limits) -> bool:
    """Whether a payload holds one of these contents. One that cannot be read holds nothing that could be stored."""
    try:
        with InboxFile(path) as file:
            return any(content in contents for content in payload_contents(file, limits))
    except (StorageError, OSError):
        return False


def payload_contents(file: InboxFile, limits: Limits) -> Iterator[str]:
    """Yield the content of each document of a payload, in its order; the digest as staged of what does not unpack."""
    for document in file.manifest.documents:
        digest = hashlib.sha256()
        try:
            with file.open(document) as source:
                for piece in unpack(source, limits):
                    digest.update(piece)
        except StorageError:
            yield document.sha256
        else:
            yield digest.hexdigest()
