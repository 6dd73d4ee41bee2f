"""What a manager can do with whole libraries: call them otherwise, take them out as a file, bring them in, erase them."""

from __future__ import annotations

import os
from pathlib import Path

from models.names import AliasRow
from storage import export, names
from storage.backup.place import Place
from storage.bring_in import Brought, import_file
from storage.curating import PROGRAM
from storage.erase.backups import BackupHolders
from storage.erase.from_backups import BackupPlan, FromBackups, GoneFromBackups
from storage.erase.plan import Plan, find_targets
from storage.erase.run import Done, Erasure
from storage.export import Written
from storage.names import Renaming
from storage.room import Room
from storage.trail import Actor
from storage.treemode import shown_mode
from strongroom.errors import InvalidRequest

FilePath = str | os.PathLike[str]


def rename_library(room: Room, library_id: str, new_id: str, *, by: str = PROGRAM, why: str = "") -> Renaming:
    """Have a library be called otherwise, in the tree too; its old id stays as an alias. Run twice, the second changes nothing.

    Raises:
        NotFound: there is no such library.
        InvalidIdentifier: the new id cannot be one.
        InvalidRequest: a library is or was called so, or it is another one's alias.
        CatalogueBusy: others stored into it meanwhile, again and again.
    """
    return _shown(room, names.rename(room.engine.archive, library_id, new_id, Actor(by, why)))


def add_alias(room: Room, name: str, library_id: str, *, by: str = PROGRAM, why: str = "") -> Renaming:
    """Have a name mean a library wherever one is named: to read, to store, in the tree. It moves when it meant another one.

    Raises:
        NotFound: there is no such library.
        InvalidIdentifier: the name cannot be one.
        InvalidRequest: a library is called so.
    """
    return _shown(room, names.alias(room.engine.archive, name, library_id, Actor(by, why)))


def remove_alias(room: Room, name: str, *, by: str = PROGRAM, why: str = "") -> Renaming:
    """Have a name mean nothing any more: a library of its own may be stored under it.

    Raises:
        NotFound: it is no alias.
    """
    return _shown(room, names.unalias(room.engine.archive, name, Actor(by, why)))


def list_aliases(room: Room, library_id: str | None = None) -> list[AliasRow]:
    """Return the aliases of everything or of a library, by name."""
    return names.aliases(room.engine.archive, library_id)


def export_library(
    room: Room, library_id: str, path: FilePath, version: str | None = None, *, by: str = PROGRAM, why: str = ""
) -> Written:
    """Write a library, or a version of it, into one file: revisions, pins and labels, every byte verified before it is written.

    The file is whole and durable on return, or not there; one of that name is replaced. ``latest`` or a label may name a version.

    Raises:
        NotFound: there is no such library or version.
        IntegrityError: something of it is damaged; no file was written.
        InvalidRequest, DiskFull, PermissionRefused: the file cannot be written.
    """
    if version is not None:
        version = room.engine.find(library_id, version).version
    return export.export(room.engine.archive, library_id, Path(path), Actor(by, why), version=version)


def import_library(
    room: Room, path: FilePath, library_id: str | None = None, *, aliases: bool = False, by: str = PROGRAM, why: str = ""
) -> Brought:
    """Store a library from an export file, under its own id or another one: all of it with one commit, or nothing.

    The file may come from anywhere: it is checked before anything is written. ``aliases``: its other names come along, as far as
    they mean nothing here; whoever wrote the file says what they mean. Run twice, the second changes nothing.

    Raises:
        InvalidRequest: the file is damaged, cut short, or no export.
        DataFolderError: a later release wrote it.
        InvalidIdentifier, InvalidDocument: an id or a document cannot be stored.
        QuotaExceeded: a quota has no room for all of it.
        Transient: waiting can heal it; calling again is safe.
    """
    return import_file(room.engine, Path(path), Actor(by, why), library_id, aliases=aliases)


def plan_erasure(
    room: Room,
    library_id: str | None = None,
    version: str | None = None,
    *,
    matching: str | None = None,
    backups: Place | None = None,
) -> Plan:
    """Return what erasing a library, a version of it, or every library that ``matching`` matches would take. Changes nothing.

    ``backups`` is the place whose backups are asked what they hold of it; without, the folder ``backups`` of the data folder.

    Raises:
        NotFound: it is not stored; nothing matches.
        InvalidRequest: neither a library nor a pattern is named, or both are.
    """
    if (library_id is None) == (matching is None) or (version is not None and library_id is None):
        raise InvalidRequest("What is to be erased is not named.", "Name the library, and a version of it, or a pattern.")
    targets = find_targets(room.engine.database, library_id, version, matching)
    return _erasure(room, backups).plan(targets)


def erase(room: Room, plan: Plan, *, why: str, by: str = PROGRAM, backups: Place | None = None) -> Done:
    """Erase what a plan says, for good: on return it is gone from the data folder, and ``proof`` says what was searched.

    What ``proof.left`` names holds something of it still: remove it, then ``resume_erasures``. Backups are named; see
    ``erase_from_backups``.

    Raises:
        InvalidRequest: no reason is given, or an accepted job would bring it back.
        StalePlan: something was stored or removed since; nothing was erased.
        IntegrityError: what refers to it, or lies in a segment with it, is damaged: a repair has to go first.
        Transient: a sweep, a compression or a backup is under way; ``resume_erasures`` finishes what was begun.
    """
    return _erasure(room, backups).apply(plan, Actor(by, why))


def resume_erasures(room: Room, *, backups: Place | None = None) -> list[Done]:
    """Finish erasures that were cut short, or that something was left of; return those.

    Raises:
        IntegrityError, Transient: as ``erase``.
    """
    return _erasure(room, backups).resume()


def plan_backup_erasure(room: Room, *, backups: Place | None = None) -> BackupPlan:
    """Return what it takes that backups, too, hold nothing any more of what was erased here. Changes nothing.

    ``backups`` is the place; without, the folder ``backups`` of the data folder.

    Raises:
        InvalidRequest: an erasure was cut short; ``resume_erasures`` goes first.
        StorageError: the place does not answer.
    """
    return FromBackups(room.engine, backups or _own_backups(room)).plan()


def erase_from_backups(
    room: Room, plan: BackupPlan, *, why: str, by: str = PROGRAM, backups: Place | None = None
) -> GoneFromBackups:
    """Remove each backup that holds something of what was erased here, behind a full one without it. Nothing brings them back.

    What ``left`` names holds something of it still, or may. Run twice, the second finds nothing to do.

    Raises:
        InvalidRequest: no reason is given, or an erasure was cut short.
        StalePlan: more backups hold it than the plan says; nothing was removed.
        BackupError: no backup can be taken that holds none of it; nothing was removed.
        StorageError: the place, the catalogue or the operating system refused; calling again goes on.
    """
    return FromBackups(room.engine, backups or _own_backups(room)).apply(plan, Actor(by, why))


def _own_backups(room: Room) -> Place:
    return Place(str(room.engine.folder.root / "backups"))


def _shown(room: Room, renaming: Renaming) -> Renaming:
    room.engine.tree.catch_up()
    return renaming


def _erasure(room: Room, backups: Place | None) -> Erasure:
    engine = room.engine
    others = [BackupHolders(backups or _own_backups(room), engine.folder, engine.database)]
    shown = shown_mode(engine.folder, engine.options.tree)
    return Erasure(engine.archive, engine.tree, shown, engine.options.limits, others)
