"""Rename and alias: a library gets another id, or one more name. The journal keeps who, when and why; no document is touched.

Records of versions stay as they were written: the journal's entry says that those before it are of the library's new id, and the
journal tells them once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from models.mending import library_holders
from models.names import AliasRow, is_library, last_change, list_aliases, put_alias, real_name, rename_library
from storage.events import read_events
from storage.index import VersionRecord
from storage.library_events import Erased
from storage.name_events import Aliased, Renamed, Unaliased
from storage.naming import Names
from storage.paths import check_identifier, tree_path
from storage.recorded import find_records
from storage.trail import Actor, Archive, behind, record_events
from strongroom.errors import CatalogueBusy, InvalidRequest, NotFound

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Renaming:
    """What a change of names came to. ``changed`` is False when it was so already: then nothing was written."""

    library_id: str
    name: str
    changed: bool


def rename(archive: Archive, old: str, new: str, actor: Actor) -> Renaming:
    """Have a library be called ``new``; its old id stays as an alias. Durable on return; the tree follows by ``catch_up``.

    Run twice, the second changes nothing. Called back, it is as it was.

    Raises:
        NotFound: there is no such library.
        InvalidIdentifier: the new id cannot be one.
        InvalidRequest: a library is or was called so, or it is another one's alias.
        CatalogueBusy: others stored into it meanwhile, again and again.
    """
    check_identifier(new, "library id")
    for _ in range(ATTEMPTS):
        with archive.database.read() as connection:
            library_id = _library(connection, old)
            revisions = library_holders(connection, library_id)
        if library_id == new:
            return Renaming(library_id, old, changed=False)
        records = [replace(one, library_id=new) for one in find_records(archive.folder, archive.database, revisions)]
        with archive.database.write("rename") as connection:
            same = _library(connection, old) == library_id and library_holders(connection, library_id) == revisions
            if same:
                _rename(archive, connection, library_id, new, records, actor)
                return Renaming(new, library_id, changed=True)
    raise CatalogueBusy(f"{old} is being changed by others, again and again.")


def _rename(
    archive: Archive, connection: Connection, library_id: str, new: str, records: Sequence[VersionRecord], actor: Actor
) -> None:
    meant = real_name(connection, new)
    if is_library(connection, new) or meant not in {new, library_id}:
        raise InvalidRequest(f"{new} is taken: it means {meant}.", _TAKEN)
    if _was_another(archive, new, library_id):
        raise InvalidRequest(f"{new} was another library, which was renamed or erased.", _FORMER)
    at = behind(archive.clock(), last_change(connection, library_id))
    # The records, too, since whoever rewrites an index keeps of it what the catalogue knows: that is the new id.
    record_events(archive.folder.journal, connection, [Renamed(library_id, new, at, actor.by, actor.why), *records])
    rename_library(connection, library_id, new, tree_path)
    if meant != new:
        put_alias(connection, AliasRow(new, "", at, actor.by, actor.why))  # the tree has a link where a folder is to be
    put_alias(connection, AliasRow(library_id, new, at, actor.by, actor.why))


def alias(archive: Archive, name: str, library_id: str, actor: Actor) -> Renaming:
    """Have a name mean a library wherever one is named: to read, to store, in the tree. It moves when it meant another one.

    Raises:
        NotFound: there is no such library.
        InvalidIdentifier: the name cannot be one.
        InvalidRequest: a library is called so.
    """
    check_identifier(name, "library id")
    with archive.database.write("alias") as connection:
        target = _library(connection, library_id)
        if is_library(connection, name):
            raise InvalidRequest(f"A library is called {name}.", _TAKEN)
        if real_name(connection, name) == target:
            return Renaming(target, name, changed=False)
        at = behind(archive.clock(), last_change(connection, target))
        record_events(archive.folder.journal, connection, [Aliased(target, name, at, actor.by, actor.why)])
        put_alias(connection, AliasRow(name, target, at, actor.by, actor.why))
    return Renaming(target, name, changed=True)


def unalias(archive: Archive, name: str, actor: Actor) -> Renaming:
    """Have a name mean nothing any more: a library of its own may be stored under it.

    Raises:
        NotFound: it is no alias.
    """
    with archive.database.write("alias") as connection:
        target = real_name(connection, name)
        if target == name:
            raise NotFound(f"{name} is no alias.", "`strongroom alias` lists them.")
        at = behind(archive.clock(), last_change(connection, target))
        record_events(archive.folder.journal, connection, [Unaliased(target, name, at, actor.by, actor.why)])
        put_alias(connection, AliasRow(name, "", at, actor.by, actor.why))
    return Renaming(target, name, changed=True)


def aliases(archive: Archive, library_id: str | None = None) -> list[AliasRow]:
    """Return the aliases of everything or of a library, by name."""
    with archive.database.read() as connection:
        return list_aliases(connection, None if library_id is None else real_name(connection, library_id))


_FORMER = "Choose another name: what the disk tells of that one is older, and could not be told from this library's."
_TAKEN = "Choose another name. Two libraries cannot become one; `strongroom alias NAME --remove` frees an alias."


def _was_another(archive: Archive, name: str, library_id: str) -> bool:
    """Whether a name was another library's own: by the times alone, a rebuild could not tell the two apart."""
    events = [one for one in read_events(archive.folder.journal) if isinstance(one, Renamed | Erased | Aliased | Unaliased)]
    names = Names(events)
    own = [one for one in events if isinstance(one, Renamed | Erased) and one.library_id == name]
    return any(names.today(name, one.at - timedelta(microseconds=1)) != library_id for one in own)


def _library(connection: Connection, name: str) -> str:
    library_id = real_name(connection, name)
    if not is_library(connection, library_id):
        raise NotFound(f"{name} is not stored.")
    return library_id
