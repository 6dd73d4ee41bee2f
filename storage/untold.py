"""What only a segment that the catalogue does not name holds. A catalogue that was restored from an older copy lacks such rows.

A store that died before its commit leaves such a segment too, but its job has been done anew since: its contents have rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from models.catalogue import known_places
from models.database import Database
from models.sweeping import named_contents
from storage.events import Removed, Restored, Void, read_events
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from strongroom.errors import IntegrityError


def only_copies(folder: DataFolder, database: Database, names: Sequence[str]) -> set[str]:
    """Return those of these segments from which a rebuild would make a version whose content nothing else is known to hold.

    One whose index cannot be read is not among them: nobody knows what it told.
    """
    told: dict[str, Sequence[VersionRecord]] = {}
    for name in names:
        if not folder.segment(name).exists():
            continue  # an index alone holds nothing
        with suppress(IntegrityError):
            told[name] = read_index(folder.index(name)).versions
    held = _held(folder, database, {one.content_sha256 for records in told.values() for one in records})
    missing = {name: [one for one in records if one.content_sha256 not in held] for name, records in told.items()}
    if not any(missing.values()):
        return set()
    given_up = _given_up(folder.journal)
    return {
        name
        for name, records in missing.items()
        if any((one.library_id, one.version, one.stored_at, one.content_sha256) not in given_up for one in records)
    }


def _held(folder: DataFolder, database: Database, contents: set[str]) -> set[str]:
    """Return those of these contents that a revision has, in a segment that is there: an older catalogue names some that went."""
    with database.read() as connection:
        places = known_places(connection, named_contents(connection, contents))
    return {content for content, place in places.items() if folder.segment(place.segment_sha256).exists()}


def _given_up(journal: Path) -> set[tuple[str, str, datetime, str]]:
    """Return the revisions that never came to be, or that were removed and not restored."""
    void: set[tuple[str, str, datetime, str]] = set()
    removed: dict[tuple[str, str, datetime], str] = {}
    for event in read_events(journal):
        if isinstance(event, Void):
            void.add((event.library_id, event.version, event.stored_at, event.content_sha256))
        elif isinstance(event, Removed):
            removed[event.library_id, event.version, event.stored_at] = event.content_sha256
        elif isinstance(event, Restored):
            removed.pop((event.library_id, event.version, event.stored_at), None)
    return void | {(*named, content) for named, content in removed.items()}
