"""What the alarms ask the catalogue."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from models.backup_tables import Backup
from models.tables import table_of

_BACKUP = table_of(Backup).c


AHEAD = timedelta(hours=1)
"""How far clocks may be apart. What is later by more was written while one was wrong, and says nothing of what came since."""


def last_good_backup(connection: Connection, now: datetime | None = None) -> datetime | None:
    """Return when the newest backup began that was finished and that nobody has found damaged: what came later is in none.

    With ``now`` one of a time to come does not count: it would keep the alarm silent until then.
    """
    good = (_BACKUP.state == "done") & (_BACKUP.verdict != "damaged")
    if now is not None:
        good &= _BACKUP.started_at <= now + AHEAD
    return connection.scalar(select(_BACKUP.started_at).where(good).order_by(_BACKUP.started_at.desc()).limit(1))
