"""What people say of versions: pins and labels. Journal first, then one commit; run twice, the second changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from models.catalogue import find_version
from models.curation import LabelRow, PinRow, drop_label, drop_pin, list_labels, list_pins, put_label, put_pin
from models.names import real_name
from models.rows import StoredVersion
from storage.events import Labelled, Pinned, Unpinned
from storage.paths import LATEST, check_identifier, tree_path
from storage.trail import Actor, Archive, record_events
from strongroom.errors import NotFound


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to. ``changed`` is False when it was so already: then nothing was written."""

    library_id: str
    version: str
    changed: bool


def pin(archive: Archive, library_id: str, version: str, actor: Actor) -> Changed:
    """Keep a version and its revisions from every policy. A version that is pinned keeps its first pin.

    Raises:
        NotFound: it is not stored.
    """
    with archive.database.write() as connection:
        library_id = real_name(connection, library_id)
        name = _stored(connection, library_id, version).version
        if list_pins(connection, library_id, name):
            return Changed(library_id, name, changed=False)
        event = Pinned(library_id, name, archive.clock(), actor.by, actor.why)
        record_events(archive.folder.journal, connection, [event])
        put_pin(connection, PinRow(library_id, name, event.at, event.by, event.why))
    return Changed(library_id, name, changed=True)


def unpin(archive: Archive, library_id: str, version: str, actor: Actor) -> Changed:
    """Leave a version to the policies again.

    Raises:
        NotFound: it is neither pinned nor stored.
    """
    with archive.database.write() as connection:
        library_id = real_name(connection, library_id)
        if not list_pins(connection, library_id, version):
            version = _stored(connection, library_id, version).version
        if not list_pins(connection, library_id, version):
            return Changed(library_id, version, changed=False)
        event = Unpinned(library_id, version, archive.clock(), actor.by, actor.why)
        record_events(archive.folder.journal, connection, [event])
        drop_pin(connection, library_id, version)
    return Changed(library_id, version, changed=True)


def label(archive: Archive, library_id: str, label: str, version: str | None, actor: Actor) -> Changed:
    """Have a label name a version of the library, and no other one; remove the label when ``version`` is None.

    Raises:
        NotFound: the version is not stored; there is no such label to remove.
        InvalidIdentifier: the label cannot be one: it follows the rules of a version's name.
    """
    if version is not None:
        check_identifier(label, "label")
    with archive.database.write() as connection:
        library_id = real_name(connection, library_id)
        name = None if version is None else _stored(connection, library_id, version).version
        before = next((one.version for one in list_labels(connection, library_id) if one.label == label), None)
        if before is None and name is None:
            raise NotFound(f"{library_id} has no label {label}.", "`strongroom history LIBRARY` lists the labels.")
        if before == name:
            return Changed(library_id, name or "", changed=False)
        event = Labelled(library_id, label, name, archive.clock(), actor.by, actor.why)
        record_events(archive.folder.journal, connection, [event])
        if name is None:
            drop_label(connection, library_id, label)
        else:
            put_label(connection, LabelRow(library_id, label, name, event.at, event.by, event.why))
    return Changed(library_id, name or "", changed=True)


def _stored(connection: Connection, library_id: str, version: str) -> StoredVersion:
    found = find_version(connection, library_id, None if version == LATEST else tree_path(library_id, version))
    if found is None:
        raise NotFound(f"{library_id} {version} is not stored.")
    return found
