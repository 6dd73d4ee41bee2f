"""Unusable manifests: who stumbles upon one says so, and it is a finding until it can be used, or is gone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from models.findings import Observation, last_found_by
from storage.backup.manifest import Manifest, read_manifest
from storage.backup.repository import BACKUPS, Repository
from storage.engine import Engine
from storage.findings import keep_findings
from strongroom.errors import NotFound, StorageError

SEEN_BY = "backups"
"""Not one of those whose findings a second look closes: they read the data folder, and this is not in it."""
_MARK = "passed over"


def marked(found: Mapping[str, str], parent: str | None) -> dict[str, Any]:  # JSON
    """Return what a manifest tells of backups that were passed over when its parent was looked for: their ids, and why."""
    newer = {backup_id: said for backup_id, said in found.items() if parent is None or backup_id > parent}
    return {_MARK: newer} if newer else {}


def passed_over(manifest: Manifest) -> dict[str, str]:
    """Return what ``marked`` told."""
    return dict(manifest.marks.get(_MARK, {}))


def keep_unusable(engine: Engine, repository: Repository, found: Mapping[str, str], now: datetime) -> None:
    """Record what was stumbled upon, besides what was earlier and lasts; close what can be used again, or is gone.

    Where that cannot be written, the manifest of the new backup and the outcome of its job tell it all the same. Costs a query
    where there is nothing.
    """
    url = repository.target.url
    with suppress(StorageError):
        with engine.database.read() as connection:
            known = last_found_by(connection, SEEN_BY)
        observed = {backup_id: _observation(url, backup_id, said) for backup_id, said in found.items()}
        lasting = [one for one in known if one.key not in {other.key for other in observed.values()} and _lasts(repository, one)]
        if known or observed:
            keep_findings(engine.folder, engine.database, SEEN_BY, [*lasting, *observed.values()], now)


def _observation(url: str, backup_id: str, said: str) -> Observation:
    return Observation("backup_unusable", f"backup {backup_id}", _path(url, backup_id), said)


def _path(url: str, backup_id: str) -> str:
    return f"{url}/{BACKUPS}{backup_id}.json"


def _lasts(repository: Repository, one: Observation) -> bool:
    backup_id = one.subject.removeprefix("backup ")
    if one.path != _path(repository.target.url, backup_id):  # of another target: nobody has asked that one
        return True
    try:
        read_manifest(repository, backup_id)
    except NotFound:
        return False
    except StorageError:
        return True
    return False
