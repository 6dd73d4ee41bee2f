"""The tasks ``strongroom.backup`` and ``strongroom.backup_verify``: a backup is taken, and read back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.database import Database
from storage.backup.beginning import repository_for
from storage.backup.choice import LATEST, find_manifest
from storage.backup.create import Create, as_row
from storage.backup.manifest import Manifest
from storage.backup.place import Place
from storage.backup.unusable import passed_over
from storage.backup.verify import Verified, remember, verify_backup
from storage.engine import Engine
from storage.peaks import backup_peak
from storage.progress import Progress
from strongroom.errors import BackupDamaged
from strongroom.numbering import FIRST_CONTRACT
from tasks.kinds import Kind, Running
from tasks.services import Services

_TOLD = 100
"""How many problems of a backup the ledger names."""


class BackupMessage(BaseModel):
    """The arguments of ``strongroom.backup``: whether everything is copied again, or what the newest backup lacks.

    ``begin_anew``: the place is empty on purpose, though backups were taken there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    full: bool = False
    begin_anew: bool = False
    priority: Literal["high", "normal", "low"] = "normal"


class BackupVerifyMessage(BaseModel):
    """The arguments of ``strongroom.backup_verify``: which backup is read back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    backup_id: str = LATEST
    priority: Literal["high", "normal", "low"] = "normal"


def take_backup(
    engine: Engine,
    place: Place,
    progress: Progress,
    *,
    full: bool,
    begin_anew: bool = False,
    ping_url: str | None = None,
    by: str = "schedule",
) -> dict[str, Any]:
    """Take a backup and return what that did, as JSON. The dead-man's switch is told of its beginning and of its end.

    ``by`` is who asks for it: see ``storage.backup.create``.

    Raises:
        StorageError: there is no new backup; see ``storage.backup.create`` and ``storage.backup.beginning``.
    """
    with _pinged(ping_url):
        repository = repository_for(engine, place, datetime.now(UTC), anew=begin_anew)
        done = summary(Create(engine, repository, progress, by=by).run(full=full))
    return {**done, "target": repository.target.url, "sealed": bool(repository.seal.recipients)}


def _pinged(url: str | None) -> AbstractContextManager[None]:
    if url is None:
        return nullcontext()
    from tasks.ping import pinged  # noqa: PLC0415 - what speaks HTTP is for those who have such an address

    return pinged(url)


def check_backup(place: Place, backup_id: str, progress: Progress, database: Database | None) -> dict[str, Any]:
    """Read a backup back and return what was found, as JSON. The verdict is noted in the catalogue, if there is one.

    Raises:
        NotFound: there is no such backup.
        StorageError: it cannot be read now: nothing is said of it.
    """
    repository, row = place.open(), None
    try:
        manifest = find_manifest(repository, backup_id)
        row = as_row(manifest, repository.target.url, manifest.as_of)
        verified = verify_backup(repository, manifest, progress)
    except BackupDamaged as error:  # the manifest itself
        verified = Verified(error.context.get("backup_id", backup_id), (error.message,), 0, 0)
    if database is not None:
        remember(database, verified, datetime.now(UTC), row)
    return {
        "id": verified.backup_id,
        "verdict": verified.verdict,
        "problems": list(verified.problems[:_TOLD]),
        "packs": verified.packs,
        "read_bytes": verified.read_bytes,
    }


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return what programs are told of a backup that was taken."""
    return {
        "id": manifest.backup_id,
        "kind": manifest.kind,
        "documents": manifest.counts.documents,
        "new_segments": manifest.new_segments,
        "new_bytes": manifest.new_bytes,
        "stored_bytes": manifest.stored_bytes,
        "removed_segments": manifest.removed,
        "as_of": manifest.as_of.isoformat(),
        "seconds": manifest.seconds,
        "passed_over": [{"id": backup_id, "problem": said} for backup_id, said in sorted(passed_over(manifest).items())],
    }


def _backup(running: Running, message: BackupMessage) -> None:
    services = running.services
    done = take_backup(
        services.engine,
        services.backups,
        running.progress,
        full=message.full,
        begin_anew=message.begin_anew,
        ping_url=services.ping_url,
        by=running.row.asked_by,
    )
    running.finish(done)


def _verify(running: Running, message: BackupVerifyMessage) -> None:
    services = running.services
    running.finish(check_backup(services.backups, message.backup_id, running.progress, services.database))


def _peak(services: Services, message: BackupMessage) -> int:
    return backup_peak(services.database, services.engine.folder, services.backups, full=message.full)


BACKUP = Kind("backup", BackupMessage, lambda message: "full" if message.full else "what is new", _backup, _peak)
BACKUP_VERIFY = Kind("backup_verify", BackupVerifyMessage, lambda message: message.backup_id, _verify)
