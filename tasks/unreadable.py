"""Messages that nobody could read: kept as files when they come, recorded as failed jobs by a process that has a ledger.

A worker's main process takes messages from the broker and forks children, so it must not open the database. It writes
``inbox/failed/{job id}.unread``, and only then acknowledges. ``record_unreadable`` makes the row and renames the file to
``.message``. (Rejected: looking for files without a row: each look would cost as much as was ever kept.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from models.ledger import NewJob, record_failed
from strongroom import durable
from strongroom.contracts import ErrorInfo
from strongroom.errors import InvalidMessage, MessageTooNew
from strongroom.result import Problem
from tasks.messages import job_id_of
from tasks.plain import plain
from tasks.services import Services

UNREAD = ".unread"
MESSAGE = ".message"
OURS = "strongroom."
"""How the names of our tasks begin, those of newer releases too."""
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_AT_ONCE = 100
_TOLD = 300
"""Characters: what is said of a message is no novel."""
_KEPT = "The message is kept as it came, in inbox/failed."


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as the broker delivered it. ``delivery_tag`` is the same whenever this very message is delivered again."""

    body: bytes
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, Any]  # JSON of the producer's own
    properties: Mapping[str, Any]  # the same

    @property
    def task(self) -> str:
        """The task that it names; empty when it names none."""
        task = self.headers.get("task")
        return task if isinstance(task, str) else ""

    @property
    def delivery_tag(self) -> str:
        """What tells it from every other message."""
        return str(self.properties.get("delivery_tag") or hashlib.sha256(self.body).hexdigest())

    @property
    def job_id(self) -> str:
        """The id under which its producer would look for it."""
        said = (self.headers.get("id"), self.properties.get("correlation_id"))
        return job_id_of(*(one if isinstance(one, str) and one else self.delivery_tag for one in said))


def unreadable(reason: str) -> InvalidMessage:
    """Return what is said of a message that cannot be decoded, or is not of the form of a task's message."""
    return InvalidMessage(plain(reason, _TOLD), f"{InvalidMessage.default_hint} {_KEPT}")


def unknown_task(task: str) -> InvalidMessage:
    """Return what is said of a message for a task that this release does not have."""
    if not task.startswith(OURS):
        return unreadable(f"There is no task {task!r} here.")
    hint = f"If a newer release has it, upgrade the workers and send the message again: no worker takes it up by itself. {_KEPT}"
    return MessageTooNew(plain(f"This release has no task {task!r}.", _TOLD), hint)


def keep_unreadable(failed: Path, raw: RawMessage, error: InvalidMessage) -> Path:
    """Keep a message that cannot be read, and why; durable on return. Safe to call again when it is delivered again.

    Raises:
        StorageError: it could not be written; the message must not be acknowledged.
    """
    with durable.os_errors("cannot keep a message that cannot be read"):
        durable.make_folder(failed, "unreadable")
        job_id = raw.job_id
        kept = _kept(failed, job_id)
        if kept is not None and _read(kept).get("delivery_tag") != raw.delivery_tag:
            job_id = other_id(job_id, raw.delivery_tag)
            kept = _kept(failed, job_id)
        return kept or _write(failed, job_id, _as_json(raw, error))


def other_id(job_id: str, delivery_tag: str) -> str:
    """Return the id of a message whose own id names another job already."""
    return hashlib.sha256(f"{job_id}\0{delivery_tag}".encode("utf-8", "surrogatepass")).hexdigest()


def _kept(failed: Path, job_id: str) -> Path | None:
    return next((path for suffix in (UNREAD, MESSAGE) if (path := failed / f"{job_id}{suffix}").exists()), None)


def _as_json(raw: RawMessage, error: InvalidMessage) -> str:
    said = {
        "error": ErrorInfo.of(Problem.of(error)).model_dump(),
        "task": raw.task,
        "delivery_tag": raw.delivery_tag,
        "content_type": raw.content_type,
        "content_encoding": raw.content_encoding,
        "headers": dict(raw.headers),
        "properties": dict(raw.properties),
        "body_base64": base64.b64encode(raw.body).decode("ascii"),
    }
    with _deep():
        return json.dumps(said, default=repr)


def _write(failed: Path, job_id: str, text: str) -> Path:
    part = failed.parent / f"{job_id}.{secrets.token_hex(4)}.part"
    path = failed / f"{job_id}{UNREAD}"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            durable.fsync_file(file.fileno(), "unreadable")
        durable.rename(part, path, "unreadable")
        durable.fsync_folder(failed, "unreadable")
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return path


def record_unreadable(services: Services) -> int:
    """Record the messages that were kept since the last time as failed jobs; return how many. Safe anywhere, at any time.

    A crash between row and rename is healed by the next call.

    Raises:
        StorageError: the ledger or the inbox cannot be reached.
    """
    recorded = 0
    for path in _unread(services.failed):
        with durable.os_errors("cannot read a message that was kept"), suppress(FileNotFoundError):  # another process did it
            said = _read(path)
            job_id = _record(services, path.stem, said)
            durable.rename(path, path.with_name(f"{job_id}{MESSAGE}"), "unreadable, recorded")
            recorded += 1
    return recorded


def _unread(failed: Path) -> list[Path]:
    with durable.os_errors("cannot look for messages that were kept"), suppress(FileNotFoundError), os.scandir(failed) as entries:
        return [Path(entry.path) for entry in islice((one for one in entries if one.name.endswith(UNREAD)), _AT_ONCE)]
    return []


def _read(path: Path) -> dict[str, Any]:
    """Return what a kept file says; nothing when it is damaged, which is no reason not to record it."""
    with suppress(ValueError, RecursionError), _deep():
        said = json.loads(path.read_bytes())
        if isinstance(said, dict):
            return said
    return {}


def _record(services: Services, job_id: str, said: Mapping[str, Any]) -> str:
    """Make the row of a failed job; return its id, which is another one when that id is taken by another job."""
    task = str(said.get("task", ""))
    kind = task.rpartition(".")[2]
    error = said.get("error")
    if not isinstance(error, dict):
        error = ErrorInfo.of(Problem.of(unreadable("The file that was kept is damaged."))).model_dump()
    now = datetime.now(UTC)
    with services.database.write("ledger") as connection:
        for name in (job_id, other_id(job_id, str(said.get("delivery_tag", "")))):
            job = NewJob(name, kind if _KIND.fullmatch(kind) else "message", f"{name}{MESSAGE}", plain(task, _TOLD))
            if record_failed(connection, job, error, now).payload == job.payload:
                break
    return name


@contextmanager
def _deep() -> Iterator[None]:
    """Have the stack reach for headers that it reached for when the broker's envelope was parsed, further up."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
