"""What a kind of job is, and a job that runs. Without what carries them out: commands that do the same work here start faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from models.leases import end_job
from models.ledger import JobRow
from tasks.services import Services


class JobMessage(Protocol):
    """What the message of any job has. ``priority`` may be absent: then it is normal."""

    @property
    def request_id(self) -> str | None:
        """Names the job."""


M = TypeVar("M", bound=JobMessage)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that this process holds the lease of."""

    services: Services
    row: JobRow
    progress: Callable[[int, int], None]
    """Takes how many bytes of how many are done. Cheap."""

    def end(self, connection: Connection, outcome: Mapping[str, Any], *, subject: str | None = None) -> None:
        """Record that the job is done, in the transaction of the work's own rows.

        Raises:
            LeaseLost: somebody else does it by now: the transaction must be given up.
        """
        end_job(connection, self.row.lease, "done", datetime.now(UTC), subject=subject, outcome=outcome)

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Record that the job is done, when its work has no rows of its own or is harmless to do twice.

        Raises:
            LeaseLost: somebody else does it by now.
        """
        with self.services.database.write("ledger") as connection:
            self.end(connection, outcome)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A kind of job: its message, what it is about, and its work, which ends the job by ``end`` or ``finish``.

    The work runs behind a fence: once the lease is lost, the next transaction or the next word about progress raises LeaseLost.
    So it may be cut short between any two of its transactions, as by a crash.
    """

    name: str
    message: type[M]
    subject: Callable[[M], str]
    work: Callable[[Running, M], None]
    peak: Callable[[Services, M], int] = lambda _services, _message: 0
    """The most that the job adds to what is on the disk while it runs, in bytes. It begins when that much is free."""
