"""What the tasks work with: made once a process by the composition root, handed to every task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from models.database import Database
from storage.backup.place import Place
from storage.engine import Engine
from strongroom.errors import BrokerUnavailable
from tasks.owner import Presence, this_process


class Broker(Protocol):
    """What the tasks need of the broker: it is only a buffer."""

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        """Put a message on a queue, or raise BrokerUnavailable."""

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """Return how many messages wait in each of these queues, or raise BrokerUnavailable."""


class NoBroker:
    """Nobody to send to: what is due is sent by those who have a broker."""

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:  # noqa: ARG002 - Broker's
        """Refuse."""
        raise BrokerUnavailable(f"{task} cannot be sent from here.")

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """Refuse."""
        raise BrokerUnavailable(f"What waits in {', '.join(queues)} is not known here.")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """An engine and what else a task needs. Belongs to one process; ``worker`` names the worker whose child that is."""

    engine: Engine
    broker: Broker = field(default_factory=NoBroker)
    max_attempts: int = 5
    limits: Mapping[str, int] = field(default_factory=dict)
    """How many jobs of a kind run at once; kinds that are not named have no limit."""
    owner: str = field(default_factory=this_process)
    worker: str = ""
    place: Place | None = None
    """Where backups go; None: to the folder ``backups`` in the data folder."""
    ping_url: str | None = field(default=None, repr=False)
    """The dead-man's switch that each backup tells of itself."""
    progress: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """How far the running jobs of this process have come, by id: the heartbeat writes it into the ledger."""
    clock: Callable[[], datetime] = _now
    """Tells whose turn it is to be let in."""
    presence: Presence = field(init=False)
    """Shows other processes that this one lives, as long as it does."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "presence", Presence(self.workers, self.owner, self.worker))

    @property
    def workers(self) -> Path:
        """Where processes show that they live."""
        return self.engine.folder.run / "workers"

    @property
    def backups(self) -> Place:
        """Where backups go."""
        return self.place or Place(str(self.engine.folder.root / "backups"))

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
