"""A second look at findings that last: what a read, a repair or a person has mended since is over, and closed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from models.database import Database
from models.findings import last_found_by
from models.mending import libraries_at
from storage.findings import keep_findings, observed_by_verify
from storage.layout import DataFolder
from storage.progress import silent
from storage.tree import Mode
from storage.verify import Verification
from strongroom.contracts import VerifyReceipt

LOOKERS = ("verify", "scrub", "backup")
"""Those who read bytes. Between two of their runs nobody else would close what they have found."""


def look_again(folder: DataFolder, database: Database, mode: Mode, now: datetime, lookers: Iterable[str] = LOOKERS) -> int:
    """Read again what verifications, scrubs and backups have found damaged, and close what is whole; return how many those were.

    Reads no more than what the findings name. Finds nothing new.

    Raises:
        StorageError: the disk or the catalogue refused; calling again is safe.
    """
    return sum(_look_again(folder, database, mode, seen_by, now) for seen_by in lookers)


def _look_again(folder: DataFolder, database: Database, mode: Mode, seen_by: str, now: datetime) -> int:
    with database.read() as connection:
        lasting = last_found_by(connection, seen_by)
        libraries = libraries_at(connection, {one.path for one in lasting if one.path.startswith("documentation/")})
    if not lasting:
        return 0
    segments = {Path(one.path).name.removesuffix(".index") for one in lasting if one.path.startswith("segments/")}
    after = Verification(folder, database, mode, silent)
    after.again(segments, libraries)
    seen = observed_by_verify(VerifyReceipt(checked=0, read_bytes=0, damaged=after.damaged, findings=after.findings))
    left = [one for one in seen if one.key in {known.key for known in lasting}]
    keep_findings(folder, database, seen_by, left, now)
    return len(lasting) - len({one.key for one in left})
