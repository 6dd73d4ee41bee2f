"""Erasure from backups: what was erased here is gone from a place of backups as well, and what is left of it there is said.

A backup is never changed, so whatever holds something of it goes as a whole. In this order: a new full backup is taken that
holds none of it; packs that are to go are doomed, so that nothing builds on them; manifests are looked for once more, and those
that need one of these packs are removed; then the packs go, at once and not a day later. Last the journal says that it is so. A
crash at any step leaves more than is to stay, and each backup that is kept whole; the next call goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from models.backups import note_removed
from models.changes import epoch
from models.names import last_change
from storage.backup.create import Create
from storage.backup.doomed import doom, doomed_packs
from storage.backup.manifest import Manifest, manifests, remove_manifest
from storage.backup.packs import PACK_BYTES
from storage.backup.parents import Parents
from storage.backup.place import Place
from storage.backup.prune import WAIT, Fate
from storage.backup.repository import Repository, pack_path
from storage.backup.snapshot import EPOCH
from storage.engine import Engine
from storage.erase.backups import holding_backups
from storage.erase.holders import Holding
from storage.erase.indexes import forget_overtaken
from storage.erase.note import Target, pending_notes
from storage.erase.packs import Survey, Surveyed
from storage.erase.scope import Scope, pending_scope
from storage.library_events import ErasedFromBackups
from storage.progress import Progress, silent
from storage.trail import Actor, behind, record_events
from strongroom.errors import BackupError, InvalidRequest, NotFound, StalePlan

_TRIES = 2
_ADDED = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What erasing from the backups at a place would do. ``plan_id`` names exactly this; ``targets`` was erased here before.

    ``anew``: a full backup is taken first, since no newest one stays. ``packs`` go, of so many bytes. ``left`` is what holds
    something of it, or may, and stays.
    """

    plan_id: str
    url: str
    targets: tuple[Target, ...]
    fates: tuple[Fate, ...]
    anew: bool
    packs: int
    packs_bytes: int
    left: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class GoneFromBackups:
    """What was done. ``made``: the full backup that was taken, if one was. ``left``: then it is not over.

    ``searched``: the backups that are there now, none of which holds anything of it.
    """

    url: str
    targets: tuple[Target, ...]
    made: str | None
    removed: tuple[str, ...]
    packs: int
    packs_bytes: int
    searched: tuple[str, ...]
    left: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class FromBackups:
    """Erases from the backups at a place what was erased from a data folder: of ``only`` these targets, else of all of them."""

    engine: Engine
    place: Place
    only: Collection[Target] | None = None
    progress: Progress = silent
    pack_bytes: int = PACK_BYTES

    def plan(self) -> BackupPlan:
        """Return what ``apply`` would do. Changes nothing.

        Raises:
            InvalidRequest: an erasure was cut short; that goes first.
            StorageError: the place does not answer.
        """
        work = self._work()
        if work is None:
            return BackupPlan(_named(()), self.place.target().url, (), (), anew=False, packs=0, packs_bytes=0, left=())
        return work.plan()

    def apply(self, plan: BackupPlan, actor: Actor) -> GoneFromBackups:
        """Do what a plan says. On return it is gone, or ``left`` says what holds it still; nothing brings it back.

        Raises:
            InvalidRequest: no reason is given; an erasure was cut short.
            StalePlan: another backup would go than the plan says; nothing was removed.
            BackupError: no backup can be taken that holds none of it; nothing was removed.
            StorageError: the place, the catalogue or the operating system refused; calling again goes on.
        """
        if not actor.why.strip():
            raise InvalidRequest("An erasure needs a reason, which is kept.", "Say --why, such as --why 'request 4711'.")
        work = self._work()
        if work is None:
            return GoneFromBackups(self.place.target().url, (), None, (), 0, 0, (), ())
        return work.apply(plan, actor)

    def _work(self) -> _Work | None:
        """Return the work that there is; None where there are no backups, or nothing was erased that they could hold."""
        for _ in pending_notes(self.engine.folder):
            raise InvalidRequest("An erasure was cut short.", "`strongroom erase --resume` finishes it; then give this again.")
        with suppress(NotFound):
            repository = self.place.open()
            scope = pending_scope(self.engine.folder.journal, repository, self.only)
            return _Work(self, repository, scope) if scope.ends else None
        return None


class _Work:
    def __init__(self, told: FromBackups, repository: Repository, scope: Scope) -> None:
        self._told, self._engine, self._repository, self._scope = told, told.engine, repository, scope
        self._survey = Survey(repository, told.engine.folder, told.engine.database, scope)
        self._now = told.engine.archive.clock

    def plan(self) -> BackupPlan:
        return self._plan(self._survey.run())

    def _plan(self, found: Surveyed) -> BackupPlan:
        fates = tuple(_fate(one, found.going.get(one.backup_id)) for one in found.manifests)
        packs = self._needless(found, {})
        size = sum(found.packs[name].size_bytes for name in packs)
        left = tuple(self._left(replace(found, going={}, holding={}), found.noted | packs | found.needed(())))
        told = (self._repository.target.url, tuple(sorted(self._scope.ends, key=repr)), fates)
        return BackupPlan(_named(found.going), *told, self._wants_another(found), packs=len(packs), packs_bytes=size, left=left)

    def apply(self, plan: BackupPlan, actor: Actor) -> GoneFromBackups:
        first = self._survey.run()
        if not first.going.keys() <= {one.backup_id for one in plan.fates if not one.keep}:
            raise StalePlan("More backups hold it than the plan says.", "Look at the new plan, then apply that.")
        made = None
        now = first
        if self._wants_another(first):
            made, now = self._anew(first, actor.by)
        packs = self._needless(now, first.holding)
        removed = self._remove(now, packs, first.holding)
        after = self._survey.run()
        left = tuple(self._left(after, first.noted | after.noted))
        if not left:
            self._tell(len(removed), actor)
        size = sum(now.packs[name].size_bytes for name in packs)
        url, searched = self._repository.target.url, tuple(one.backup_id for one in after.manifests)
        return GoneFromBackups(url, tuple(self._scope.ends), made, removed, len(packs), size, searched, left)

    def _wants_another(self, found: Surveyed) -> bool:
        """Whether a backup has to be taken: some go, and the newest of this catalogue does, or is not known to be whole."""
        with self._engine.database.read() as connection:
            mine = epoch(connection)
        newest = next((one for one in found.manifests if one.marks.get(EPOCH) == mine), None)
        if not found.going or newest is None:
            return bool(found.going)
        return newest.backup_id in found.going or newest != Parents(self._repository, self._engine.database).newest()

    def _anew(self, found: Surveyed, by: str) -> tuple[str, Surveyed]:
        """Take a full backup, and make sure that it holds nothing of it."""
        told = self._told
        forget_overtaken(self._engine.archive, self._scope)
        create = Create(self._engine, self._repository, told.progress, self._now, told.pack_bytes, by)
        for _ in range(_TRIES):  # what a killed run has left may be more than is needed: then nobody knows what the rest is
            made = create.run(full=True, without=frozenset(found.holding))
            now = self._survey.run()
            if made.backup_id not in now.going:
                return made.backup_id, now
        said = f"The new backup {made.backup_id} holds something of it: {now.going[made.backup_id]}"
        raise BackupError(f"{said} Nothing was removed.")

    def _needless(self, found: Surveyed, before: Collection[str]) -> set[str]:
        """Return the packs that none of the backups that stay needs; ``before``: those found to hold something of it earlier."""
        packs = {*before, *found.holding, *doomed_packs(self._repository)}
        packs |= {name for one in found.manifests if one.backup_id in found.going for name in one.packs}
        packs |= {name for name, one in found.packs.items() if one.at <= self._now() - WAIT} - found.noted
        return (packs & found.packs.keys()) - found.needed(found.going)

    def _remove(self, found: Surveyed, needless: Collection[str], before: Collection[str]) -> tuple[str, ...]:
        """Remove packs and the backups that need one of them; return those.

        Where nobody can tell what some backup needs, only packs that hold something of it go. All stay doomed for a day: a backup
        that is under way looks for that when it has ended.
        """
        target, now = self._repository.target, self._now()
        if needless:
            doom(self._repository, needless, now)
        going = self._let_go(found.going.keys() | self._needing(needless))  # those, too, that ended before the packs were doomed
        gone = {name for name in needless if not found.unusable or name in before or name in found.holding}
        for name in sorted(gone):
            target.remove(pack_path(name))
        going += self._let_go(self._needing(gone))  # and those of which a prune said that what they need is not doomed any more
        target.tidy(max(self._scope.ends.values()))  # what was not finished, and begun before it was erased
        return tuple(sorted(going))

    def _needing(self, packs: Collection[str]) -> set[str]:
        every = manifests(self._repository)
        return {backup_id for backup_id, one in every if isinstance(one, Manifest) and not one.packs.keys().isdisjoint(packs)}

    def _let_go(self, backups: Collection[str]) -> list[str]:
        for backup_id in sorted(backups):
            remove_manifest(self._repository, backup_id)
        with self._engine.database.write("erase") as connection:
            note_removed(connection, backups)
        return list(backups)

    def _left(self, found: Surveyed, known: Collection[str]) -> Iterator[Holding]:
        """Yield what holds something of it, or may: packs of no backup that nobody knows are such as a run that died has left."""
        url = self._repository.target.url
        yield from holding_backups(found, url)
        fine = (found.needed(()) | set(known)) - found.holding.keys()
        strange = [one for name, one in found.packs.items() if name not in fine]
        if strange and not (found.going or found.unusable):
            until = max(one.at for one in strange) + WAIT
            words = f"{len(strange)} packs that no backup tells of may be those of one that is running, or of one that died"
            yield Holding(f"packs in {url}", words, f"Give this again after {until:%Y-%m-%d %H:%M} UTC: then they go.")

    def _tell(self, removed: int, actor: Actor) -> None:
        """Have the journal and the audit trail say that it is gone from there."""
        archive, repository = self._engine.archive, self._repository
        with archive.database.write("erase") as connection:
            events = []
            for (library_id, version), end in self._scope.ends.items():
                at = behind(max(archive.clock(), end + _ADDED), last_change(connection, library_id))
                told = (repository.repository_id, repository.target.url, removed, end, at, actor.by, actor.why)
                events.append(ErasedFromBackups(library_id, version, *told))
            record_events(archive.folder.journal, connection, events)


def _fate(one: Manifest, said: str | None) -> Fate:
    return Fate(one.backup_id, said is None, said or "It holds nothing of it.", one.new_bytes)


def _named(going: Collection[str]) -> str:
    return hashlib.sha256("\n".join(sorted(going)).encode()).hexdigest()[:16]
