"""Verify: everything that a backup names is there, hashes to its name, and adds up to what the manifest promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from models.backups import BackupRow, end_backup, note_verdict
from models.database import Database
from storage.backup.lists import Entry, read_lists
from storage.backup.manifest import Manifest
from storage.backup.repository import Ref, Repository
from storage.progress import silent
from strongroom.errors import BackupDamaged

Verdict = Literal["good", "damaged"]
_THREADS = 2  # hashing lets go of the interpreter's lock; one reads while the other hashes
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found. ``problems`` are empty if and only if the verdict is good."""

    backup_id: str
    problems: tuple[str, ...]
    packs: int
    read_bytes: int

    @property
    def verdict(self) -> Verdict:
        """Return good or damaged."""
        return "damaged" if self.problems else "good"


def verify_backup(repository: Repository, manifest: Manifest, progress: Callable[[int, int], None] = silent) -> Verified:
    """Read all of a backup back. Packs need no key for that; what leads to them does.

    Raises:
        StorageError: the target cannot be read now: nothing is said of the backup.
    """
    problems = [said for _, said in harmed_packs(repository, manifest.packs, progress)]
    entries: dict[str, Entry] = {}
    try:
        entries = read_lists(repository, manifest.lists)
        problems += _sums(entries, manifest)
        for ref in _others(manifest):
            repository.item(ref)
    except BackupDamaged as error:
        problems.append(error.message)
    return Verified(manifest.backup_id, tuple(dict.fromkeys(problems)), len(manifest.packs), manifest.stored_bytes)


def remember(database: Database, verified: Verified, now: datetime, row: BackupRow | None = None) -> None:
    """Note the verdict in the catalogue.

    Of a backup that it does not remember, such as the one that it was restored from, it then remembers ``row`` if that is
    damaged: nothing may build on it, nor may a prune take it for the last good one.
    """
    with database.write("backup") as connection:
        known = note_verdict(connection, verified.backup_id, verified.verdict, now)
        if not known and row is not None and verified.problems:
            end_backup(connection, replace(row, verdict=verified.verdict, verified_at=now))


def harmed_packs(
    repository: Repository, packs: Mapping[str, int], progress: Callable[[int, int], None] = silent
) -> Iterator[tuple[str, str]]:
    """Read packs back whole and yield those that are not what their names and sizes say, each with what is wrong with it."""
    total, done = sum(packs.values()), 0
    names = sorted(packs)
    with ThreadPoolExecutor(_THREADS, "verify") as threads:
        for at in range(0, len(names), _AHEAD):
            part = names[at : at + _AHEAD]
            for name, said in zip(part, threads.map(lambda one: _pack(repository, one, packs[one]), part), strict=True):
                done += packs[name]
                progress(done, total)
                if said:
                    yield name, said


def _pack(repository: Repository, name: str, size_bytes: int) -> str:
    try:
        found = sum(map(len, repository.stored(name)))
    except BackupDamaged as error:
        return error.message
    return "" if found == size_bytes else f"The pack {name} has {found} bytes, and should have {size_bytes}."


def _others(manifest: Manifest) -> Iterator[Ref]:
    yield from manifest.journal.parts
    yield from (one.ref for one in manifest.rows)


def _sums(entries: dict[str, Entry], manifest: Manifest) -> Iterator[str]:
    counts = manifest.counts
    if len(entries) != counts.segments:
        yield f"The lists name {len(entries)} segments, and there were {counts.segments}."
    size = sum(one.segment.size_bytes for one in entries.values())
    if size != counts.segment_bytes:
        yield f"The segments have {size} bytes together, and had {counts.segment_bytes}."
    lost = {ref.pack for one in entries.values() for ref in (one.segment, one.index)} - manifest.packs.keys()
    if lost:
        yield f"The lists name {len(lost)} packs that the manifest does not."
