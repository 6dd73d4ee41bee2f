"""What the alarms ask the catalogue."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from models.backup_tables import Backup
from models.tables import table_of

_BACKUP = table_of(Backup).c


def last_good_backup(connection: Connection) -> datetime | None:
    """Return when the newest backup began that was finished and that nobody has found damaged: what came later is in none."""
    good = (_BACKUP.state == "done") & (_BACKUP.verdict != "damaged")
    return connection.scalar(select(_BACKUP.started_at).where(good).order_by(_BACKUP.started_at.desc()).limit(1))
