"""Mend: a damaged segment gets its own bytes back, or what lives in it is written anew elsewhere; an index is made again.

The order is the promise: what is to take the damaged bytes' place is proven by its digests first; the damaged file is given a
name in the quarantine; the new bytes become durable; then one commit. A crash before the commit leaves garbage, or the right
bytes in their place; the next repair goes on from there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from models import mending
from models.changes import note_change
from models.rows import Place
from storage.casework import Case, Means, details, open_case
from storage.damage import damage_of, segment_sha256_of
from storage.fetches import Wanted
from storage.index import Index
from storage.index_files import replace_index
from storage.quarantine import keep_damaged
from storage.read import is_whole
from storage.reassembly import put_in_place, reassemble, tiles
from storage.retelling import read_if_whole
from storage.rewriting import WHY, rewrite
from storage.sources import Sources
from strongroom import durable
from strongroom.contracts import Repaired
from strongroom.errors import IntegrityError


class Mending:
    """Mends segments and indexes of one data folder, one after the other. Hold the repair's lock."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._folder = means.folder
        self._sources = Sources(means.folder, means.database, means.limits, means.fetches)

    def segment(self, name: str) -> list[Repaired]:
        """Mend a segment as far as sources allow; return the revisions whose bytes are whole again.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing is worse than before.
        """
        with durable.os_errors("cannot mend a segment"):
            case = open_case(self._means, name)
            if case is None:
                return []
            if segment_sha256_of(self._folder.segment(name)) == name:
                return self._correct_places(case)
            try:
                return self._mend(case)
            finally:
                case.close()

    def content(self, content_sha256: str) -> list[Repaired]:
        """Give a content that has no place one, if a source has it; return the revisions that are whole again.

        Raises:
            DiskFull, TransientIO, PermissionRefused: as ``segment``.
        """
        case = Case(self._means)
        with self._means.database.read() as connection:
            case.holders[content_sha256] = mending.holders(connection, {content_sha256})
        with durable.os_errors("cannot mend a version"):
            found = self._sources.recover(Wanted(content_sha256, holders=tuple(case.holders[content_sha256])))
            if found is None:
                return []
            case.damage[content_sha256], case.recovered[content_sha256] = "without_place", found
            try:
                return rewrite(case)
            finally:
                case.close()

    def index(self, name: str) -> bool:
        """Make a segment's index again, from the catalogue and the segment; return whether it is as it should be then.

        Raises:
            DiskFull, TransientIO, PermissionRefused: as ``segment``.
        """
        path, segment = self._folder.index(name), self._folder.segment(name)
        with durable.os_errors("cannot mend an index"):
            case = open_case(self._means, name)
            if case is None or not all(is_whole(self._folder, place) for place in case.known):
                return False
            old = case.index
            if old is not None and set(case.known) <= set(old.places):
                return True
            places = tuple(dict.fromkeys((*(old.places if old else ()), *case.known)))
            records = (*(old.versions if old else ()), *(() if old else case.records(case.holders)))
            keep_damaged(self._folder, path, "The index is damaged or out of step.", self._means.now)
            with self._means.database.read() as connection:
                when = mending.came(connection, name)
            index = Index(name, segment.stat().st_size, places, records, old.replaces if old else (), when)
            replace_index(self._folder.tmp / f"{secrets.token_hex(16)}.index", path, index)
            with self._means.database.write("repair") as connection:
                note_change(connection, [name], "changed", self._means.now)
        return read_if_whole(path) == index

    def _mend(self, case: Case) -> list[Repaired]:
        stretches = tiles([*case.known, *(case.index.places if case.index else ())])
        for place in stretches:
            case.look_at(place, self._sources)
        part = reassemble(self._folder, self._means.database, case.name, stretches, case.recovered, case.holders)
        if part is None:
            return rewrite(case)
        try:
            kept = keep_damaged(self._folder, self._folder.segment(case.name), WHY, self._means.now)
            put_in_place(self._folder, case.name, part)
        finally:
            part.unlink(missing_ok=True)
        if segment_sha256_of(self._folder.segment(case.name)) != case.name:
            raise IntegrityError(f"The segment {case.name} does not read back as it was written.")
        # The tree's links are of the damaged file: they are made anew. One segment, one object: that is how links come about.
        alone = {place.content_sha256 for place in stretches} if len(stretches) == 1 else set()
        done = case.told(case.damage.keys() & case.holders.keys())
        with self._means.database.write("repair") as connection:
            mending.show_again(connection, case.damage.keys() | alone)
            mending.audit_repair(connection, self._means.now, self._means.by, details(done, case.name, kept))
        return done

    def _correct_places(self, case: Case) -> list[Repaired]:
        """The segment is whole: where the catalogue's places are not, its index may know better."""
        better = {place.content_sha256: place for place in self._better(case)}
        if not better:
            return []
        done = case.told(better.keys() & case.holders.keys(), "index")
        with self._means.database.write("repair") as connection:
            for place in better.values():
                mending.correct_place(connection, place)
            mending.show_again(connection, better.keys())
            mending.audit_repair(connection, self._means.now, self._means.by, details(done, case.name, None))
        return done

    def _better(self, case: Case) -> Sequence[Place]:
        told = {place.content_sha256: place for place in (case.index.places if case.index else ())}
        case.damage = {place.content_sha256: damage for place in case.known if (damage := damage_of(self._folder, place))}
        return [told[one] for one in case.damage if one in told and is_whole(self._folder, told[one])]
