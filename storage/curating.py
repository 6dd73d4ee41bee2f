"""What a manager can do about versions besides storing and reading them: compare, go back, pin, label."""

from __future__ import annotations

from storage.comparing import Comparison, compare
from storage.history import History, read_history
from storage.paths import LATEST
from storage.rollback import Rollback
from storage.room import Room
from storage.trail import Actor
from storage.versions import Changed, label, pin, unpin

PROGRAM = "program"
"""Who does something when the caller does not say; such as person:ada or producer:crawler tells more."""


def rollback(
    room: Room, library_id: str, version: str, to_revision: int | None = None, *, by: str = PROGRAM, why: str = ""
) -> Rollback:
    """Go back to an older state, in one step for readers; another rollback undoes it.

    ``latest`` means ``version`` again, until a version that was not there orders newest. If it means that version already, since
    it is the newest, its content goes back by one revision; ``to_revision`` names one, and leaves ``latest`` alone.

    Raises:
        NotFound: no such library, version or revision.
        InvalidRequest: there is no older revision.
        IntegrityError: what it would go back to is damaged; nothing was changed.
        QuotaExceeded: there is no room for a further revision; nothing was changed.
    """
    return room.engine.rollback(library_id, version, Actor(by, why), to_revision)


def follow_newest(room: Room, library_id: str, *, by: str = PROGRAM, why: str = "") -> Changed:
    """Have ``latest`` mean the newest version again, after a rollback.

    Raises:
        NotFound: no such library.
    """
    return room.engine.follow_newest(library_id, Actor(by, why))


def pin_version(room: Room, library_id: str, version: str, *, by: str = PROGRAM, why: str = "") -> Changed:
    """Keep a version and its revisions from every cleanup. Pinned twice it keeps its first pin.

    Raises:
        NotFound: it is not stored.
    """
    return pin(room.engine.archive, library_id, version, Actor(by, why))


def unpin_version(room: Room, library_id: str, version: str, *, by: str = PROGRAM, why: str = "") -> Changed:
    """Leave a version to the cleanup's policy again.

    Raises:
        NotFound: it is not stored.
    """
    return unpin(room.engine.archive, library_id, version, Actor(by, why))


def label_version(room: Room, library_id: str, name: str, version: str | None, *, by: str = PROGRAM, why: str = "") -> Changed:
    """Have a label name a version of the library, and no other one; remove the label when ``version`` is None.

    Raises:
        NotFound: the version is not stored; there is no such label to remove.
        InvalidIdentifier: the label cannot be one.
    """
    return label(room.engine.archive, library_id, name, version, Actor(by, why))


def get_history(room: Room, library_id: str, version: str | None = None, limit: int = 1000) -> History:
    """Return what became of a library or a version: revisions, pins, labels, and at most ``limit`` of the last changes.

    Raises:
        NotFound: nothing is known of it.
    """
    return read_history(room.engine.database, library_id, version, limit)


def compare_versions(room: Room, library_id: str, before: str, after: str = LATEST) -> Comparison:
    """Return what differs between two versions, section by section. A revision is named as in ``2.0@1``.

    Raises:
        NotFound: one of them is not stored.
        IntegrityError: the bytes of one are damaged.
        LimitExceeded: one is larger than 256 MiB, or has more than 200,000 sections.
    """
    return compare(room.engine, library_id, before, after)
