"""What a backup stumbles upon at its target is a finding: manifests that nobody can use, and backups of another data folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_SHARED = (
    "It is of another data folder, among the backups of this one: `latest` may mean either, and prune counts both as one series."
)


def marked(found: Mapping[str, str], parent: str | None) -> dict[str, Any]:  # JSON
    """Return what a manifest tells of backups that were passed over when its parent was looked for: their ids, and why."""
    newer = {backup_id: said for backup_id, said in found.items() if parent is None or backup_id > parent}
    return {_MARK: newer} if newer else {}


def passed_over(manifest: Manifest) -> dict[str, str]:
    """Return what ``marked`` told."""
    return dict(manifest.marks.get(_MARK, {}))


def keep_unusable(
    engine: Engine, repository: Repository, found: Mapping[str, str], strangers: Sequence[str] | None, now: datetime
) -> None:
    """Record what was stumbled upon, besides what was earlier and lasts; close what can be used again, or is gone.

    ``strangers`` are backups of another data folder among those of this one; None: nobody has looked. Where this cannot be kept,
    the manifest of the new backup and the outcome of its job tell what was passed over. Costs a query where there is nothing.
    """
    url = repository.target.url
    with suppress(StorageError):
        with engine.database.read() as connection:
            known = last_found_by(connection, SEEN_BY)
        observed = [_observation("backup_unusable", url, backup_id, said) for backup_id, said in found.items()]
        observed += [_observation("backup_shared", url, backup_id, _SHARED) for backup_id in (strangers or ())[:1]]
        there = {one.key for one in observed}
        lasting = [one for one in known if one.key not in there and _lasts(repository, one, looked=strangers is not None)]
        if known or observed:
            keep_findings(engine.folder, engine.database, SEEN_BY, [*lasting, *observed], now)


def _observation(code: str, url: str, backup_id: str, said: str) -> Observation:
    return Observation(code, f"backup {backup_id}", _path(url, backup_id), said)


def _path(url: str, backup_id: str) -> str:
    return f"{url}/{BACKUPS}{backup_id}.json"


def _lasts(repository: Repository, one: Observation, *, looked: bool) -> bool:
    backup_id = one.subject.removeprefix("backup ")
    if one.path != _path(repository.target.url, backup_id):  # of another target: nobody has asked that one
        return True
    if one.code == "backup_shared":
        return not looked
    try:
        read_manifest(repository, backup_id)
    except NotFound:
        return False
    except StorageError:
        return True
    return False
