"""The task ``strongroom.verify``: read stored bytes again, compare, record what was found; repair it when that is asked for."""

from __future__ import annotations

from functools import partial

from strongroom.contracts import VerifyMessage
from tasks.kinds import Kind, Running

_TOLD = 1000
"""How many damaged versions the ledger names."""


def _verify(running: Running, message: VerifyMessage) -> None:
    engine = running.services.engine
    look = partial(engine.verify_and_repair, by=running.row.asked_by) if message.repair else engine.verify
    receipt = look(message.library_id, message.version, running.progress)
    shown = {"request_id": running.row.job_id, "damaged": receipt.damaged[:_TOLD], "repaired": receipt.repaired[:_TOLD]}
    counts = {"damaged_versions": len(receipt.damaged), "repaired_versions": len(receipt.repaired)}
    running.finish(receipt.model_copy(update=shown).model_dump() | counts)


def _subject(message: VerifyMessage) -> str:
    return " ".join(part for part in (message.library_id, message.version) if part) or "everything"


VERIFY = Kind("verify", VerifyMessage, _subject, _verify)
