"""Which backup somebody means: by its id, ``latest``, or a moment, which means the newest one of what was stored until then."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from storage.backup.manifest import Manifest, backup_ids, begun_at, manifests, read_manifest
from storage.backup.repository import Repository
from strongroom.errors import InvalidRequest, NotFound

LATEST = "latest"
_MOMENT = re.compile(r"\d{4}-")
"""Ids begin with a time as well, but without strokes."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def find_manifest(repository: Repository, which: str) -> Manifest:
    """Return a backup by its id, by the beginning of an id that is the only one, by ``latest``, or by a moment.

    A moment is in UTC where it does not say otherwise; a day alone is its end.

    Raises:
        InvalidRequest: it begins like a moment and is none.
        NotFound: there is no such backup, none as old as that, or several have ids that begin like this.
        BackupDamaged, BackupError: its manifest cannot be used. No older one is taken in its place.
    """
    if _MOMENT.match(which):
        return _until(repository, _moment(which))
    if which == LATEST:
        ids = backup_ids(repository)[-1:]
    else:
        ids = [one for one in backup_ids(repository) if one.startswith(which)]
        ids = [which] if which in ids else ids
    if len(ids) != 1:
        said = "There is no backup" if not ids else f"{len(ids)} backups are called"
        raise NotFound(f"{said} {which!r} in {repository.target.url}.", "`strongroom backup list` shows them.")
    return read_manifest(repository, ids[0])


def _moment(said: str) -> datetime:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise InvalidRequest(f"{said!r} is no moment.", "2026-11-20, 2026-11-20T03:00 (UTC) or 2026-11-20T03:00+01:00.") from None
    if _DAY.fullmatch(said):
        moment += timedelta(days=1, microseconds=-1)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _until(repository: Repository, moment: datetime) -> Manifest:
    for backup_id, found in manifests(repository):
        if isinstance(found, Manifest):
            if found.as_of <= moment:
                return found
        elif begun_at(backup_id) <= moment:  # it may be the one that is meant
            raise found
    said = f"No backup in {repository.target.url} is as old as {moment.isoformat(timespec='seconds')}."
    raise NotFound(said, "`strongroom backup list` shows them.")
