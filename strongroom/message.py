"""A message on its way to the broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from strongroom.numbering import said_priority
from strongroom.routes import PRIORITIES, STORE_TASK, Priority


@dataclass(frozen=True, slots=True)
class Message:
    """One Celery message: which task, in which queue, with which arguments. ``number`` is its priority on the wire."""

    task: str
    request_id: str
    fields: Mapping[str, Any]  # JSON: a StoreMessage or a VerifyMessage
    queue: str
    number: int

    def renamed(self, request_id: str) -> Self:
        """Return the same message under another id. Only for one that was never sent."""
        return replace(self, request_id=request_id, fields={**self.fields, "request_id": request_id})


def store_message(request_id: str, said: Mapping[str, Any], queue: str, priority: Priority) -> Message:
    """Return a message of ``strongroom.store``; ``said`` is what it says beside contract, id and priority."""
    contract, *rest = said_priority(priority).items()
    fields = {**dict([contract]), "request_id": request_id, **said, **dict(rest)}
    return Message(STORE_TASK, request_id, fields, queue, PRIORITIES[priority])


def doorbell(inbox_file: str, *, receipt: bool, queue: str, priority: Priority) -> Message:
    """Return the message that rings for a file of the inbox."""
    return store_message(inbox_file.removesuffix(".inbox"), {"inbox": inbox_file, "receipt": receipt}, queue, priority)
