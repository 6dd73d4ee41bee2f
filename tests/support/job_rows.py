"""Rows of the ledger, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from models.database import Database
from models.tables import Job, table_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def add_jobs(database: Database, *jobs: tuple[str, str, int]) -> None:
    """Add ``job-0``, ``job-1`` ...: the kind and state of each, and how many minutes after noon it was made."""
    rows: list[dict[str, Any]] = [
        {
            "job_id": f"job-{number}",
            "kind": kind,
            "state": state,
            "created_at": NOON + timedelta(minutes=minutes),
            "subject": "",
            "payload": "",
            "owner": "",
            "priority": 0,
            "attempts": 0,
            "asked_by": "producer",
        }
        for number, (kind, state, minutes) in enumerate(jobs)
    ]
    with database.write() as connection:
        connection.execute(insert(table_of(Job)), rows)
