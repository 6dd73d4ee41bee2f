"""The past of a part: what the journal of everything tells of one library, or of one version of it, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from models.curation import find_held, list_labels
from models.database import Database
from models.mending import library_holders
from models.names import list_aliases, real_name
from storage.engine import Engine
from storage.events import Event, Labelled, LatestHeld, Void, append_events, read_events
from storage.index import VersionRecord
from storage.layout import DataFolder
from storage.name_events import Aliased, Naming, Renamed
from storage.naming import Names
from storage.rebuild import rebuild
from storage.recorded import find_records
from strongroom import durable

_Told = VersionRecord | Event


@dataclass(frozen=True, slots=True)
class Past:
    """Reads a data folder, of which indexes, journal and catalogue are needed. ``version`` None: all of the library."""

    folder: DataFolder
    database: Database
    library_id: str
    version: str | None = None

    def told(self) -> list[_Told]:
        """Return what a folder that holds the part alone has to tell, so that a rebuild of it knows what is known here.

        That are the records of its revisions, those that can be brought back among them, and what was done to any: who removed,
        pinned, labelled, rolled back or renamed what, and when. Of a version it is what concerns that, or all of the library.
        """
        with self.database.read() as connection:
            library_id = real_name(connection, self.library_id)
            holders = [one for one in library_holders(connection, library_id) if self.version in {None, one.version}]
        told = list(read_events(self.folder.journal))
        names = Names(one for one in told if not isinstance(one, VersionRecord))
        mine = [one for one in told if self._concerns(one, names, library_id)]
        mine = self._as_it_ended(mine, library_id)
        there = {(one.version, one.stored_at) for one in mine if isinstance(one, VersionRecord)}
        left = [one for one in holders if (one.version, one.stored_at) not in there]
        records = find_records(self.folder, self.database, left)
        own = Names(one for one in mine if isinstance(one, Naming))
        return [_under_its_name(one, own, library_id) for one in (*records, *mine)]

    def _concerns(self, one: _Told, names: Names, library_id: str) -> bool:
        if isinstance(one, Renamed):
            return names.today(one.to, one.at) == library_id
        if names.today(one.library_id, _time(one)) != library_id:
            return False
        return self.version is None or getattr(one, "version", None) in {None, self.version}

    def _as_it_ended(self, mine: Sequence[_Told], library_id: str) -> list[_Told]:
        """Leave out what would last because what ended it is of another version, or of another library, and is not told."""
        with self.database.read() as connection:
            aliases = {one.alias for one in list_aliases(connection, library_id)}
            labels = {one.label for one in list_labels(connection, library_id) if self.version in {None, one.version}}
            held = find_held(connection, library_id)
        others = {one.alias for one in Names(one for one in mine if isinstance(one, Naming)).aliases()} - aliases
        is_held = self.version is None or (held is not None and held.by_hand and held.version == self.version)

        def lasts(one: _Told) -> bool:
            if isinstance(one, Labelled) and self.version is not None:
                return one.version is None or one.label in labels
            if isinstance(one, LatestHeld):
                return one.version is None or is_held
            return (one.alias if isinstance(one, Aliased) else one.library_id if isinstance(one, Renamed) else "") not in others

        return [one for one in mine if lasts(one)]


def bring_past(new: DataFolder, past: Sequence[_Told], now: datetime) -> tuple[str, ...]:
    """Have a new folder that holds the contents tell this past, too, and make its catalogue of that; return what is wrong then.

    The folder is nobody's yet: nothing of this is durable on return.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    append_events(new.journal, past)
    catalogue = new.metadata / "catalogue.db"
    with durable.os_errors("cannot restore"):
        for path in list(catalogue.parent.glob(f"{catalogue.name}*")):
            path.unlink()
    found = rebuild(new, f"sqlite:///{catalogue}", now).findings
    with Engine(new.root).open() as engine:
        engine.tree.catch_up()  # what was removed is shown no more
    return tuple(f"{one.code}: {one.message}" for one in found)


def _time(one: _Told) -> datetime:
    return one.stored_at if isinstance(one, VersionRecord | Void) else one.at


def _under_its_name(one: _Told, own: Names, library_id: str) -> _Told:
    """Return it as it is, unless the names that are told with it do not lead to the library."""
    if isinstance(one, Naming) or own.today(one.library_id, _time(one)) == library_id:
        return one
    return replace(one, library_id=library_id)
