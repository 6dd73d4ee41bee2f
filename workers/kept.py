"""Payloads as files: those that wait in the inbox, and those that are kept in ``inbox/failed`` once their job ended badly."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from strongroom import durable
from tasks.accepted import SUFFIX
from tasks.unreadable import MESSAGE


def waits(inbox: Path, job_id: str) -> bool:
    """Whether a job's file lies in the inbox."""
    return os.path.lexists(_waiting(inbox, job_id))


def is_kept(inbox: Path, job_id: str) -> bool:
    """Whether a job's file is kept."""
    return os.path.lexists(_kept(inbox, job_id))


def kept_at(inbox: Path, job_id: str) -> Path | None:
    """Return where the payload of a job that ended lies: kept, or still in the inbox; None when it is gone."""
    places = (_kept(inbox, job_id), _kept(inbox, job_id, MESSAGE), _waiting(inbox, job_id))
    return next((path for path in places if os.path.lexists(path)), None)


def put_back(inbox: Path, job_ids: Iterable[str]) -> None:
    """Move kept files back to where workers find them. Durable on return; harmless when they are there already.

    Raises:
        StorageError: the inbox cannot be written.
    """
    _move(inbox, [(_kept(inbox, name), _waiting(inbox, name)) for name in job_ids if not waits(inbox, name)], "retry")


def keep(inbox: Path, job_ids: Iterable[str]) -> None:
    """Move files of the inbox to where failed jobs' are kept. Durable on return; harmless when they are there already.

    Raises:
        StorageError: the inbox cannot be written.
    """
    with durable.os_errors("cannot keep a payload"):
        durable.make_folder(inbox / "failed", "cancel")
    _move(inbox, [(_waiting(inbox, name), _kept(inbox, name)) for name in job_ids], "cancel")


def remove(inbox: Path, job_ids: Iterable[str]) -> None:
    """Remove what is kept of jobs for good. Durable on return; harmless when it is gone.

    Raises:
        StorageError: the inbox cannot be written.
    """
    places = [path for name in job_ids for path in (_kept(inbox, name), _kept(inbox, name, MESSAGE), _waiting(inbox, name))]
    there = [path for path in places if os.path.lexists(path)]
    with durable.os_errors("cannot discard a payload"):
        for path in there:
            durable.step("discard: remove")
            with suppress(FileNotFoundError):
                path.unlink()
        for folder in sorted({path.parent for path in there}):
            durable.fsync_folder(folder, "discard")


def _move(inbox: Path, moves: Sequence[tuple[Path, Path]], name: str) -> None:
    there = [(source, target) for source, target in moves if os.path.lexists(source)]
    with durable.os_errors("cannot move a payload"):
        for source, target in there:
            with suppress(FileNotFoundError):  # a worker did the same
                durable.rename(source, target, name)
        # Where it goes to first: a crash between the two shows the file twice rather than never.
        targets = {target.parent for _source, target in there}
        for folder in (*targets, *({inbox, inbox / "failed"} - targets if there else ())):
            durable.fsync_folder(folder, name)


def _waiting(inbox: Path, job_id: str) -> Path:
    return inbox / f"{job_id}{SUFFIX}"


def _kept(inbox: Path, job_id: str, suffix: str = SUFFIX) -> Path:
    return inbox / "failed" / f"{job_id}{suffix}"
