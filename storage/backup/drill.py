"""The drill: backups are proven by restoring them, the newest and one by lot, and what came of it is kept."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from models.backups import note_proven, note_verdict, remembered_backups
from models.drills import DrillRow, add_drill
from storage.backup.manifest import Manifest, backup_ids, read_manifest
from storage.backup.place import Place
from storage.backup.proof import READ_AT_MOST, Proof, Prove
from storage.backup.repository import PACKS, Repository
from storage.backup.verify import harmed_packs
from storage.engine import Engine
from storage.progress import Progress, silent
from storage.scratch import scratch_space
from strongroom.errors import NotFound, StorageError

Verdict = Literal["fresh", "stale", "failed", "never"]
"""fresh: all is well; stale: the backups are, and the newest is too old; failed: something is not well; never: there is none."""

_TOLD = 20


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill found. ``rto_s``: how long until a document could be read; ``rpo_s``: how old the newest backup was."""

    drill_id: str
    at: datetime
    verdict: Verdict
    backup_id: str
    rto_s: float
    rpo_s: float
    proofs: tuple[Proof, ...]
    problems: tuple[str, ...]

    @property
    def checked(self) -> int:
        """How many documents were read and compared."""
        return sum(one.checked for one in self.proofs)

    @property
    def row(self) -> DrillRow:
        """What the catalogue keeps of it."""
        told: dict[str, Any] = {"problems": list(self.problems), "backups": [asdict(one) for one in self.proofs]}
        return DrillRow(self.drill_id, self.backup_id, self.at, self.verdict, self.rto_s, self.rpo_s, self.checked, told)


@dataclass(frozen=True, slots=True)
class RunDrill:
    """Drills the backups of one data folder. ``max_age`` zero: a backup is never too old."""

    engine: Engine
    place: Place
    max_age: timedelta = timedelta(0)
    progress: Progress = silent
    clock: Callable[[], datetime] = _now
    choose: Callable[[Sequence[str]], str] = random.SystemRandom().choice
    read_at_most: int = READ_AT_MOST

    def run(self) -> Drilled:
        """Restore, read, compare; note what came of it. The scratch space is empty again on return.

        Raises:
            Transient: the target, or the disk, does not answer now; nothing is noted.
        """
        at = self.clock()
        problems: list[str] = []
        proofs: list[Proof] = []
        newest: Manifest | None = None
        try:
            repository = self.place.open()
            ids = backup_ids(repository)
            problems += self._lost(repository, ids)
            manifests, damaged = _read(repository, ids)
            problems += damaged
            newest = manifests[max(manifests)] if manifests else None
            if ids and not manifests and not problems:  # whoever removed them was quicker than this
                problems.append(f"None of the {len(ids)} backups that were listed in {repository.target.url} is there any more.")
            problems += _lacking(repository, manifests)
            proofs = self._prove(repository, manifests)
        except NotFound:
            ids = []
            problems += self._lost(None, [])
        except StorageError as error:
            if error.retryable:
                raise
            ids = [""]
            problems.append(error.message)
        problems += [f"{one.backup_id}: {said}" for one in proofs for said in one.problems]
        return self._noted(at, newest, proofs, problems, there=bool(ids))

    def _prove(self, repository: Repository, manifests: dict[str, Manifest]) -> list[Proof]:
        chosen = sorted(manifests)[-1:]
        older = [one for one in manifests if one not in chosen]
        chosen += [self.choose(older)] if older else []
        proofs: list[Proof] = []
        harmed: dict[str, str] = {}
        proven: set[str] = set()
        for number, backup_id in enumerate(chosen):
            live = self.engine.database if number == 0 else None
            with scratch_space(self.engine.folder) as scratch:
                prove = Prove(repository, manifests[backup_id], live, self.progress, self.read_at_most)
                proof = prove.run(scratch, self.clock())
            # A restore reads what it needs: a byte beside that is promised all the same, and older backups may need it.
            packs = manifests[backup_id].packs
            harmed.update(harmed_packs(repository, {one: size for one, size in packs.items() if one not in proven}))
            proven |= packs.keys()
            said = dict.fromkeys((*proof.problems, *(harmed[one] for one in sorted(harmed.keys() & packs.keys()))))
            proofs.append(replace(proof, problems=tuple(said), damaged=proof.damaged or not harmed.keys().isdisjoint(packs)))
        return proofs

    def _lost(self, repository: Repository | None, ids: Sequence[str]) -> Iterator[str]:
        """Tell whether the newest backup that the catalogue remembers is not there: another disk may be mounted."""
        url = repository.target.url if repository else self.place.target().url
        with self.engine.database.read() as connection:
            done = [one for one in remembered_backups(connection) if one.state == "done" and one.target == url]
        if done and done[0].backup_id not in ids:
            yield f"The backup {done[0].backup_id} was taken, and is not in {url} any more."

    def _noted(
        self, at: datetime, newest: Manifest | None, proofs: Sequence[Proof], problems: Sequence[str], *, there: bool
    ) -> Drilled:
        rpo_s = round((at - newest.as_of).total_seconds(), 3) if newest else 0.0
        verdict: Verdict = "fresh" if there else "never"
        if self.max_age and rpo_s > self.max_age.total_seconds():
            verdict = "stale"
        if problems:
            verdict = "failed"
        rto_s = proofs[0].rto_s if proofs else 0.0
        backup_id = newest.backup_id if newest else ""
        drill_id = f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        drilled = Drilled(drill_id, at, verdict, backup_id, rto_s, rpo_s, tuple(proofs), tuple(problems[:_TOLD]))
        with self.engine.database.write("drill") as connection:
            add_drill(connection, drilled.row)
            for one in proofs:
                if one.damaged:
                    note_verdict(connection, one.backup_id, "damaged", at)
                elif not one.problems:
                    note_proven(connection, one.backup_id, at)
        return drilled


def _lacking(repository: Repository, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Tell of the packs that are named, by whatever backup, and that are not at the target in their sizes."""
    there = {one.name.rpartition("/")[2]: one.size_bytes for one in repository.target.names(PACKS)}
    for backup_id, one in sorted(manifests.items()):
        lost = [name for name, size in one.packs.items() if there.get(name) != size]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            yield f"{backup_id}: the pack {lost[0]}{more} is missing from {repository.target.url}, or cut short."


def _read(repository: Repository, ids: Sequence[str]) -> tuple[dict[str, Manifest], list[str]]:
    """Return the manifests that are whole, and what is wrong with the others."""
    found, problems = {}, []
    for backup_id in ids:
        try:
            found[backup_id] = read_manifest(repository, backup_id)
        except NotFound:  # a prune was quicker
            continue
        except StorageError as error:
            if error.retryable:
                raise
            problems.append(error.message)
    return found, problems
