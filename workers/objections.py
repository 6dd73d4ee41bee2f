"""What stands against a person's wish about a job: it has ended already, or has not, or nothing is left to begin it anew with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models.interventions import DISCARDED, can_begin_anew
from models.ledger import JobRow
from strongroom.contracts import StoreMessage, VerifyMessage, parse_message
from strongroom.errors import InvalidMessage, InvalidRequest, NotFound, PayloadMissing, StorageError
from tasks.routes import TASKS
from tasks.unreadable import MESSAGE
from workers import kept

_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "store": partial(parse_message, StoreMessage),
    "verify": partial(parse_message, VerifyMessage),
}
_NOTHING = "There is nothing to do."
_SEND_AGAIN = "Send the documents again, as a new job."


def unknown_job(job_id: str) -> NotFound:
    """Return what is said of a job that nobody has heard of."""
    return NotFound(f"There is no job {job_id}.", "`strongroom jobs` lists them.")


def why_not_discarded(row: JobRow) -> StorageError | None:
    """Return what stands against discarding what is kept of a job; None when nothing does."""
    if row.state == "done":
        return InvalidRequest(f"Job {row.job_id} is done: its documents are stored, and nothing else is kept of it.", _NOTHING)
    if not row.ended:
        return InvalidRequest(f"Job {row.job_id} is {row.state}.", f"Cancel it first: `strongroom jobs cancel {row.job_id}`.")
    return None


def why_not_cancelled(row: JobRow) -> StorageError | None:
    """Return what stands against cancelling a job; None when nothing does, since it has not ended or was cancelled before."""
    if row.state == "cancelled" or not row.ended:
        return None
    hint = _NOTHING if row.state == "done" else f"`strongroom jobs discard {row.job_id}` removes what is kept of it."
    return InvalidRequest(f"Job {row.job_id} has ended already: it is {row.state}.", hint)


def why_not_retried(inbox: Path, row: JobRow) -> StorageError | None:
    """Return what stands against beginning a job anew; None when it ended without success and all that it takes is there."""
    if row.state == "done":
        return InvalidRequest(f"Job {row.job_id} is done.", "To store other content, send it as a new job.")
    if not row.ended:
        hint = f"`strongroom jobs why {row.job_id}` says what it waits for; to begin it anew, cancel it first."
        return InvalidRequest(f"Job {row.job_id} has not ended: it is {row.state}.", hint)
    if not can_begin_anew(row):
        said = (row.outcome or {})[DISCARDED]
        return PayloadMissing(f"What was kept of job {row.job_id} was discarded by {said['by']} at {said['at']}.", _SEND_AGAIN)
    return _what_lacks(inbox, row)


def _what_lacks(inbox: Path, row: JobRow) -> StorageError | None:
    """Return why a job that ended cannot be sent again; None when everything that it takes is there."""
    place = kept.kept_at(inbox, row.job_id)
    if row.payload.endswith(MESSAGE):
        hint = f"Have its producer send a correct one. What came is kept{f' at {place}' if place else ' no longer'}."
        return InvalidRequest(f"Job {row.job_id} is a message that could not be read: it cannot be sent again.", hint)
    if row.kind not in TASKS:
        return InvalidRequest(f"This release has no task for a job of kind {row.kind}.", "Upgrade the workers first.")
    if row.payload.startswith("{"):
        return _what_is_wrong_with_its_message(row, has_file=place is not None)
    return None if place else _gone(row)


def _what_is_wrong_with_its_message(row: JobRow, *, has_file: bool) -> StorageError | None:
    """A message that is refused would be refused again, and a worker would not even begin the job."""
    try:
        message: dict[str, Any] = json.loads(row.payload)  # JSON, checked by its contract
        if row.kind in _READERS:
            _READERS[row.kind](message)
    except InvalidMessage as error:
        return InvalidRequest(f"The message of job {row.job_id} is not understood. {error.message}", error.hint)
    except (ValueError, RecursionError) as error:
        return InvalidRequest(f"The message of job {row.job_id} cannot be read: {error}.", _SEND_AGAIN)
    return _gone(row) if message.get("inbox") and not has_file else None


def _gone(row: JobRow) -> StorageError:
    return PayloadMissing(f"The payload of job {row.job_id} is gone: nothing is kept of it.", _SEND_AGAIN)


def changed_meanwhile(job_id: str) -> StorageError:
    """Return what is said of a job that somebody else changed between our look and our write."""
    return InvalidRequest(f"Job {job_id} changed meanwhile.", f"`strongroom jobs show {job_id}` shows it.")
