"""Cleanup plans: what the policies would remove, made from one look at the catalogue. Changes nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection

from models.catalogue import list_libraries
from models.database import Database
from models.removal import Going
from models.revisions import LibraryState, freed_bytes, library_state
from storage.policies import Policies
from storage.retention import Candidate, Policy, Revision, Verdict, described, keep_all, plan_library
from storage.simulation import Day, begin, simulate
from strongroom.errors import ConfigurationError, NotFound

Progress = Callable[[int, int], None]
"""Told after each library how many of how many have been looked at."""


@dataclass(frozen=True, slots=True)
class LibraryPlan:
    """What becomes of one library's versions. ``made_from`` is a digest of all that this follows from."""

    library_id: str
    made_from: str
    verdicts: tuple[Verdict, ...]
    going: tuple[Going, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cleanup would do. ``plan_id`` names exactly this: the same versions going for the same reasons."""

    plan_id: str
    libraries: tuple[LibraryPlan, ...]
    freed_bytes: int

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what becomes of each version, by library, the newest first."""
        for library in self.libraries:
            yield from library.verdicts

    @property
    def going(self) -> int:
        """How many revisions go."""
        return sum(len(library.going) for library in self.libraries)


def make_plan(
    database: Database,
    policies: Policies,
    now: datetime,
    library_id: str | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Plan:
    """Return what the policies would remove now, of everything or of one library.

    Raises:
        ConfigurationError: no policy is set.
        NotFound: there is no such library.
    """
    names = _libraries(database, policies, library_id)
    libraries: list[LibraryPlan] = []
    contents: Counter[str] = Counter()
    for number, name in enumerate(names, 1):
        with database.read() as connection:  # one each: a snapshot of everything would keep the WAL from being copied back
            state = library_state(connection, name)
        plan = _plan(state, policies.of(name), now)
        going = {one.version_id for one in plan.going}
        contents.update(row.content_sha256 for row in state.revisions if row.version_id in going)
        libraries.append(plan)
        progress(number, len(names))
    with database.read() as connection:
        freed = freed_bytes(connection, contents)
    return Plan(_plan_id(libraries), tuple(libraries), freed)


def plan_removal(database: Database, library_id: str, version_ids: Collection[str], why: str) -> Plan:
    """Return the plan that removes just these revisions of a library, whatever the policies say."""
    with database.read() as connection:
        state = library_state(connection, library_id)
    plan = LibraryPlan(library_id, _digest(state), (), tuple(Going(one, why) for one in sorted(version_ids)))
    return Plan(_plan_id([plan]), (plan,), 0)


def is_as_planned(connection: Connection, plan: LibraryPlan) -> bool:
    """Whether a library is as it was when its plan was made."""
    return _digest(library_state(connection, plan.library_id)) == plan.made_from


def simulate_cleanup(
    database: Database,
    policies: Policies,
    now: datetime,
    days: int,
    library_id: str | None = None,
    progress: Progress = lambda _done, _total: None,
) -> list[Day]:
    """Return what the policies would do on each of the days to come, if uploads go on as in the last 30.

    Raises:
        ConfigurationError, NotFound: as ``make_plan``.
    """
    names = _libraries(database, policies, library_id)
    calendar = begin(now, days)
    for number, name in enumerate(names, 1):
        with database.read() as connection:
            state = library_state(connection, name)
        simulate(calendar, _candidates(state), policies.of(name), now)
        progress(number, len(names))
    return calendar


def _libraries(database: Database, policies: Policies, library_id: str | None) -> list[str]:
    if not policies:
        raise ConfigurationError("No retention policy is set: everything is kept.", _SET_ONE)
    with database.read() as connection:
        names = [one.library_id for one in list_libraries(connection, None if library_id is None else [library_id])]
    if library_id is not None and not names:
        raise NotFound(f"{library_id} is not stored.")
    return names


_SET_ONE = """Set STRONGROOM_RETENTION, such as '{"*": {"keep_last": 5, "within": "90d"}}' (docs/how-to/cleanup.md)."""


def _plan(state: LibraryState, policy: Policy | None, now: datetime) -> LibraryPlan:
    candidates = _candidates(state)
    verdicts = tuple(keep_all(candidates) if policy is None else plan_library(candidates, policy, now))
    return LibraryPlan(state.library_id, _digest(state), verdicts, tuple(_going(state, verdicts, policy)))


def _candidates(state: LibraryState) -> list[Candidate]:
    labels: Mapping[str, tuple[str, ...]] = {
        version: tuple(label for _, label in pairs) for version, pairs in groupby(state.labels, key=lambda pair: pair[0])
    }
    found = []
    for version, rows in groupby(state.revisions, key=attrgetter("version")):
        mine = list(rows)
        revisions = [Revision(row.revision, row.stored_at, row.stored_bytes) for row in mine]
        order = (mine[-1].order_rank, mine[-1].order_key)
        latest, pinned = version == state.latest, version in state.pinned
        found.append(Candidate(state.library_id, version, order, tuple(revisions), latest, pinned, labels.get(version, ())))
    return found


def _going(state: LibraryState, verdicts: tuple[Verdict, ...], policy: Policy | None) -> Iterator[Going]:
    ids: Mapping[tuple[str, int], str] = {(row.version, row.revision): row.version_id for row in state.revisions}
    older = "" if policy is None else f"an older revision ({', '.join(described(policy))})"
    for verdict in verdicts:
        for revision in verdict.revisions:
            yield Going(ids[verdict.version, revision.number], older if verdict.keep else verdict.reason)


def _digest(state: LibraryState) -> str:
    # Of a revision nothing but this ever changes.
    rows = [f"{row.version_id} {row.current}" for row in state.revisions]
    digest = hashlib.sha256("\n".join(rows).encode())
    digest.update(repr((state.library_id, state.latest, sorted(state.pinned), state.labels)).encode())
    return digest.hexdigest()


def _plan_id(libraries: list[LibraryPlan]) -> str:
    """Return a name that any change of what goes changes. A library of which nothing goes does not count."""
    digest = hashlib.sha256()
    for library in libraries:
        if library.going:
            told = [(one.version_id, one.why) for one in library.going]
            digest.update(repr((library.library_id, library.made_from, told)).encode())
    return digest.hexdigest()[:16]
