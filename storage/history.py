"""History: what became of a library or of one of its versions, by whom and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from models.chronicle import RevisionTold, list_revisions
from models.curation import AuditRow, Held, LabelRow, PinRow, find_held, list_audit, list_labels, list_pins
from models.database import Database
from models.names import list_aliases, real_name
from storage.paths import LATEST
from strongroom.errors import NotFound


@dataclass(frozen=True, slots=True)
class VersionHistory:
    """A version and its revisions, the newest first, removed ones too. It is stored when one of them is ``current``."""

    version: str
    latest: bool
    pin: PinRow | None
    labels: tuple[LabelRow, ...]
    revisions: tuple[RevisionTold, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What became of a library. ``trail`` holds what people and policies did, the newest first.

    Of a library that was erased whole, or of such a version, the trail is all that there is.
    """

    library_id: str
    latest: Held | None
    versions: tuple[VersionHistory, ...]
    trail: tuple[AuditRow, ...]


def read_history(database: Database, library_id: str, version: str | None = None, limit: int = 1000) -> History:
    """Return the history of a library, or of one of its versions; of the trail at most ``limit`` entries.

    Raises:
        NotFound: there never was such a library or version.
    """
    with database.read() as connection:
        library_id = real_name(connection, library_id)
        held = find_held(connection, library_id)
        name = version if version != LATEST else held.version if held is not None else None
        revisions = list_revisions(connection, library_id, name)
        pins = {one.version: one for one in list_pins(connection, library_id)}
        labels = list_labels(connection, library_id)
        trail = list_audit(connection, library_id, name, limit)
        for former in list_aliases(connection, library_id):  # what was done while it was called so
            trail += list_audit(connection, former.alias, name, limit)
    if not revisions and not any(name in {None, one.version} for one in trail):
        raise NotFound(f"{library_id} {name or ''}".strip() + " is not stored, and nothing is known of it.")
    by_version: dict[str, list[RevisionTold]] = defaultdict(list)
    for one in revisions:
        by_version[one.version].append(one)
    versions = tuple(_version(name, told, held, pins.get(name), labels) for name, told in by_version.items())
    return History(library_id, held, versions, tuple(sorted(trail, key=lambda one: one.at, reverse=True)[:limit]))


def _version(
    name: str, told: list[RevisionTold], held: Held | None, pin: PinRow | None, labels: list[LabelRow]
) -> VersionHistory:
    mine = tuple(label for label in labels if label.version == name)
    newest_first = tuple(sorted(told, key=lambda one: -one.revision))
    return VersionHistory(name, held is not None and name == held.version, pin, mine, newest_first)
