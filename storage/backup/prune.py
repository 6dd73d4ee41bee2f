"""Prune: backups that no rule keeps go, and what only they needed goes a day later.

A pack is removed in two steps. First it is doomed: a file in ``doomed/`` says so, and since when. A later prune removes it, a day
afterwards at least, if no backup refers to it by then. A backup that builds on another one ends within twelve hours of its
snapshot, or begins anew: so whatever it refers to is still there when its manifest is, at any kind of target, with no lock. For
that the order counts: what is referred to is taken out of ``doomed/`` before any manifest is removed, so that a pack whose last
backup goes is doomed from that moment on, and not from an earlier one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.backups import BackupRow, note_removed, remembered_backups
from models.database import Database
from storage.backup.doomed import Doomed, doom, doomed
from storage.backup.manifest import Manifest, manifests, remove_manifest
from storage.backup.repository import PACKS, Repository, pack_path
from storage.backup.target import Stored
from storage.retention import Candidate, Policy, Revision, plan_library
from strongroom.errors import BackupError

WAIT = timedelta(hours=24)
"""How long a doomed pack stays; and how old one must be to be doomed: a running backup's own packs are in no manifest yet."""
_ALL = "backups"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a backup, and why. ``own_bytes``: what it added at the target when it was taken."""

    backup_id: str
    keep: bool
    reason: str
    own_bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """A plan, or what was done. ``damaged``: manifests that cannot be read; while there are any, no pack is doomed."""

    fates: tuple[Fate, ...]
    doomed: int
    doomed_bytes: int
    removed: int
    removed_bytes: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    """Prunes one repository. ``policy`` None: every backup stays, and only what none refers to goes."""

    repository: Repository
    database: Database
    policy: Policy | None

    def plan(self, now: datetime) -> Pruned:
        """Return what ``apply`` would do. Nothing is changed.

        Raises:
            BackupError: no backup is whole, so that none may go.
        """
        state = self._look()
        fates = self._fates(state, now)
        going = {one.backup_id for one in fates if not one.keep}
        due = self._due(state, now)
        new = self._unneeded(state, going, now)
        sizes = {name: one.size_bytes for name, one in state.packs.items()}
        return Pruned(tuple(fates), len(new), _sum(sizes, new), len(due), _sum(sizes, due), tuple(sorted(state.damaged)))

    def apply(self, now: datetime) -> Pruned:
        """Remove what is due. Killed at any place, the next call goes on; a backup that is kept is whole at any moment.

        Raises:
            BackupError: as ``plan``.
            StorageError: the target refused.
        """
        state = self._look()
        fates, sizes = self._fates(state, now), {name: one.size_bytes for name, one in state.packs.items()}
        due = self._remove_doomed(state, now)
        going = {one.backup_id for one in fates if not one.keep}
        for backup_id in sorted(going):
            remove_manifest(self.repository, backup_id)
        with self.database.write("prune") as connection:
            note_removed(connection, going | self._unnoted(connection, state))
        new = self._unneeded(state, going, now)
        if new:
            doom(self.repository, new, now)
        self.repository.target.tidy(now - WAIT)
        return Pruned(tuple(fates), len(new), _sum(sizes, new), len(due), _sum(sizes, due), tuple(sorted(state.damaged)))

    def _look(self) -> _State:
        # Doomed ones first, manifests next, packs last: whatever was made meanwhile is in a manifest, or too young to be doomed.
        target = self.repository.target
        there = doomed(self.repository)
        found, damaged = {}, set()
        for backup_id, one in manifests(self.repository):
            if isinstance(one, Manifest):
                found[backup_id] = one
            else:
                damaged.add(backup_id)
        return _State(there, found, damaged, {one.name.rpartition("/")[2]: one for one in target.names(PACKS)})

    def _fates(self, state: _State, now: datetime) -> list[Fate]:
        if self.policy is None:
            return [Fate(one.backup_id, True, "no policy is set", one.new_bytes) for one in _newest_first(state)]
        safe = self._safe(state)
        if state.manifests and not safe:
            raise BackupError("No backup is whole: none may go.", "`strongroom backup create --full` makes one that is.")
        candidates = [
            Candidate(
                _ALL,
                one.backup_id,
                (0, one.backup_id),
                (Revision(1, one.as_of, one.new_bytes),),
                labels=(safe[one.backup_id],) if one.backup_id in safe else (),
            )
            for one in state.manifests.values()
        ]
        verdicts = plan_library(candidates, self.policy, now)
        return [Fate(one.version, one.keep, one.reason, state.manifests[one.version].new_bytes) for one in verdicts]

    def _safe(self, state: _State) -> dict[str, str]:
        """Return the backups that stay whatever the rules say: the newest whole one, and the newest that was read back well."""
        whole = [one.backup_id for one in _newest_first(state) if self._is_whole(state, one)]
        with self.database.read() as connection:
            rows: Mapping[str, BackupRow] = {one.backup_id: one for one in remembered_backups(connection)}
        fine = [one for one in whole if one not in rows or rows[one].verdict != "damaged"]
        proven = [one for one in fine if one in rows and rows[one].verdict == "good"]
        return {**dict.fromkeys(proven[:1], "the last that was proven good"), **dict.fromkeys(fine[:1], "the last good one")}

    def _unnoted(self, connection: Connection, state: _State) -> set[str]:
        """Return the backups that a prune has removed which died before it noted so. What is lost besides is newer than all."""
        there = state.manifests.keys() | state.damaged
        mine = (one for one in remembered_backups(connection) if one.state == "done" and one.target == self.repository.target.url)
        return {one.backup_id for one in mine if one.backup_id not in there and one.backup_id < max(there, default="")}

    def _is_whole(self, state: _State, one: Manifest) -> bool:
        return all(name in state.packs and state.packs[name].size_bytes == size for name, size in one.packs.items())

    def _due(self, state: _State, now: datetime) -> set[str]:
        """Return the packs that were doomed long enough and that nothing refers to."""
        if state.damaged:
            return set()
        late = {name for one in state.doomed.values() if one.at <= now - WAIT for name in one.packs}
        return (late - state.needed(())) & state.packs.keys()

    def _remove_doomed(self, state: _State, now: datetime) -> set[str]:
        """Remove the packs that are due, and take those that are needed again out of what is doomed."""
        due = self._due(state, now)
        for name in sorted(due):
            self.repository.target.remove(pack_path(name))
        needed = state.needed(())
        for path, one in sorted(state.doomed.items()):
            rest = one.packs - (needed & state.packs.keys()) - due  # what is gone is not saved by being needed
            if one.at <= now - WAIT:  # until then a backup may be under way that was to build on them
                rest &= state.packs.keys()
            if rest != one.packs:
                if rest:
                    doom(self.repository, rest, one.at)
                self.repository.target.remove(path)
        for name in due:
            del state.packs[name]
        return due

    def _unneeded(self, state: _State, going: Collection[str], now: datetime) -> set[str]:
        """Return the packs that are to be doomed: what stays needs none of them, and no backup can be about to."""
        if state.damaged:
            return set()
        already = {name for one in state.doomed.values() for name in one.packs} - state.needed(())
        old = {name for name, one in state.packs.items() if one.at <= now - WAIT}
        freed = {name for one in going for name in state.manifests[one].packs}
        return ((old | freed) & state.packs.keys()) - state.needed(going) - already


@dataclass(frozen=True, slots=True)
class _State:
    """What was found at the target."""

    doomed: dict[str, Doomed]
    manifests: dict[str, Manifest]
    damaged: set[str]
    packs: dict[str, Stored]

    def needed(self, without: Collection[str]) -> set[str]:
        """Return the packs that backups refer to."""
        return {name for backup_id, one in self.manifests.items() if backup_id not in without for name in one.packs}


def _newest_first(state: _State) -> list[Manifest]:
    return [state.manifests[backup_id] for backup_id in sorted(state.manifests, reverse=True)]


def _sum(sizes: Mapping[str, int], names: Collection[str]) -> int:
    return sum(sizes.get(name, 0) for name in names)
