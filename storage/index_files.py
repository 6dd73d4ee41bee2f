"""Where an index comes from: it is written durably, and never takes the place of one that tells of more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from storage.index import Index, read_index, write_index
from strongroom import durable
from strongroom.errors import IntegrityError


def place_index(part: Path, target: Path, index: Index) -> bool:
    """Put an index into place by way of the file ``part``; return whether it tells of the versions.

    When another store wrote the same bytes, there is an index already, and it may be the only one that tells of the versions
    in it: it stays, and False is returned. A damaged one tells nothing any more and is replaced. Durable after an fsync of the
    target's folder.

    Raises:
        OSError: the operating system refused.
    """
    _write_durably(part, index)
    if _link(part, target):
        return True
    there = _read_if_whole(target)
    if there is None:
        durable.rename(part, target, "index")
        return True
    part.unlink()
    if set(index.places) <= set(there.places) and not index.replaces:
        return False
    # Equal bytes cut into other objects: possible where nothing is compressed. Or it replaces something now, and did not then.
    places = tuple(dict.fromkeys((*there.places, *index.places)))
    replaces = tuple(dict.fromkeys((*there.replaces, *index.replaces)))
    when = index.written_at if index.replaces else there.written_at
    told = Index(index.segment_sha256, index.size_bytes, places, there.versions + index.versions, replaces, when)
    _write_durably(part, told)
    durable.rename(part, target, "index")
    return True


def replace_index(part: Path, target: Path, index: Index) -> None:
    """Put an index into the place of one that is damaged or says less, by way of the file ``part``. Durable on return.

    Raises:
        OSError: the operating system refused; the old one is still there.
    """
    try:
        _write_durably(part, index)
        durable.rename(part, target, "index")
    finally:
        part.unlink(missing_ok=True)
    durable.fsync_folder(target.parent, "index")


def _link(part: Path, target: Path) -> bool:
    """Give the file its name unless the name is taken: a rename would take it from whoever came first."""
    durable.step("index: link")
    try:
        target.hardlink_to(part)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS or target.exists():
            raise
        durable.rename(part, target, "index")
        return True
    part.unlink()
    return True


_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # what file systems without hard links answer


def _read_if_whole(path: Path) -> Index | None:
    try:
        return read_index(path)
    except IntegrityError:
        return None


def _write_durably(path: Path, index: Index) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        durable.step("index: write")
        file.write(write_index(index))
        file.flush()
        durable.fsync_file(file.fileno(), "index")
