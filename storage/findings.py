"""Findings are kept in the catalogue and told in ``metadata/integrity_log.jsonl``: when each began, and when it was over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from models.database import Database
from models.findings import Observation, note_findings
from storage.kinds import KINDS, kind_of
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import StorageError

if TYPE_CHECKING:
    from strongroom.contracts import VerifyReceipt

_SEVERITIES = {code: kind.severity for code, kind in KINDS.items()}


def keep_findings(
    folder: DataFolder, database: Database, seen_by: str, observed: Sequence[Observation], now: datetime
) -> list[Observation]:
    """Record all that one way of looking has found; return what is new. What it finds no more is over, and closed.

    Raises:
        StorageError: the catalogue or the log could not be written; calling again is safe.
    """
    with database.write("findings") as connection:
        new, over = note_findings(connection, seen_by, observed, _SEVERITIES, now)
    lines = [*(_line("found", one, now) for one in new), *(_line("over", one, now) for one in over)]
    if lines:
        _append(folder.metadata / "integrity_log.jsonl", lines)
    return new


def keep_verification(folder: DataFolder, database: Database, receipt: VerifyReceipt, now: datetime) -> VerifyReceipt:
    """Record what a verification of everything found. Where that cannot be written, its receipt tells all the same.

    Returns the receipt with what lies among the segments and belongs to none: recording that is the reconciliation's matter.

    Raises:
        TransientIO, PermissionRefused: nobody can look at the segments.
    """
    from storage.inventory import find_strays  # noqa: PLC0415 - commands that keep findings otherwise start without
    from strongroom.contracts import Finding  # noqa: PLC0415 - the same

    with suppress(StorageError):
        keep_findings(folder, database, "verify", observed_by_verify(receipt), now)
    strays = [Finding(code=one.code, path=one.path, message=one.message) for one in find_strays(folder, database, now)]
    return receipt.model_copy(update={"findings": [*receipt.findings, *strays]})


def observed_by_verify(receipt: VerifyReceipt) -> list[Observation]:
    """Return what a verification of everything found."""
    damaged = [
        Observation(one.code, f"{one.library_id} {one.version} (revision {one.revision})", one.segment, one.message)
        for one in receipt.damaged
    ]
    return [*damaged, *(Observation(one.code, "", one.path, one.message) for one in receipt.findings)]


def _line(event: str, one: Observation, now: datetime) -> bytes:
    told = {"at": now, "event": event, "code": one.code, "severity": kind_of(one.code).severity}
    return orjson.dumps({**told, "subject": one.subject, "path": one.path, "message": one.message}) + b"\n"


def _append(path: Path, lines: Iterable[bytes]) -> None:
    with durable.os_errors("cannot write the log of findings"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"".join(lines))
            durable.fsync_file(descriptor, "findings")
        finally:
            os.close(descriptor)
