"""The proof: everything in the data folder is searched once more for what was erased, whoever keeps it there and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.erase.needles import Gone, holds, index_tells, names_any
from storage.erase.note import Note, note_path
from storage.layout import DataFolder

_WHOLE = ("quarantine", "tmp", "trash", "inbox")
"""Where files may be anything: there each is unpacked as well. Elsewhere what a file holds is told by a digest beside it."""
NOT_SEARCHED = ("backups/", "logs/", "run/")
"""What others keep (backups tell themselves), and what tells of ids and not of documents."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was searched: files read, segments told by their index. ``left`` are files that still hold something of it."""

    checked_files: int
    checked_segments: int
    left: tuple[str, ...]
    not_searched: tuple[str, ...] = NOT_SEARCHED


def prove(folder: DataFolder, note: Note, gone: Gone) -> Proof:
    """Search the data folder. A segment is searched by its index and its name, which its bytes hash to; any other file is read.

    Raises:
        OSError: the operating system refused.
    """
    left: list[str] = []
    files = segments = 0
    for path in _files(folder):
        if path == note_path(folder, note):
            continue
        try:
            found = _is_left(folder, path, gone)
        except FileNotFoundError:
            continue
        is_segment = path.is_relative_to(folder.segments) and path.suffix != ".index"
        segments, files = segments + is_segment, files + (not is_segment)
        if found:
            left.append(folder.relative(path))
    return Proof(files, segments, tuple(sorted(left)))


def _is_left(folder: DataFolder, path: Path, gone: Gone) -> bool:
    if path.is_relative_to(folder.segments):
        if path.suffix != ".index":
            return path.name in gone.segments or not folder.index(path.name).exists()
        return index_tells(path, path.stem, gone) or names_any(path, gone)
    if path.relative_to(folder.root).parts[0] in _WHOLE:
        return holds(path, gone)
    return names_any(path, gone)


def _files(folder: DataFolder) -> Iterator[Path]:
    skipped = {name.rstrip("/") for name in NOT_SEARCHED}
    for place, folders, names in os.walk(folder.root):
        if Path(place) == folder.root:
            folders[:] = [name for name in folders if name not in skipped]
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path
