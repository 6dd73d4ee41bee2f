"""The journal: an append-only file for what no segment can tell, such as a version whose content was already there.

A line is the first 16 hex digits of the SHA-256 of its JSON, a space, the JSON. A line that a crash cut short does not hash to
its digest; the next writer goes on behind it with a line that says so, and readers pass over it. A line that does not hash to
its digest and has no such line behind it is damaged.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import orjson

from strongroom import durable

TORN = {"torn": True}
"""Says that the line before was cut short by a crash, before anything of it was acknowledged."""


def append_journal(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add entries durably, in one write. Processes may append at the same time: a lock keeps their lines whole.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    lines = b"".join(line_of(entry) for entry in entries)
    with durable.os_errors("cannot write the journal"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            durable.step("journal: write")
            _write_all(descriptor, b"\n" + line_of(TORN) + lines if _is_torn(descriptor) else lines)
            durable.fsync_file(descriptor, "journal")
        finally:
            os.close(descriptor)
        # Each time: whoever made the file may have died before its name was durable.
        durable.fsync_folder(path.parent, "journal")


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries, oldest first; lines that do not hash to their digest are passed over."""
    for entry, _ in _read(path):
        if entry is not None and entry != TORN:
            yield entry


def damaged_lines(path: Path) -> list[int]:
    """Return the numbers of the lines, from 1 on, that hold something else than was written. A torn one is not among them."""
    damaged: list[int] = []
    torn, has_end = 0, False
    for number, (entry, ended) in enumerate(_read(path), 1):
        if torn and entry != TORN:
            damaged.append(torn)
        torn, has_end = number if entry is None else 0, ended
    return [*damaged, torn] if torn and has_end else damaged


def overwrite_damaged(path: Path) -> int:
    """Make each damaged line an entry that says that something was lost here, of the same length; return how many are left.

    What the lines told must have been told anew before, and the old file must be kept. A line too short for that stays as it is.
    Safe beside those who append: they wait.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused.
    """
    with durable.os_errors("cannot mend the journal"):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            left = 0
            for at, length in _extents(path, set(damaged_lines(path))):
                line = _filled("lost", length)
                left += line is None
                if line is not None:
                    durable.step("journal: overwrite")
                    os.pwrite(descriptor, line, at)
            durable.fsync_file(descriptor, "journal")
        finally:
            os.close(descriptor)
    return left


def wipe_entries(
    path: Path, doomed: Callable[[Mapping[str, Any]], bool], redacted: Callable[[bytes], bytes], *, damaged_too: bool
) -> int:
    """Make each entry of which that is so one that says nothing, of the same length, where it stands; return how many changed.

    Of the others ``redacted`` returns the JSON as it is to be, of the same length.

    ``damaged_too``: a wipe was cut short before, so a line that does not hold may be half of one. Durable on return; safe beside
    those who append.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on.
    """
    if not path.exists():
        return 0
    with durable.os_errors("cannot wipe the journal"):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            damaged = _extents(path, set(damaged_lines(path))) if damaged_too else []
            changed = [*_wiped(path, doomed, redacted), *((at, _filled("wiped", length)) for at, length in damaged)]
            for at, line in changed:
                if line is not None:
                    durable.step("journal: wipe")
                    os.pwrite(descriptor, line, at)
            durable.fsync_file(descriptor, "journal")
        finally:
            os.close(descriptor)
    return len(changed)


def _wiped(
    path: Path, doomed: Callable[[Mapping[str, Any]], bool], redacted: Callable[[bytes], bytes]
) -> Iterator[tuple[int, bytes | None]]:
    at = 0
    with path.open("rb") as file:
        for line in file:
            entry, body = entry_of(line), line.removesuffix(b"\n").partition(b" ")[2]
            if entry is not None and doomed(entry):
                yield at, _filled("wiped", len(line))
            elif entry is not None and (clean := redacted(body)) != body:
                yield at, _digest(clean) + b" " + clean + b"\n"
            at += len(line)


def _extents(path: Path, numbers: Set[int]) -> list[tuple[int, int]]:
    """Return offset and length of these lines, of lines that follow each other as one: rot can make a line's end, too."""
    found: list[tuple[int, int]] = []
    at = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number in numbers:
                joined = found and sum(found[-1]) == at
                found[-1:] = [(found[-1][0], found[-1][1] + len(line))] if joined else [*found[-1:], (at, len(line))]
            at += len(line)
    return found


def _filled(kind: str, length: int) -> bytes | None:
    filler = length - len(line_of({kind: ""}))
    return line_of({kind: "." * filler}) if filler >= 0 else None


def _read(path: Path) -> Iterator[tuple[dict[str, Any] | None, bool]]:
    """Yield what each line holds, None for one that does not hash to its digest, and whether it has its end."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            yield entry_of(line), line.endswith(b"\n")


def entry_of(line: bytes) -> dict[str, Any] | None:
    """Return what a line holds; None when it does not hash to its digest."""
    digest, _, body = line.removesuffix(b"\n").partition(b" ")
    return orjson.loads(body) if _digest(body) == digest else None


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def line_of(entry: Mapping[str, Any]) -> bytes:
    """Return the line that holds an entry."""
    body = orjson.dumps(entry)
    return _digest(body) + b" " + body + b"\n"


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
