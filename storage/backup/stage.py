"""The stage: where a data folder is made that nobody is to see until it is whole, and how it gets into its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.layout import FOLDERS
from storage.scratch import RESTORING
from strongroom import durable
from strongroom.errors import DataFolderError
from strongroom.locks import locked_folder_if_free

STAGE = RESTORING
PART_STAGE = f"{RESTORING}-part"
MARK = "strongroom.json"


@contextmanager
def alone_in(to: Path) -> Iterator[None]:
    """Make the folder that is restored to, and keep other restores out of it while entered.

    Raises:
        DataFolderError: it is no folder, or another one is at work there.
    """
    with durable.os_errors(f"cannot restore to {to}"):
        if to.exists() and not to.is_dir():
            raise DataFolderError(f"{to} is no folder.", "Name a new or an empty one: nothing is ever overwritten.")
        durable.make_folder(to, "restore")
        with locked_folder_if_free(to) as alone:
            if not alone:
                raise DataFolderError(f"Another restore to {to} is under way.", "Wait for it, or name another folder.")
            yield


def taken_over(to: Path, own: str) -> set[str]:
    """Return what a dead run left that had this stage. What one with the other stage left is removed: it is of no use here.

    Hold the folder's lock: then whoever left it is dead.

    Raises:
        DataFolderError: something else is there, or a data folder.
    """
    there = {entry.name for entry in to.iterdir()} - {"lost+found"}
    stages = there & {STAGE, PART_STAGE}
    if there and (not stages or there - {STAGE, PART_STAGE, MARK, *FOLDERS}):
        raise DataFolderError(f"{to} is not empty.", "Choose a new or an empty folder: nothing is ever overwritten.")
    if MARK in there:  # it had come to its last step
        for name in stages:
            shutil.rmtree(to / name)
        raise DataFolderError(f"{to} is a data folder already.", "It was restored, to its end: `strongroom doctor` looks at it.")
    if own in there:
        return there
    for name in sorted(there, key=lambda name: name in stages):  # the stage last: until then it is known whose they are
        shutil.rmtree(to / name)
    return set()


@contextmanager
def written_out_beside(folder: Path) -> Iterator[Callable[[], None]]:
    """Make a folder durable in a thread while entered; nothing counts on that before it has called what is yielded, which waits.

    Files may not come and go in it meanwhile.
    """
    durable.step("restore: sync")
    with ThreadPoolExecutor(1, "sync") as threads:
        under_way = threads.submit(write_out, folder)

        def wait() -> None:
            under_way.result()
            durable.step("restore: synced")

        yield wait


def write_out(root: Path) -> None:
    """Make all files and folders durable: written out together first, then each is asked whether that went well."""
    os.sync()
    fsync_below(root)


def fsync_below(root: Path, but: Path | None = None) -> None:
    """Make each file and folder durable, but for one folder and what is in it. A file that refuses is removed.

    Its bytes stay in memory as if they were on the disk: whoever comes next would find it whole, and could sync it.
    """
    for path, folders, names in os.walk(root):
        folders[:] = [name for name in folders if but is None or os.path.join(path, name) != str(but)]
        for name in ("", *names):
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            except OSError:
                if name:
                    Path(path, name).unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)


def move_up(stage: Path, to: Path) -> None:
    """Move everything out of the stage, the mark last: then this is a data folder."""
    names = sorted((entry.name for entry in stage.iterdir()), key=lambda name: name == MARK)
    for name in names:
        if name == MARK:
            durable.fsync_folder(to, "restore")
        durable.rename(stage / name, to / name, "restore")
    durable.fsync_folder(to, "restore")
    with suppress(OSError):
        stage.rmdir()
