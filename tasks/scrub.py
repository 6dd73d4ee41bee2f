"""The task ``strongroom.scrub``: what was read longest ago is read again, so that all of it is read within so many days."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from storage.pace import Pace
from storage.scrub import Scrub, Scrubbed
from storage.treemode import shown_mode
from strongroom.numbering import FIRST_CONTRACT
from tasks.accepted import SUFFIX
from tasks.kinds import Kind, Running

_TOLD = 1000
"""How many damaged and repaired versions the ledger names."""


class ScrubMessage(BaseModel):
    """The arguments of ``strongroom.scrub``: within how many days all is to be read, how fast, and whether damage is repaired."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    days: int = Field(30, ge=1)
    mb_s: float = Field(0.0, ge=0)
    repair: bool = True


def _scrub(running: Running, message: ScrubMessage) -> None:
    engine, inbox = running.services.engine, running.services.inbox
    mode = shown_mode(engine.folder, engine.options.tree)
    pace = Pace(lambda: is_at_work(inbox), message.mb_s)
    scrub = Scrub(engine.folder, engine.database, engine.repair if message.repair else None, mode, pace)
    done = scrub.run(timedelta(days=message.days), running.progress, by=running.row.asked_by)
    running.finish(_told(done, pace))


def is_at_work(inbox: Path) -> bool:
    """Whether there are accepted documents that are not stored yet: the foreground, which goes before."""
    with suppress(OSError), os.scandir(inbox) as entries:
        return any(entry.name.endswith(SUFFIX) for entry in entries)
    return False


def _told(done: Scrubbed, pace: Pace) -> dict[str, object]:
    return {
        "segments": done.segments,
        "read_bytes": done.read_bytes,
        "canaries": done.canaries,
        "yielded_s": round(pace.yielded_s, 3),
        "bad_segments": done.bad_segments[:_TOLD],
        "repaired": [one.model_dump() for one in done.repaired[:_TOLD]],
        "damaged": [one.model_dump() for one in done.damaged[:_TOLD]],
        "damaged_versions": len(done.damaged),
        "findings": [one.model_dump() for one in done.findings[:_TOLD]],
    }


SCRUB = Kind("scrub", ScrubMessage, lambda _message: "what is due", _scrub)
