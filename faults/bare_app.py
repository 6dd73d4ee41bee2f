"""The workers' application without its ledger: no claim, no lease, no heartbeat, no row at the end. To compare rates only.

What is left of exclusiveness costs next to nothing: a lock of the kernel on the inbox file.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

import tasks.accepted
import tasks.store
from models.ledger import JobRow, Lease, NewJob
from strongroom.contracts import DocumentReceipt
from tasks.accepted import SUFFIX, Accepted
from tasks.heart import Heart
from tasks.services import Services
from workers.main import app

__all__ = ["app"]


def _run(services: Services, owner: str, job: NewJob, files: ExitStack) -> None:
    if _lock(services.inbox / f"{job.job_id}{SUFFIX}", files):
        fields: dict[str, Any] = dict.fromkeys(JobRow.__slots__)  # of many types
        said = {"job_id": job.job_id, "kind": "store", "state": "running", "attempts": 1, "token": 1, "owner": owner}
        row = JobRow(**{**fields, **said, "created_at": datetime.now(UTC)})
        tasks.store._store(services, row, files)


def _take_along(services: Services, _owner: str, first: Accepted, files: ExitStack) -> dict[Accepted, Lease]:
    """Take as much along as the usual application does, in the same order."""
    room = tasks.accepted.TOGETHER_BYTES - first.sent_bytes
    found: dict[Accepted, Lease] = {}
    with os.scandir(services.inbox) as entries:
        for entry in entries:
            if len(found) == tasks.accepted.TOGETHER_FILES:
                break
            path = Path(entry.path)
            size = _size(entry) if entry.name.endswith(SUFFIX) and path != first.path else None
            # Only what fits is locked: while it is, its message is taken for one that comes too late, and nobody sends it again.
            if size is not None and size <= room and _lock(path, files):
                one = files.enter_context(Accepted(path))
                found[one] = Lease(one.job_id, 1)
                room -= size
    return found


def _size(entry: os.DirEntry[str]) -> int | None:
    with suppress(FileNotFoundError):
        return entry.stat().st_size
    return None


def _lock(path: Path, files: ExitStack) -> bool:
    """Take the file for this run; it is let go with the run's other files."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        files.callback(os.close, descriptor)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path.exists()
    return False


def _was_taken_along(services: Services, job_id: str) -> bool:
    return not os.path.lexists(services.inbox / f"{job_id}{SUFFIX}")


def _end_stored(_connection: Connection, _lease: Lease, _receipts: Sequence[DocumentReceipt]) -> None:
    """Record nothing."""


def _replace(module: Any, **others: Any) -> None:  # functions of a module, by name
    for name, other in others.items():
        assert hasattr(module, name), f"{module.__name__} has no {name} any more: what is compared here is something else"
        setattr(module, name, other)


_replace(tasks.store, _run=_run, take_along=_take_along, was_taken_along=_was_taken_along, end_stored=_end_stored)
_replace(Heart, start=lambda _heart: None)
