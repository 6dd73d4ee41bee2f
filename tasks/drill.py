"""The task ``strongroom.drill``: backups are restored into scratch space, and compared."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.backups import count_everything
from storage.backup.drill import Drilled, RunDrill
from strongroom.numbering import FIRST_CONTRACT
from tasks.kinds import Kind, Running
from tasks.services import Services

_CATALOGUE = 1.25
"""What a restored folder takes, as a multiple of its segments: indexes, the catalogue, and the one that is made anew."""


class DrillMessage(BaseModel):
    """The arguments of ``strongroom.drill``: how old the newest backup may be; 0: as old as it likes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    max_age_hours: int = Field(26, ge=0)
    priority: Literal["high", "normal", "low"] = "normal"


def summary(drilled: Drilled) -> dict[str, Any]:
    """Return what programs are told of a drill."""
    return {
        "drill_id": drilled.drill_id,
        "verdict": drilled.verdict,
        "id": drilled.backup_id or None,
        "at": drilled.at.isoformat(),
        "rto_s": drilled.rto_s,
        "rpo_s": drilled.rpo_s,
        "checked": drilled.checked,
        "problems": list(drilled.problems),
        "backups": [asdict(one) for one in drilled.proofs],
    }


def _peak(services: Services, _message: DrillMessage) -> int:
    """One backup is restored at a time, and none is larger than what was ever stored at once: about what is stored now."""
    with services.database.read() as connection:
        return round(count_everything(connection).segment_bytes * _CATALOGUE)


def _drill(running: Running, message: DrillMessage) -> None:
    services = running.services
    drill = RunDrill(services.engine, services.backups, timedelta(hours=message.max_age_hours), running.progress)
    running.finish(summary(drill.run()))


DRILL = Kind("drill", DrillMessage, lambda _message: "the newest, and one by lot", _drill, _peak)
