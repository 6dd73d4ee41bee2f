"""What the watchman knows, for those who ask: metrics, doctor and status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from config.settings import Settings
from models.alarms import last_good_backup
from models.drills import DrillRow, last_drills
from workers.alarm import TESTED_WITHIN, alerts_of, is_late
from workers.alarm_state import AlarmState, load_alarms
from workers.drills import Verdict, standing

UNSEEN = timedelta(minutes=3)
"""A watchman who has not looked for so long does not."""


@dataclass(frozen=True, slots=True)
class AlarmFacts:
    """How it stands with backups, and with the way to people, at ``now``."""

    now: datetime
    last_backup_at: datetime | None
    """When the last good backup began."""
    backup_late: bool
    services: int
    """How many services people are told by."""
    state: AlarmState
    drill: DrillRow | None = None
    """The last drill."""
    drill_verdict: Verdict = "never"

    @property
    def tested_at(self) -> datetime | None:
        """When something was last sent to all of them."""
        return self.state.tested_at

    @property
    def arrive(self) -> bool:
        """Whether the last message arrived everywhere, and not too long ago."""
        tested_at = self.state.tested_at
        return not self.state.failed and tested_at is not None and self.now - tested_at <= TESTED_WITHIN

    @property
    def is_looked_after(self) -> bool:
        """Whether a watchman is at work."""
        looked_at = self.state.looked_at
        return looked_at is not None and abs(self.now - looked_at) <= UNSEEN


def view_alarms(connection: Connection, settings: Settings, now: datetime) -> AlarmFacts:
    """Return how it stands."""
    urls = alerts_of(settings).urls
    state = load_alarms(settings.data_dir)
    last = last_good_backup(connection, now)
    late = is_late(last, state.watching_since, settings.backup_max_age_hours, now)
    drill = next(iter(last_drills(connection, now=now)), None)
    verdict = standing(drill, settings.drill_max_age_days, now)
    return AlarmFacts(now, last, late, len(urls), state.of(urls), drill, verdict)
