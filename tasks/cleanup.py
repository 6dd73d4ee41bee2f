"""The tasks ``strongroom.cleanup`` and ``strongroom.sweep``: what the policies do not keep goes; later its bytes do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from storage.cleanup import Plan, make_plan
from storage.policies import parse_policies
from storage.removal import Done, Removal
from storage.sweep import Sweep
from strongroom.numbering import FIRST_CONTRACT
from tasks.kinds import Kind, Running

log = structlog.get_logger()

_TOLD = 1000
"""How many removed versions the ledger names."""


class CleanupMessage(BaseModel):
    """The arguments of ``strongroom.cleanup``: the policies, as STRONGROOM_RETENTION has them. None: nothing is removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    policies: dict[str, Any] = Field(default_factory=dict)  # checked by storage/policies.py
    library_id: str | None = None


class SweepMessage(BaseModel):
    """The arguments of ``strongroom.sweep``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    grace_hours: int = Field(168, ge=1)


def _cleanup(running: Running, message: CleanupMessage) -> None:
    """Remove what the policies say, under the lease: the commit that removes the last of it ends the job."""
    policies = parse_policies(message.policies)
    if not policies:
        running.finish({"policies": 0, "versions_removed": 0})
        return
    engine, now = running.services.engine, datetime.now(UTC)
    plan = make_plan(engine.database, policies, now, message.library_id, running.progress)
    if not plan.going:
        running.finish(_outcome(plan, Done(plan.plan_id)))
        return

    def end(connection: Connection, done: Done) -> None:
        running.end(connection, _outcome(plan, done))

    Removal(engine.folder, engine.database).apply(plan, running.row.asked_by, now, record=end, exactly=False)
    engine.tree.hide()


def _outcome(plan: Plan, done: Done) -> dict[str, Any]:  # JSON
    removed = [one for one in plan.verdicts() if not one.keep]
    return {
        "plan_id": done.plan_id,
        "versions_removed": done.versions,
        "revisions_removed": done.revisions,
        "libraries_changed_meanwhile": done.changed,
        "freed_bytes": plan.freed_bytes,
        "planned": [{"library_id": one.library_id, "version": one.version, "reason": one.reason} for one in removed[:_TOLD]],
    }


def _sweep(running: Running, message: SweepMessage) -> None:
    engine = running.services.engine
    engine.tree.hide()
    grace = timedelta(hours=message.grace_hours)
    swept = Sweep(engine.folder, engine.database, grace).run(datetime.now(UTC), running.progress)
    if swept.untold:
        log.warning("the catalogue does not know what only these segments hold: strongroom rebuild", segments=swept.untold)
    running.finish(asdict(swept))


CLEANUP = Kind("cleanup", CleanupMessage, lambda message: message.library_id or "everything", _cleanup)
SWEEP = Kind("sweep", SweepMessage, lambda _message: "trash", _sweep)
