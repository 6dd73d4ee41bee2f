"""Doomed: packs that nothing needs any more. A file says so, and since when; a prune removes them a day later."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from storage.backup.repository import Repository, time_of
from strongroom.errors import BackupDamaged, NotFound

DOOMED = "doomed/"
_DOOMED_ANEW = (
    "Remove that file at the target while no prune runs: the next `strongroom backup prune` finds anew what nothing needs."
)


@dataclass(frozen=True, slots=True)
class Doomed:
    """Packs that were found unneeded at that time: nothing may build on them. They are removed a day later, or were at once."""

    at: datetime
    packs: frozenset[str]


def doomed(repository: Repository) -> dict[str, Doomed]:
    """Return what is doomed, by the name of the file that says so.

    Raises:
        BackupDamaged: a file says nothing that can be understood.
    """
    while True:
        try:
            return {one.name: _doomed(repository, one.name) for one in repository.target.names(DOOMED)}
        except NotFound:  # a prune put another one in its place: what it says is there already
            continue


def _doomed(repository: Repository, name: str) -> Doomed:
    try:
        told = json.loads(repository.file(name))
        return Doomed(time_of(told["at"]), frozenset(map(str, told["packs"])))
    except (BackupDamaged, ValueError, KeyError, TypeError) as error:
        raise BackupDamaged(f"{name} in {repository.target.url} is damaged: {error}.", _DOOMED_ANEW, {"name": name}) from error


def doomed_packs(repository: Repository) -> set[str]:
    """Return all packs that are doomed."""
    return {name for one in doomed(repository).values() for name in one.packs}


def doom(repository: Repository, packs: Collection[str], at: datetime) -> None:
    """Say of packs that nothing may build on them any more. Durable on return."""
    name = f"{DOOMED}{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"
    repository.target.create(name, [json.dumps({"at": at.isoformat(), "packs": sorted(packs)}).encode()])
