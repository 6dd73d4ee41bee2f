"""The journal: an append-only file for what no segment can tell, such as a version whose content was already there.

A line is the first 16 hex digits of the SHA-256 of its JSON, a space, the JSON. A line cut short by a crash does not hash to
its digest and is passed over; the next writer starts on a new line.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from strongroom import durable


def append_journal(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add entries durably, in one write. Processes may append at the same time: a lock keeps their lines whole.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    lines = b"".join(_line(entry) for entry in entries)
    with durable.os_errors("cannot write the journal"):
        fresh = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            durable.step("journal: write")
            _write_all(descriptor, b"\n" + lines if torn else lines)
            durable.fsync_file(descriptor, "journal")
        finally:
            os.close(descriptor)
        if fresh:
            durable.fsync_folder(path.parent, "journal")


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries, oldest first; lines that do not hash to their digest are passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            digest, _, body = line.rstrip(b"\n").partition(b" ")
            if hashlib.sha256(body).hexdigest()[:16].encode() == digest:
                yield orjson.loads(body)


def _line(entry: Mapping[str, Any]) -> bytes:
    body = orjson.dumps(entry)
    return hashlib.sha256(body).hexdigest()[:16].encode() + b" " + body + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
