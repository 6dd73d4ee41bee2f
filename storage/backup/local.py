"""A target that is a folder: on this disk, on another one, or on a mounted share."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.backup.target import PIECE_BYTES, Stored, Target, checked
from strongroom import durable
from strongroom.errors import DiskFull, NameTaken, NotFound, StorageError, TargetUnreachable, TransientIO

_PARTS = ".parts"
_NO_DISK = {errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EREMOTEIO}
_NO_SHARE = {errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}
_NO_WAY = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
_NO_SERVER = {errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED}
_GONE = _NO_DISK | _NO_SHARE | _NO_WAY | _NO_SERVER
"""What a share answers that is not there any more, or a disk that was pulled out."""
_AGAIN = "Mount it again: the job goes on by itself."
_ANEW = "The job goes on by itself; else give the command again."
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class LocalTarget:
    """Keeps each name as a file below a folder, which is made when something is first kept."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._device: int | None = None

    @property
    def url(self) -> str:
        """The folder's path as a URL."""
        return self.root.as_uri()

    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a part file, sync it, give it its name unless that is taken, sync the folder."""
        path = self.root / checked(name)
        with _os_errors(f"cannot write {name} to {self.url}"):
            self._look()
            if path.exists():
                raise _taken(name, self.url)
            parts = self.root / _PARTS
            durable.make_folder(parts, "backup")
            durable.make_folder(path.parent, "backup")
            part = parts / secrets.token_hex(12)
            try:
                _write(part, pieces)
                self._name(part, path, name)
            except FileNotFoundError as error:
                self._look()
                said = f"{name} went from {self.url} while it was written: a prune or an erasure has tidied there."
                raise TransientIO(said, _ANEW) from error
            finally:
                part.unlink(missing_ok=True)
            durable.fsync_folder(path.parent, "backup")
            self._look()

    def _look(self) -> None:
        """Make sure that the folder is where it was: a disk that is unmounted half-way leaves another under its name, or none."""
        try:
            found = self.root.stat().st_dev
        except FileNotFoundError:
            found = None
        if self._device not in {None, found}:
            raise TargetUnreachable(f"{self.url} is not on the disk that it was on a moment ago: that is gone.", _AGAIN)
        self._device = found

    def _name(self, part: Path, path: Path, name: str) -> None:
        durable.step("backup: link")
        try:
            path.hardlink_to(part)
        except FileExistsError:
            raise _taken(name, self.url) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without links nothing can take a name only if it is free: packs that race are equal, other names are random.
            if path.exists():
                raise _taken(name, self.url) from error
            durable.rename(part, path, "backup")

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file in pieces of 1 MiB at most; a whole file as the disk has it."""
        left = length
        with _os_errors(f"cannot read {name} from {self.url}"):
            self._look()
            try:
                descriptor = os.open(self.root / checked(name), os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                raise _missing(name, self.url) from None
            with open(descriptor, "rb", buffering=0) as file:
                if length is None:  # to prove it: what is cached was right once, whatever the disk has made of it
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                file.seek(offset)
                while piece := file.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES)):
                    left = None if left is None else left - len(piece)
                    yield piece

    def names(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files below the folder; none when it is not there."""
        with _os_errors(f"cannot list {self.url}"):
            self._look()
            yield from self._below(prefix.rpartition("/")[0], prefix)

    def _below(self, folder: str, prefix: str) -> Iterator[Stored]:
        try:
            entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or not (name.startswith(prefix) or prefix.startswith(f"{name}/")):
                continue
            if entry.is_dir():
                yield from self._below(name, prefix)
            else:
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat()
                    yield Stored(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def remove(self, name: str) -> None:
        """Unlink a file; durable on return."""
        path = self.root / checked(name)
        with _os_errors(f"cannot remove {name} from {self.url}"), suppress(FileNotFoundError):
            durable.step("backup: remove")
            path.unlink()
            durable.fsync_folder(path.parent, "backup")

    def ways(self) -> Sequence[Target]:
        """Return itself: all files are kept alike."""
        return (self,)

    def tidy(self, before: datetime) -> int:
        """Remove part files that are older."""
        removed = 0
        with _os_errors(f"cannot tidy {self.url}"), suppress(FileNotFoundError):
            for part in (self.root / _PARTS).iterdir():
                with suppress(FileNotFoundError):
                    if part.stat().st_mtime < before.timestamp():
                        part.unlink()
                        removed += 1
        return removed


@contextmanager
def _os_errors(what: str) -> Iterator[None]:
    try:
        with durable.os_errors(what):
            yield
    except DiskFull as error:  # what is said of the data folder's disk would mislead
        hint = "Free some space there; the next run goes on with what is there already."
        raise DiskFull(error.message, hint, error.context) from error
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _GONE:
            raise TargetUnreachable(error.message, _AGAIN, error.context) from error
        raise


def _write(part: Path, pieces: Iterable[bytes]) -> None:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        durable.step("backup: write")
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        durable.fsync_file(file.fileno(), "backup")


def _taken(name: str, url: str) -> StorageError:
    return NameTaken(f"{name} exists in {url}.")


def _missing(name: str, url: str) -> StorageError:
    return NotFound(
        f"{name} is not in {url}.", "`strongroom backup list` shows the backups; `strongroom backup verify` checks one."
    )
