"""The demo's folder: a new one each time, below the checkout; nothing that was there before is ever touched."""

from __future__ import annotations

import itertools
import shutil
from contextlib import suppress
from pathlib import Path

from strongroom.errors import DataFolderError, PermissionRefused


class DemoFolder:
    """``documents`` holds what is stored, ``data`` the service. The caller keeps or removes it."""

    def __init__(self, root: Path, above: Path | None = None) -> None:
        """``above``: a folder that holds nothing but demos."""
        self.root = root
        self._above = above
        self.documents = root / "documents"
        self.data = root / "data"
        self.log = root / "service.log"

    @property
    def size_bytes(self) -> int:
        """What its files hold, those with several names once."""
        return folder_bytes(self.root)

    def remove(self) -> bool:
        """Remove it, and the folder above it that holds demos, when it was the only one; tell whether it is gone."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self._above is not None:
            with suppress(OSError):
                self._above.rmdir()
        return not self.root.exists()


def make_folder(wanted: Path | None, below: Path) -> DemoFolder:
    """Make ``wanted``, or the first of ``below``/1, 2, 3 ... that is not there. Safe beside other demos.

    Raises:
        DataFolderError: ``wanted`` is there already.
        PermissionRefused: the operating system says no.
    """
    candidates = [wanted] if wanted is not None else (below / str(number) for number in itertools.count(1))
    for root in candidates:
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise PermissionRefused(f"{root} cannot be made: {error.strerror}.", "Name another folder with --data.") from error
        return DemoFolder(root, below if wanted is None else None)
    raise DataFolderError(f"{wanted} is there already.", "The demo makes a folder of its own: name a new one.")


def folder_bytes(folder: Path) -> int:
    """Return what the files below ``folder`` hold, in bytes; links count nothing, a file of several names once."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in files}.values())
