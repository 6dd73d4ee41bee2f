"""What the journal says of an erasure, and what it says no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from models.curation import list_labels
from models.erasing import Doomed, is_empty_without, is_held
from models.mending import library_holders
from models.names import list_aliases
from models.rows import LIBRARY_FACTS
from storage.erase.note import Note, Target
from storage.erase.scope import Scope
from storage.events import Event, Labelled, LatestHeld, Removed, Void, parse_entry, read_events
from storage.index import VersionRecord
from storage.journal import wipe_entries
from storage.library_events import Erased
from storage.name_events import Unaliased
from storage.naming import Names, under_todays_names
from storage.recorded import find_records
from storage.replay import replay
from storage.trail import Archive

_KINDS = ("version", "void", "removed", "restored", "purged", "pinned", "unpinned", "labelled", "latest", "rolled_back")
"""Entries that tell of a version. Those of names, exports and erasures stay: they hold ids alone."""


def ends_of(connection: Connection, target: Target, note: Note) -> Iterator[Event]:
    """Yield what has to be said so that nothing goes on to point at what is erased."""
    library_id, version = target
    who = (note.at, note.by, note.why)
    if is_empty_without(connection, library_id, version):
        yield from (Unaliased(library_id, one.alias, *who) for one in list_aliases(connection, library_id))
        return
    labels = [one.label for one in list_labels(connection, library_id) if one.version == version]
    yield from (Labelled(library_id, label, None, *who) for label in labels)
    if is_held(connection, library_id, version):
        yield LatestHeld(library_id, None, *who)


def erased(target: Target, rows: Sequence[Doomed], note: Note) -> Erased:
    """Return the entry that says what was erased, by whom and why: an id, and nothing of the content."""
    library_id, version = target
    mine = [one for one in rows if one.library_id == library_id and version in {None, one.version}]
    return Erased(library_id, version, len(mine), note.at, note.by, note.why, note.since)


def told_target(entry: Mapping[str, Any], scope: Scope) -> Target | None:  # JSON
    """Return what is erased of which a journal entry tells, under the name that its library had then; None: of nothing."""
    (kind,) = entry
    event = parse_entry(entry) if kind in _KINDS else None
    if event is None:
        return None
    at: datetime = event.stored_at if isinstance(event, VersionRecord | Void) else event.at
    return scope.target_of(event.library_id, getattr(event, "version", None), at)


def wipe_told(
    journal: Path, scope: Scope, redacted: Callable[[bytes], bytes] = lambda told: told, *, damaged_too: bool = False
) -> int:
    """Make each entry of a journal that tells of what is erased one that says nothing; see ``storage.journal.wipe_entries``."""
    return wipe_entries(journal, lambda entry: told_target(entry, scope) is not None, redacted, damaged_too=damaged_too)


def what_is_left(archive: Archive, library_id: str, note: Note) -> dict[str, Any] | None:
    """Return what the records of the library that stay tell of it: as a rebuild will find it."""
    folder, database = archive.folder, archive.database
    with database.read() as connection:
        stay = [one for one in library_holders(connection, library_id) if not note.hits(library_id, one.version)]
    told = [one for one in read_events(folder.journal) if not isinstance(one, VersionRecord)]
    named = under_todays_names(Names(told), [], told)[1]
    removals = [one for one in named if isinstance(one, Removed) and not note.hits(one.library_id, one.version)]
    library = replay(find_records(folder, database, stay), removals).libraries.get(library_id)
    if library is None:
        return {}
    facts = {name: library.facts.get(name, None if name in {"trust_score", "star_count"} else "") for name in LIBRARY_FACTS}
    latest = dict(zip(("latest_rank", "latest_key", "latest_at"), library.newest, strict=True))
    latest |= {"created_at": library.created_at, "updated_at": library.updated_at}
    return {**facts, **latest, "latest_version": library.latest}
