"""The outbox: messages on the producer's own disk that the broker does not have yet, one file each, in order of acceptance.

``{request_id}.message`` is JSON. A file is there until the broker has confirmed the message: a crash between the two delivers
it again, and the job's id makes the second one a no-op. A ``*.part`` file's writer died; ``.lock`` and ``.turn`` are locks.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from strongroom import durable
from strongroom.errors import OutboxFull
from strongroom.locks import locked, locked_if_free
from strongroom.message import Message

LIMIT_BYTES = 1 << 30
FORMAT = 1
_NAME = re.compile(r"([0-9a-f]{32})\.message")
_LOCK, _TURN = ".lock", ".turn"
_WHAT = "cannot use the outbox"


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that is kept, as far as it can be read. ``documents`` is None when it is damaged."""

    request_id: str
    documents: int | None
    size_bytes: int
    since: datetime


class Outbox:
    """A folder of messages that any number of clients, threads and processes share."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        self._swept = False

    def prepare(self) -> None:
        """Make the folder if it is not there, private to its owner, and remove what dead writers left. Cheap when done before.

        Raises:
            PermissionRefused, DiskFull, TransientIO, StorageError: the operating system refused.
        """
        if self._swept and self._folder.is_dir():
            return
        with durable.os_errors(_WHAT):
            durable.make_folder(self._folder, "outbox")
            with locked(self._folder / _LOCK) as lock:  # whoever writes a part file holds it
                for path in self._folder.glob("*.part"):
                    path.unlink(missing_ok=True)
                _write_state(lock, *self._counted())
        self._swept = True

    def is_empty(self) -> bool:
        """Tell whether there is nothing to deliver."""
        with durable.os_errors(_WHAT), suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            return not any(_NAME.fullmatch(entry.name) for entry in entries)
        return True

    def put(self, message: Message, *, sent: bool = False) -> str:
        """Keep a message durably, behind the others; return the id of its job.

        That is another one than it had when later ones went before it, unless it may have been ``sent``: two ids are two jobs.

        Raises:
            OutboxFull: there is no room left in the outbox.
            DiskFull, PermissionRefused, TransientIO, StorageError: the operating system refused; nothing is kept.
        """
        with durable.os_errors("cannot keep the message in the outbox"), locked(self._folder / _LOCK) as lock:
            size, last = _read_state(lock) or self._counted()
            if not sent and message.request_id <= last:
                message = message.renamed(f"{int(last[:16], 16) + 1:016x}{secrets.token_hex(8)}")
            body = _as_json(message)
            if size + len(body) > self._limit_bytes:
                size, _ = self._counted()  # what was delivered since is not counted off one by one
            if size + len(body) > self._limit_bytes:
                context = {"limit": self._limit_bytes, "bytes": size}
                raise OutboxFull(
                    f"The outbox at {self._folder} holds {size} bytes; {self._limit_bytes} are allowed.", None, context
                )
            self._write(message.request_id, body)
            _write_state(lock, size + len(body), max(last, message.request_id))
        return message.request_id

    def _write(self, request_id: str, body: bytes) -> None:
        part = self._folder / f"{request_id}.{secrets.token_hex(4)}.part"
        path = self._folder / f"{request_id}.message"
        durable.step("outbox: write")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                durable.fsync_file(file.fileno(), "outbox")
            durable.rename(part, path, "outbox")
            durable.fsync_folder(self._folder, "outbox")
        except OSError:
            part.unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # not accepted: it must not be delivered
            raise

    def deliver(
        self, send: Callable[[Message], object], *, turn_s: float = 0.0, until: float | None = None, told: Callable[[int], object]
    ) -> bool:
        """Hand the kept messages to ``send``, oldest first, and remove each when ``send`` has returned; ``told`` how many so far.

        Return False when another process does it just now and goes on for ``turn_s``, or when it is ``until`` (monotonic).

        Raises:
            Whatever ``send`` raises: that message and those behind it stay.
            PermissionRefused, TransientIO, StorageError: the operating system refused.
        """
        with durable.os_errors(_WHAT), suppress(FileNotFoundError), locked_if_free(self._folder / _TURN, turn_s) as mine:
            if not mine:
                return False
            count = 0
            while names := self._oldest():
                for name in names:
                    if until is not None and time.monotonic() >= until:
                        return False
                    count += self._hand_over(self._folder / name, send)
                    told(count)
            if count:
                with locked(self._folder / _LOCK) as lock:
                    _, before = _read_state(lock) or (0, "")
                    size, last = self._counted()
                    _write_state(lock, size, max(before, last))  # what went stays older than what comes
        return True

    def _hand_over(self, path: Path, send: Callable[[Message], object]) -> int:
        try:
            message = _from_json(path.read_bytes())
        except FileNotFoundError:  # somebody removed it by hand
            return 0
        if message is None or f"{message.request_id}.message" != path.name:
            path.rename(path.with_suffix(".damaged"))  # kept to be looked at; it must not hold up the others
            return 0
        durable.step("outbox: publish")
        send(message)
        durable.step("outbox: remove")
        path.unlink()
        return 1

    def kept(self) -> Iterator[Kept]:
        """Yield what is kept, oldest first. Takes no lock: a message may be delivered meanwhile.

        Raises:
            PermissionRefused, TransientIO, StorageError: the operating system refused.
        """
        with durable.os_errors(_WHAT):
            for name in self._names():
                with suppress(FileNotFoundError):
                    body = (self._folder / name).read_bytes()
                    message = _from_json(body)
                    documents = len(message.fields.get("documents", ())) if message is not None else None
                    since = datetime.fromtimestamp(int(name[:16], 16) / 1e9, UTC)
                    yield Kept(name.removesuffix(".message"), documents, len(body), since)

    def _oldest(self) -> list[str]:
        """Return the names of kept messages, oldest first, none left out that is older than one of them.

        A listing may miss a message that came while it went on and hold a later one. That later one is in its place in a second
        listing, with all that came before it.
        """
        first = self._names()
        return [name for name in self._names() if name <= first[-1]] if first else []

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def _counted(self) -> tuple[int, str]:
        size, names = 0, self._names()
        for name in names:
            with suppress(FileNotFoundError):
                size += (self._folder / name).stat().st_size
        return size, names[-1].removesuffix(".message") if names else ""


def _read_state(lock: int) -> tuple[int, str] | None:
    size, _, last = os.pread(lock, 100, 0).partition(b" ")
    return (int(size), last.decode()) if size.isdigit() and re.fullmatch(rb"([0-9a-f]{32})?", last) else None


def _write_state(lock: int, size: int, last: str) -> None:
    # Not synced: it is counted anew by every client that comes, and when the outbox seems full.
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{size} {last}".encode(), 0)


def _as_json(message: Message) -> bytes:
    kept = {"format": FORMAT, "task": message.task, "queue": message.queue, "priority": message.number}
    kept |= {"request_id": message.request_id, "fields": dict(message.fields)}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _from_json(body: bytes) -> Message | None:
    try:
        kept = json.loads(body)
        if kept["format"] != FORMAT or not isinstance(kept["fields"], dict):
            return None
        return Message(str(kept["task"]), str(kept["request_id"]), kept["fields"], str(kept["queue"]), int(kept["priority"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
