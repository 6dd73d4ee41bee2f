"""The task ``strongroom.verify``: read stored bytes again, compare, record what was found. Never repairs."""

from __future__ import annotations

from strongroom.contracts import VerifyMessage
from tasks.jobs import Kind, Running

_TOLD = 1000
"""How many damaged versions the ledger names."""


def _verify(running: Running, message: VerifyMessage) -> None:
    receipt = running.services.engine.verify(message.library_id, message.version, running.progress)
    told = receipt.model_copy(update={"request_id": running.row.job_id, "damaged": receipt.damaged[:_TOLD]})
    running.finish(told.model_dump() | {"damaged_versions": len(receipt.damaged)})


def _subject(message: VerifyMessage) -> str:
    return " ".join(part for part in (message.library_id, message.version) if part) or "everything"


VERIFY = Kind("verify", VerifyMessage, _subject, _verify)
