"""What the tasks work with: made once a process by the composition root, handed to every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from models.database import Database
from storage.engine import Engine
from tasks.owner import Presence

TREE_TASK = "strongroom.tree"
RECONCILE_TASK = "strongroom.reconcile"
TIDY_TASK = "strongroom.tidy"
"""The tasks that nobody outside sends."""


class Send(Protocol):
    """Puts a message on a queue."""

    def __call__(self, task: str, arguments: dict[str, Any], *, queue: str) -> None:
        """Send it, or raise BrokerUnavailable."""


@dataclass(frozen=True, slots=True)
class Services:
    """An engine and what else a task needs. Belongs to one process, which is what ``owner`` names (``host:pid``)."""

    engine: Engine
    owner: str
    max_attempts: int
    send: Send
    waiting: Callable[[str], int]
    """Returns how many messages wait in a queue."""
    presence: Presence = field(init=False)
    """Shows other processes that this one lives, as long as it does."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "presence", Presence(self.engine.folder.run / "workers", self.owner))

    @property
    def database(self) -> Database:
        """The catalogue and ledger."""
        return self.engine.database

    @property
    def inbox(self) -> Path:
        """Where accepted jobs lie."""
        return self.engine.folder.inbox

    @property
    def failed(self) -> Path:
        """Where the payloads of jobs that failed are kept."""
        return self.engine.folder.inbox / "failed"
