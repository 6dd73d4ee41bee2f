"""Switch: a new catalogue takes the old one's place in one step, and the old one is kept under another name."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from models.database import Database
from models.migrate import current_revision
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import CatalogueBusy, DataFolderError

_SIDES = ("-wal", "-shm")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def refuse_without_catalogue(folder: DataFolder, database: Database) -> None:
    """Make sure that a folder that holds documents is not given an empty catalogue: that would hide all of them.

    Raises:
        DataFolderError: it would be.
    """
    if current_revision(database) is None and any(folder.segments.glob("??/*.index")):
        raise DataFolderError(
            "There are documents in the data folder, and the catalogue is not there or empty.",
            "`strongroom rebuild` makes it anew from the data folder.",
        )


class Switch:
    """An SQLite catalogue and the new one that is written beside it, as ``{name}.new``."""

    def __init__(self, catalogue: Path) -> None:
        self.old = catalogue
        self.new = catalogue.with_name(f"{catalogue.name}.new")

    def clear(self) -> None:
        """Remove a new catalogue that did not take the place: a crash may have left one."""
        with durable.os_errors("cannot clear the new catalogue away"):
            for name in ("", *_SIDES):
                self.new.with_name(self.new.name + name).unlink(missing_ok=True)

    def refuse_while_in_use(self) -> None:
        """Make sure that nobody has the old catalogue open and wrote to it: whoever closes it last empties its log.

        Raises:
            CatalogueBusy: somebody has.
        """
        log = self.old.with_name(f"{self.old.name}-wal")
        if log.exists() and log.stat().st_size > 0:
            raise CatalogueBusy("Another process has the catalogue open.", "Stop what uses the data folder, then call again.")

    def over(self, now: datetime) -> Path | None:
        """Put the new catalogue into its place, durably; return where the old one lies now, if there was one.

        A crash leaves the old catalogue or the new one. The old one's log goes first: SQLite would play it into the new one.
        It is empty, unless the old catalogue is damaged.

        Raises:
            DiskFull, TransientIO, PermissionRefused: the operating system refused; the old catalogue is in its place.
        """
        before = self._free_name(f"{self.old.name}.before-{now:%Y%m%dT%H%M%S%f}")
        with durable.os_errors("cannot put the new catalogue into its place"):
            with self.new.open("rb") as file:
                durable.fsync_file(file.fileno(), "catalogue")
            kept = self._keep(before)
            for name in _SIDES:
                with suppress(FileNotFoundError):
                    durable.rename(self.old.with_name(self.old.name + name), before.with_name(before.name + name), "old log")
            durable.rename(self.new, self.old, "catalogue")
            durable.fsync_folder(self.old.parent, "catalogue")
        return before if kept else None

    def _free_name(self, name: str) -> Path:
        taken = (self.old.with_name(name if number == 1 else f"{name}-{number}") for number in count(1))
        return next(path for path in taken if not path.exists())

    def _keep(self, before: Path) -> bool:
        """Give the old catalogue a second name, so that it is never without one."""
        if not self.old.exists():
            return False
        durable.step("old catalogue: link")
        try:
            before.hardlink_to(self.old)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(self.old, before)
        return True
