"""Removal: a cleanup plan is carried out, or undone. No file is touched here: bytes go by the sweep, when nothing can come back.

The order is the promise: a note of what is about to change (storage/pending.py), the journal, then one commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from models.database import Database
from models.history import current_versions
from models.mending import held_latest
from models.removal import Gone, growth_by_restoring, remove_revisions, restorable, restore_revisions, write_audit
from models.revisions import find_revisions
from storage.allowance import Allowance
from storage.cleanup import LibraryPlan, Plan, is_as_planned
from storage.events import append_events
from storage.layout import DataFolder
from storage.paths import tree_path
from storage.pending import MOMENT, as_removed, as_restored, changing, noted
from storage.quotas import Quotas
from storage.spare import use_spare
from strongroom.errors import DiskFull, NotFound, StalePlan

ATTEMPTS = 5
PORTION = 2000
"""Revisions of one commit: whole libraries are taken together until there are so many."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a cleanup removed, or what undoing one brought back. ``versions``: as a whole or in part.

    ``changed`` counts libraries that were left as they were, since something came between the plan and its execution.
    """

    plan_id: str
    revisions: int = 0
    versions: int = 0
    changed: int = 0


Record = Callable[[Connection, Done], None]
"""Called inside the last commit, to write the caller's own rows (a job's outcome) together with it."""


@dataclass(frozen=True, slots=True)
class _Act:
    """Who removes or restores something, and when."""

    by: str
    now: datetime
    record: Record | None = None


class Removal:
    """Carries out plans on one data folder. Any number of processes may: one at a time changes something."""

    def __init__(self, folder: DataFolder, database: Database, allowance: Allowance | None = None) -> None:
        self._folder = folder
        self._database = database
        self._allowance = allowance or Allowance(Quotas())

    def apply(self, plan: Plan, by: str, now: datetime, *, record: Record | None = None, exactly: bool = True) -> Done:
        """Remove what a plan says; on return that is durable. The bytes stay until the grace period is over.

        ``by`` is such as person:NAME or schedule. Some 2,000 revisions go with one commit, all of them or none; a larger plan
        goes by whole libraries. Not ``exactly``: libraries that have changed since are left for the next plan. On a full disk
        it uses the room that a sweep has set aside.

        Raises:
            StalePlan: what the plan was made from has changed since; nothing was removed, unless the plan is a large one.
            Transient: what waiting can heal; likewise.
        """
        act = _Act(by, now, record)
        try:
            return self._apply(plan, act, exactly=exactly)
        except DiskFull:
            if not use_spare(self._folder):
                raise
            return self._apply(plan, act, exactly=exactly)

    def undo(self, plan_id: str, by: str, now: datetime) -> Done:
        """Bring back what a plan removed and what has not been purged; on return that is durable.

        A version that was stored anew meanwhile keeps what it has and gets its older revisions back. Some 2,000 revisions come
        back with one commit, and none unless the quotas have room for all.

        Raises:
            NotFound: there is no such plan, it was undone before, or its grace period is over.
            QuotaExceeded: a quota has no room for what comes back; nothing did, unless others stored between two commits.
            Transient: what waiting can heal.
        """
        with changing(self._folder, self._database, now):
            with self._database.read() as connection:
                removed = restorable(connection, plan_id)
                self._allowance.require(connection, growth_by_restoring(connection, [one.version_id for one in removed]))
            if not removed:
                raise NotFound(f"Nothing that the plan {plan_id} removed can be brought back.", _NOT_UNDONE)
            for start in range(0, len(removed), PORTION):
                self._restore(removed[start : start + PORTION], plan_id, _Act(by, now))
        return Done(plan_id, len(removed), _versions(removed))

    def _apply(self, plan: Plan, act: _Act, *, exactly: bool) -> Done:
        done = Done(plan.plan_id)
        with changing(self._folder, self._database, act.now):
            if exactly:
                with self._database.read() as connection:
                    _refuse_stale(connection, plan.libraries)
            parts = list(_parts(plan.libraries))
            for number, part in enumerate(parts, 1):
                mine = act if number == len(parts) else replace(act, record=None)
                done = self._remove(part, mine, done) if exactly else self._try(part, mine, done)
        return done

    def _try(self, part: Sequence[LibraryPlan], act: _Act, before: Done) -> Done:
        """Remove what of this part is still as it was planned."""
        left = list(part)
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                left = [library for library in left if is_as_planned(connection, library)]
            with suppress(StalePlan):
                return self._remove(left, act, replace(before, changed=before.changed + len(part) - len(left)))
        return self._remove([], act, replace(before, changed=before.changed + len(part)))

    def _remove(self, part: Sequence[LibraryPlan], act: _Act, before: Done) -> Done:
        going = {one.version_id: one for library in part for one in library.going}
        with self._database.read() as connection:
            known, held = find_revisions(connection, going), held_latest(connection)
        # Later than what it removes, and than a word that it ends, whatever the clocks did: a rebuild goes by these times.
        times = [one.stored_at for one in known]
        times += [held[one.library_id][1] for one in known if held.get(one.library_id, ("",))[0] == one.version]
        at = max([act.now, *(time + MOMENT for time in times)])
        with noted(self._folder, self._database, going, at):
            planned = [
                Gone(*named, one.stored_at, at, act.by, going[one.version_id].why, before.plan_id, one.content_sha256)
                for one, named in ((one, (one.version_id, one.library_id, one.version, one.revision)) for one in known)
            ]
            if planned:
                append_events(self._folder.journal, [as_removed(one, at) for one in planned])
            with self._database.write("removal") as connection:
                _refuse_stale(connection, part)
                gone = remove_revisions(connection, list(going.values()), at, act.by, before.plan_id)
                write_audit(connection, "removed", gone, at, act.by, before.plan_id)
                done = replace(before, revisions=before.revisions + len(gone), versions=before.versions + _versions(gone))
                if act.record is not None:
                    act.record(connection, done)
        return done

    def _restore(self, removed: Sequence[Gone], plan_id: str, act: _Act) -> None:
        at = self._later_than(removed, act.now)
        ids = [one.version_id for one in removed]
        with noted(self._folder, self._database, ids, at):
            why = f"undo of {plan_id}"
            append_events(self._folder.journal, [as_restored(one, at, act.by, why, plan_id) for one in removed])
            with self._database.write("removal") as connection:
                self._allowance.require(connection, growth_by_restoring(connection, ids))
                restore_revisions(connection, ids)
                audited = [replace(one, why=why) for one in removed]
                write_audit(connection, "restored", audited, at, act.by, plan_id)

    def _later_than(self, removed: Sequence[Gone], now: datetime) -> datetime:
        """Return a time behind the removals, and behind what was stored instead: that is not to be taken for what comes back."""
        with self._database.read() as connection:
            instead = current_versions(connection, {tree_path(one.library_id, one.version) for one in removed})
        times = [*(one.removed_at for one in removed), *(one.stored_at for one in instead.values())]
        return max(now, *(at + MOMENT for at in times))


_NOT_UNDONE = (
    "It was undone before, its grace period is over, or there is no such plan. `strongroom history` tells what was removed."
)
_AGAIN = "Something was stored, pinned or removed since: look at the new plan with `strongroom cleanup`, then apply that."


def refuse_other(plan: Plan, plan_id: str) -> None:
    """Make sure that a plan is the one that somebody was shown.

    Raises:
        StalePlan: it is another one by now.
    """
    if plan.plan_id != plan_id:
        raise StalePlan(f"The plan {plan_id} is not up to date: it would be {plan.plan_id} now.", _AGAIN)


def _refuse_stale(connection: Connection, libraries: Sequence[LibraryPlan]) -> None:
    for library in libraries:
        if library.going and not is_as_planned(connection, library):
            raise StalePlan(f"{library.library_id} has changed since the plan was made.", _AGAIN)


def _parts(libraries: Sequence[LibraryPlan]) -> Iterator[list[LibraryPlan]]:
    part: list[LibraryPlan] = []
    for library in libraries:
        if library.going:
            part.append(library)
        if sum(len(one.going) for one in part) >= PORTION:
            yield part
            part = []
    if part:
        yield part


def _versions(revisions: Sequence[Gone]) -> int:
    return len({(one.library_id, one.version) for one in revisions})
