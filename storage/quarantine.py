"""Quarantine: damaged files are kept, each with a note of what was wrong. No program of strongroom ever deletes there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from storage.layout import DataFolder
from strongroom import durable

NOTE = ".json"
_TIME = "%Y%m%dT%H%M%S%f"


def keep_damaged(folder: DataFolder, path: Path, why: str, now: datetime, *, in_use: bool = False) -> Path | None:
    """Give a damaged file a second name in ``quarantine/``, with a note beside it; return that name. Durable on return.

    The file stays where it is, too: readers find what is whole of it until its replacement takes its place. Where the file
    system cannot link it, it is moved, or copied if it is ``in_use`` and nothing takes its place. Returns None when there is no
    file. Run twice, the second finds what the first made.

    Raises:
        OSError: the operating system refused.
    """
    durable.make_folder(folder.quarantine, "quarantine")
    if not os.path.lexists(path):
        return None
    kept = _kept_before(folder, path)
    if kept is None:
        kept = folder.quarantine / f"{path.name}.{now.astimezone(UTC):{_TIME}}"
        note_of(kept, {"file": folder.relative(path), "why": why, "at": now})
        durable.step("quarantine: link")
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError:
            if in_use:
                _copy(path, kept)
            else:
                durable.rename(path, kept, "quarantine")
    durable.fsync_folder(folder.quarantine, "quarantine")
    return kept


def _copy(path: Path, kept: Path) -> None:
    with path.open("rb") as source, _new_file(kept) as target:
        durable.step("quarantine: copy")
        shutil.copyfileobj(source, target)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that is durable on leaving, but for its name; what goes wrong leaves none."""
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            durable.fsync_file(file.fileno(), "quarantine")
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def remove_kept(path: Path) -> None:
    """Take the first name of a file away that has its second one in the quarantine."""
    durable.step("quarantine: unlink")
    with suppress(FileNotFoundError):
        path.unlink()
    durable.fsync_folder(path.parent, "quarantine")


def _kept_before(folder: DataFolder, path: Path) -> Path | None:
    """Return the name that a repair which was cut short gave the same file."""
    status = path.lstat()
    for other in folder.quarantine.glob(f"{path.name}.2*"):
        if other.suffix != NOTE and os.path.samestat(other.lstat(), status):
            return other
    return None


def note_of(kept: Path, told: dict[str, object]) -> None:
    """Write the note beside a file of the quarantine, durably but for its name.

    Raises:
        OSError: the operating system refused; no note is left.
    """
    with _new_file(kept.with_name(kept.name + NOTE)) as file:
        durable.step("quarantine: note")
        file.write(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
