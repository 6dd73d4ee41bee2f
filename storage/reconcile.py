"""Reconciliation: catalogue, files and derived data are held against each other. Reads indexes and names, not the stored bytes.

``verify`` reads every byte; this looks whether everything is where it should be and nothing else is. What it finds it looks for a
second time, so that a store or a repair that was under way is not taken for damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from models import consistency
from models.catalogue import versions_without_place
from models.database import Database
from models.findings import Observation
from storage.inventory import Inventory
from storage.journal import damaged_lines
from storage.layout import DataFolder
from storage.tree import Mode
from storage.treesurvey import survey_tree
from strongroom import durable
from strongroom.errors import PayloadDamaged, StorageError
from strongroom.inbox import InboxFile

Progress = Callable[[int, int], None]
"""Told now and then how many segments of how many have been looked at."""

SEEN_BY = "reconcile"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is looked at. ``now`` tells how old a file is: what is young may be a store under way."""

    folder: DataFolder
    database: Database
    mode: Mode
    now: datetime


def reconcile(scene: Scene, progress: Progress = lambda _done, _total: None) -> list[Observation]:
    """Return everything that does not agree, found twice. Changes nothing.

    Raises:
        TransientIO, PermissionRefused: the operating system refused, for a reason that is no damage.
    """
    first = list(dict.fromkeys(_look(scene, progress)))
    if not first:
        return []
    second = {one.key for one in _look(scene, progress)}
    return [one for one in first if one.key in second]


def _look(scene: Scene, progress: Progress) -> Iterator[Observation]:
    inventory = Inventory(scene.folder, scene.database, scene.now)
    yield from inventory.look(progress)
    yield from _catalogue(scene.database)
    yield from _journal(scene.folder)
    yield from _inbox(scene)
    if scene.mode != "none":
        yield from survey_tree(scene.folder, scene.database, scene.mode)


def _catalogue(database: Database) -> Iterator[Observation]:
    with database.read() as connection:
        lost = versions_without_place(connection)
        sums, latest = consistency.wrong_sums(connection), consistency.wrong_latest(connection)
        current = consistency.wrong_current(connection)
        several, more_bytes = consistency.several_places(connection)
    for library_id, version, revision in lost:
        subject = f"{library_id} {version} (revision {revision})"
        yield Observation("row_without_bytes", subject, "metadata", "It has no place in any segment.")
    for library_id in sums:
        yield Observation("sums_out_of_step", library_id, "metadata", "Its sums are not those of its versions.")
    for library_id in latest:
        yield Observation("latest_out_of_step", library_id, "metadata", "Its latest version is none of its versions.")
    for library_id, version in current:
        yield Observation(
            "current_out_of_step", f"{library_id} {version}", "metadata", "Not its newest revision is the current one."
        )
    if several:
        yield Observation("duplicate", "", "segments", f"{several} contents lie in several segments: {more_bytes} bytes more.")


def _journal(folder: DataFolder) -> Iterator[Observation]:
    with durable.os_errors("cannot read the journal"):
        damaged = damaged_lines(folder.journal)
    if damaged:
        lines = ", ".join(map(str, damaged[:20]))
        yield Observation("journal_damaged", "", folder.relative(folder.journal), f"These lines do not hold: {lines}.")


def _inbox(scene: Scene) -> Iterator[Observation]:
    with scene.database.read() as connection:
        waiting = consistency.waiting_payloads(connection)
    for job_id, payload in waiting:
        if not (scene.folder.inbox / payload).exists():
            yield Observation("payload_missing", job_id, f"inbox/{payload}", "The job waits, and its payload is gone.")
    for path in sorted(scene.folder.inbox.glob("*.inbox")):
        try:
            InboxFile(path).close()
        except PayloadDamaged as error:
            yield Observation("payload_damaged", "", scene.folder.relative(path), error.message)
        except StorageError:  # gone meanwhile, or of a later contract: the workers tell
            continue
