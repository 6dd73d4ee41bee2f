"""Why a job is where it is, in a sentence or two: from rows to words. Looks at nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from models.due import SETTLED
from models.interventions import DISCARDED
from models.leases import LEASE
from models.ledger import JobRow, State
from strongroom.errors import DiskFull, InvalidMessage, MessageTooNew, NotEnoughSpace, QuotaExceeded, TargetUnreachable
from tasks.unreadable import MESSAGE
from workers.durations import span
from workers.situation import Situation, percent

SOON = timedelta(seconds=2)
"""How often workers look at what is due."""

_TAKEN_UP = timedelta(seconds=1)
"""A worker that has taken a message needs less than this to begin its job."""

_UNSENDABLE = "it cannot be sent again as it is"

_UP = "no service runs on this folder: start it with `strongroom up`"


def why(situation: Situation) -> str:
    """Return what the job does, or waits for, or what became of it and what can be done about that."""
    return _WORDS[situation.row.state](situation)


def place_of(owner: str) -> str:
    """Return the part of an owner's name that tells people where to look: host:pid."""
    return ":".join(owner.split(":")[:2])


def _queued(situation: Situation) -> str:
    return f"waiting {span(situation.waited)}: {_what_for(situation)}."


def _what_for(situation: Situation) -> str:
    row, queue = situation.row, f"the {situation.row.queue or 'short'} queue"
    position = f"position {situation.ahead + 1:,}"
    if not situation.service:
        return f"{_UP}; {position} in {queue}"
    if not situation.entered:
        return f"it is accepted, and no worker has taken it up yet; {position} in {queue}"
    if situation.limit is not None and len(situation.alike) >= situation.limit:
        return f"{_others(situation)} and the limit is {situation.limit}; {_next(situation, 'looks again')}"
    if len(situation.busy) >= situation.slots:
        return f"{queue} is busy with {_names(situation.busy)}; {position}"
    if row.sent_at is not None and situation.messages == 0 and situation.now - row.sent_at > _TAKEN_UP:
        return f"its message was lost; {_next(situation, 'is sent again')}"
    return f"{_next(situation, 'is sent') if row.sent_at is None else f'its message is in {queue}'}; {position}"


def _others(situation: Situation) -> str:
    count = len(situation.alike)
    return f"{count} other {situation.row.kind} {'job runs' if count == 1 else 'jobs run'}"


def _next(situation: Situation, what: str) -> str:
    """Say when workers turn to it: when it is due, or when its message is known to be lost."""
    times = [situation.row.due_at] if situation.row.due_at else []
    if situation.messages == 0 and situation.row.sent_at is not None:
        times.append(situation.row.sent_at + SETTLED)
    wait = min(times, default=situation.now) - situation.now
    return f"it {what} in {span(wait)}" if wait > timedelta() else f"it {what} within {span(SOON)}"


def _names(rows: Sequence[JobRow]) -> str:
    first = f"{rows[0].kind} {rows[0].job_id}"
    done = percent(rows[0])
    first += f" ({done:.0f} % done)" if done is not None else ""
    return first if len(rows) == 1 else f"{first} and {len(rows) - 1} more"


def _running(situation: Situation) -> str:
    row = situation.row
    place, done = place_of(row.owner), percent(row)
    since = span(situation.now - row.started_at) if row.started_at else "a while"
    words = f"running on {place} for {since}" + (f", {done:.0f} % done" if done is not None else "")
    words += f", attempt {row.attempts}" if row.attempts > 1 else ""
    if row.expires_at is None:
        return f"{words}."
    left = row.expires_at - situation.now
    if left > timedelta():
        return f"{words}; lease renewed {span(LEASE - left)} ago."
    after = "it is given to another worker within seconds" if situation.service else _UP
    return f"{words}; its lease ran out {span(-left)} ago, so its worker is gone or frozen: {after}."


def _retrying(situation: Situation) -> str:
    row = situation.row
    failed = f"after attempt {row.attempts} failed: {_error(row)}"
    if not situation.service:
        return f"waits to be tried again {failed} But {_UP}."
    return f"retries {_when(situation)} {failed}"


def _parked(situation: Situation) -> str:
    row = situation.row
    if not situation.service:
        return f"parked: {_error(row)} And {_UP}."
    code = (row.error or {}).get("code", "")
    until, again = _PARKED.get(code, ("parked", "tried again"))
    return f"{until}, {again} {_when(situation)}: {_error(row)}{_hint(row)}"


_PARKED = {
    DiskFull.code: ("parked until the disk has room", "tried again"),
    NotEnoughSpace.code: ("parked until enough space is free", "looked at again"),
    QuotaExceeded.code: ("parked until there is room under a quota", "looked at again"),
    TargetUnreachable.code: ("parked until the place of the backups answers", "tried again"),
    MessageTooNew.code: ("waits for a newer worker", "offered again"),
}


def _when(situation: Situation) -> str:
    due_at = situation.row.due_at
    if due_at is None or due_at <= situation.now:
        return f"within {span(SOON)}"
    return f"at {due_at:%H:%M:%S} UTC (in {span(due_at - situation.now)})"


def _done(situation: Situation) -> str:
    row = situation.row
    took = f" after {span(row.finished_at - row.started_at)}" if row.finished_at and row.started_at else ""
    counts = ((name, (row.outcome or {}).get(name)) for name in ("stored", "unchanged", "checked", "damaged_versions"))
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts if count is not None)
    return f"done{_at(row)}{took}" + (f": {said}." if said else ".")


def _failed(situation: Situation) -> str:
    row = situation.row
    return f"{row.state}{_at(row)}: {_error(row)}{_hint(row)} {_remains(situation)}"


def _cancelled(situation: Situation) -> str:
    return f"cancelled{_at(situation.row)}: {_error(situation.row)} {_remains(situation)}"


def _remains(situation: Situation) -> str:
    row = situation.row
    discarded: Mapping[str, Any] | None = (row.outcome or {}).get(DISCARDED)
    if discarded is not None:
        return f"What was kept of it was discarded by {discarded['by']} at {discarded['at'][:19]}."
    if row.payload.endswith(MESSAGE) and situation.kept:
        return f"What came is kept at {situation.kept}; {_UNSENDABLE}."
    if row.payload.startswith("{") and (row.error or {}).get("code") == InvalidMessage.code:
        return f"Its message is kept in the ledger, where `strongroom jobs show {row.job_id}` shows it; {_UNSENDABLE}."
    if situation.kept:
        return f"Its payload is kept at {situation.kept}; `strongroom jobs retry {row.job_id}` begins it anew."
    if row.payload.startswith("{"):
        return f"Its message is kept in the ledger; `strongroom jobs retry {row.job_id}` begins it anew."
    return "Nothing is kept of it: send it again."


def _at(row: JobRow) -> str:
    return f" at {row.finished_at:%H:%M:%S} UTC" if row.finished_at else ""


def _error(row: JobRow) -> str:
    return _ended(str((row.error or {}).get("message", "no reason is recorded")))


def _hint(row: JobRow) -> str:
    hint = str((row.error or {}).get("hint", ""))
    return f" {_ended(hint)}" if hint else ""


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


_WORDS: Mapping[State, Callable[[Situation], str]] = {
    "queued": _queued,
    "running": _running,
    "retrying": _retrying,
    "parked": _parked,
    "done": _done,
    "failed": _failed,
    "quarantined": _failed,
    "cancelled": _cancelled,
}
