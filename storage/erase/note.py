"""The note of an erasure: durable before anything is erased, gone when nothing is left. Whoever erases next finishes it first."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import orjson

from storage.layout import DataFolder
from strongroom import durable

Target = tuple[str, str | None]
"""A library and a version of it; None stands for all."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is being erased. ``names`` are all that the libraries were ever called, ``contents`` what their revisions hold."""

    erasure_id: str
    at: datetime
    by: str
    why: str
    targets: tuple[Target, ...]
    version_ids: tuple[str, ...]
    contents: tuple[str, ...]
    names: tuple[str, ...]
    since: datetime | None = None
    """When one of the contents was first stored, as far as that is told."""
    again: bool = False
    """It was found: somebody else began it."""

    def hits(self, library_id: str, version: str | None) -> bool:
        """Whether a library's version is among what is erased; of None, whether all of the library is."""
        return (library_id, None) in self.targets or (version is not None and (library_id, version) in self.targets)


def write_note(folder: DataFolder, note: Note) -> None:
    """Make a note durable.

    Raises:
        OSError: the operating system refused; there is none.
    """
    part = folder.tmp / f"{secrets.token_hex(8)}.part"
    try:
        with part.open("wb") as file:
            durable.step("erasure note: write")
            file.write(orjson.dumps({name: value for name, value in asdict(note).items() if name != "again"}))
            file.flush()
            durable.fsync_file(file.fileno(), "erasure note")
        durable.rename(part, note_path(folder, note), "erasure note")
        durable.fsync_folder(folder.metadata, "erasure note")
    finally:
        part.unlink(missing_ok=True)


def drop_note(folder: DataFolder, note: Note) -> None:
    """Forget an erasure that is done, or that did not begin."""
    durable.step("erasure note: unlink")
    note_path(folder, note).unlink(missing_ok=True)
    durable.fsync_folder(folder.metadata, "erasure note")


def note_path(folder: DataFolder, note: Note) -> Path:
    """Where a note lies."""
    return folder.metadata / f"erasure-{note.erasure_id}.pending"


def pending_notes(folder: DataFolder) -> Iterator[Note]:
    """Yield the erasures that were cut short."""
    for path in sorted(folder.metadata.glob("erasure-*.pending")):
        told = orjson.loads(path.read_bytes())
        lists = {name: tuple(told[name]) for name in ("version_ids", "contents", "names")}
        targets = tuple((library, version) for library, version in told["targets"])
        times = {name: datetime.fromisoformat(told[name]) for name in ("at", "since") if told.get(name)}
        note = Note(**{**told, **lists, **times, "targets": targets})
        yield replace(note, again=True)
