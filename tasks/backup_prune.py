"""The task ``strongroom.backup_prune``: backups that no rule keeps go, and in two steps what only they needed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.database import Database
from storage.backup.place import Place
from storage.backup.prune import Prune, Pruned
from storage.policies import parse_policy
from strongroom.errors import NotFound
from strongroom.numbering import FIRST_CONTRACT
from tasks.kinds import Kind, Running


class BackupPruneMessage(BaseModel):
    """The arguments of ``strongroom.backup_prune``: which backups are kept, as STRONGROOM_BACKUP_RETENTION; empty: all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    policy: dict[str, Any] = {}
    priority: Literal["high", "normal", "low"] = "normal"


def prune_backups(place: Place, database: Database, told: dict[str, Any] | None, now: datetime, *, apply: bool) -> dict[str, Any]:
    """Prune, or plan to, and return what was done or would be, as JSON. ``told`` None: every backup stays.

    Raises:
        ConfigurationError: the policy is empty, or says what none can.
        StorageError: see ``storage.backup.prune``.
    """
    policy = None if told is None else parse_policy(told, "STRONGROOM_BACKUP_RETENTION")
    try:
        prune = Prune(place.open(), database, policy)
    except NotFound:
        return summary(Pruned((), 0, 0, 0, 0, ()), applied=apply)
    return summary(prune.apply(now) if apply else prune.plan(now), applied=apply)


def summary(pruned: Pruned, *, applied: bool) -> dict[str, Any]:
    """Return what programs are told."""
    return {
        "applied": applied,
        "keep": [{"id": one.backup_id, "reason": one.reason} for one in pruned.fates if one.keep],
        "remove": [{"id": one.backup_id, "reason": one.reason} for one in pruned.fates if not one.keep],
        **{name: value for name, value in asdict(pruned).items() if name not in {"fates", "damaged"}},
        "damaged": list(pruned.damaged),
    }


def _prune(running: Running, message: BackupPruneMessage) -> None:
    services = running.services
    done = prune_backups(services.backups, services.database, message.policy or None, datetime.now(UTC), apply=True)
    running.finish({**done, "keep": len(done["keep"])})


BACKUP_PRUNE = Kind("backup_prune", BackupPruneMessage, lambda _message: "backups", _prune)
