"""Taking backups in tests, and comparing what comes back."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.accesses import add_accesses
from models.findings import Observation
from storage.backup.choice import find_manifest
from storage.backup.create import Create
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository, make_repository
from storage.backup.restore import Restore, Restored
from storage.backup.seal import Seal, Unsealed
from storage.engine import Engine
from storage.findings import keep_findings
from tests.storage.test_rebuild import TABLES
from tests.storage.test_rebuild import filled as filled_with_documents
from tests.support.archive import check_promises

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SMALL = 4096
"""Packs of this size: a few documents make several."""
ROWS = {
    **TABLES,
    "job WHERE finished_at IS NOT NULL": "job_id, kind, state, finished_at, outcome",
    "finding": "code, subject, path, first_seen, closed_at",
    "schedule": "*",
    "slot": "*",
}


def repository_at(folder: Path, seal: Seal | None = None) -> Repository:
    """Return the repository in a folder, made when it is not there."""
    return make_repository(LocalTarget(folder), seal or Unsealed(), NOW)


def back_up(engine: Engine, repository: Repository, *, full: bool = False) -> Manifest:
    """Take a backup with small packs."""
    return Create(engine, repository, pack_bytes=SMALL).run(full=full)


def restored(repository: Repository, to: Path, backup_id: str = "latest", **options: Any) -> Restored:
    """Restore into a folder that is emptied before."""
    shutil.rmtree(to, ignore_errors=True)
    done = Restore(repository, find_manifest(repository, backup_id), **options).run(to, NOW)
    assert done.differences == ()
    return done


def filled(engine: Engine) -> Engine:
    """A few of everything that there is, the rows that only a catalogue knows included."""
    filled_with_documents(engine)
    engine.read("/a/b", "1.0")
    with engine.database.write() as connection:
        connection.execute(text("UPDATE job SET finished_at = '2026-11-22 01:02:04.000000', outcome = '{\"n\": 1}'"))
        add_accesses(connection, [(one.version_id, 3, NOW) for one in engine.versions("/a/b")[:1]])
        connection.execute(
            text(
                "INSERT INTO schedule"
                " VALUES ('nightly', '2026-11-22 01:02:04.000000', '* * * * *', 'UTC', '', '{}', '{\"days\": 9}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO slot VALUES ('nightly', '2026-11-22 01:02:00.000000', 'ran', 'j', '2026-11-22 01:02:04.000000', 'x')"
            )
        )
        job = "INSERT INTO job (job_id, kind, state, created_at, subject, priority, asked_by, attempts, owner, payload) VALUES "
        connection.execute(text(job + "('waits', 'store', 'queued', '2026-11-22 01:02:03', '', 0, '', 0, '', '')"))
    keep_findings(engine.folder, engine.database, "verify", [Observation("orphan", "", "segments/x", "of no use")], NOW)
    return engine


def told(engine: Engine) -> dict[str, list[str]]:
    """Return everything that a restore must bring back, sorted."""
    with engine.database.read() as connection:
        rows = {name: connection.execute(text(f"SELECT {columns} FROM {name}")).all() for name, columns in ROWS.items()}
        reads = connection.execute(text("SELECT file_path, revision, access_count, last_accessed FROM version")).all()
    return {**{name: sorted(map(repr, found)) for name, found in rows.items()}, "reads": sorted(map(repr, reads))}


def told_after(repository: Repository, to: Path, backup_id: str = "latest") -> dict[str, list[str]]:
    """Restore, check every promise of what came back, and return what it tells."""
    restored(repository, to, backup_id)
    with Engine(to).open() as engine:
        found = told(engine)
        engine.tree.catch_up()
        check_promises(engine)
    return found
