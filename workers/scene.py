"""What /health and /metrics tell about, taken in one look: parts, broker, database, inbox."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from config.cron import Cron
from config.schedules import SCHEDULED
from config.settings import Settings
from models.census import Counts, active_jobs, ended_jobs, known_jobs, oldest_queued
from models.database import Database
from models.schedule import Gauge, measure_schedules
from storage.coverage import CoverageReport, report_coverage
from storage.usage import QuotaReport
from storage.watermarks import SpaceReport
from strongroom.errors import DataFolderError, StorageError
from workers.alarm_view import AlarmFacts, view_alarms
from workers.broker import broker_url_of
from workers.liveness import worked_s_ago
from workers.roster import judged
from workers.seldom import Seldom
from workers.service_state import load_state, read_state
from workers.space_view import view_quotas, view_space
from workers.watch import Seen, look_around
from workers.writable import WRITE_WITHIN_S

_SAMPLE = 500
_SETTLED_S = 5.0
"""A producer's file is younger than this when its message is still on its way."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One look. ``jobs`` is empty when the database does not answer."""

    parts: Mapping[str, str]
    """The state of each part, as ``strongroom status`` shows it."""
    worked_s_ago: Mapping[str, float]
    seen: Seen
    database: bool
    """Whether it answers, and could be written."""
    jobs: Counts = field(default_factory=dict)
    oldest_waiting_s: float = 0.0
    inbox_files: int = 0
    schedules: tuple[Gauge, ...] = ()
    coverage: CoverageReport | None = None
    """How far the coverage promise is kept, counted every minute or two of a large catalogue."""
    alarms: AlarmFacts | None = None
    space: SpaceReport | None = None
    quotas: QuotaReport | None = None
    """What is used of the quotas; None where none is set."""

    @property
    def ready(self) -> bool:
        """Whether all of it is as it should be."""
        return self.database and self.seen.broker_answers and bool(self.parts) and set(self.parts.values()) == {"ready"}


class Onlooker:
    """Looks at the service of one data folder. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data = settings.data_dir
        self._database = Database(settings.catalogue_url)
        self._ended: Seldom[Counts] = Seldom(share=1 / 200)
        self._coverage: Seldom[CoverageReport] = Seldom(share=1 / 200)
        self._space: Seldom[SpaceReport] = Seldom(share=1 / 200)
        self._quotas: Seldom[QuotaReport] = Seldom(share=1 / 200)
        self._inbox: Seldom[tuple[int, dict[str, float]]] = Seldom(share=1 / 50)

    def look(self) -> Scene:
        """Look once. Never raises because of what it finds."""
        return replace(self._look(), space=self._ask_space(), quotas=self._ask_quotas())

    def _look(self) -> Scene:
        seen = self._look_around()
        parts = self._parts(seen)
        worked = {name: ago for name in parts if (ago := worked_s_ago(self._data, name)) is not None}
        files, oldest = self._inbox.get(self._look_into_inbox)
        try:
            jobs, waiting_s = self._ask_database(oldest)
            schedules = self._ask_schedules()
            coverage = self._coverage.get(self._ask_coverage)
            alarms = self._ask_alarms()
            writable = self._database.can_write(WRITE_WITHIN_S)
        except (StorageError, SQLAlchemyError):
            return Scene(parts, worked, seen, False, {}, max(oldest.values(), default=0.0), files)
        return Scene(parts, worked, seen, writable, jobs, waiting_s, files, schedules, coverage, alarms)

    def _look_around(self) -> Seen:
        try:
            return look_around(broker_url_of(self._settings), self._data)
        except StorageError:
            return Seen(broker_answers=False, broker_lives=False)

    def _parts(self, seen: Seen) -> dict[str, str]:
        state = read_state(self._data) or load_state(self._data)
        # Whoever asks, asks Flower's process: it answers.
        return {part.name: part.state for part in judged(state, seen, flower_answers=True)} if state else {}

    def _ask_database(self, unheard: Mapping[str, float]) -> tuple[Counts, float]:
        if self._database.is_sqlite and not (self._data / "metadata" / "catalogue.db").exists():
            raise DataFolderError("There is no catalogue yet, and to ask for it would make one.")
        with self._database.read() as connection:
            jobs = active_jobs(connection) | self._ended.get(lambda: ended_jobs(connection))
            known = known_jobs(connection, unheard)
            oldest = oldest_queued(connection)
        ages = [age_s for name, age_s in unheard.items() if name not in known]
        if oldest is not None:
            ages.append((datetime.now(UTC) - oldest).total_seconds())
        return jobs, max([0.0, *ages])

    def _ask_schedules(self) -> tuple[Gauge, ...]:
        with self._database.read() as connection:
            return tuple(measure_schedules(connection, [one.name for one in SCHEDULED], Cron, datetime.now(UTC)))

    def _ask_alarms(self) -> AlarmFacts:
        with self._database.read() as connection:
            return view_alarms(connection, self._settings, datetime.now(UTC))

    def _ask_space(self) -> SpaceReport | None:
        with suppress(StorageError, SQLAlchemyError):
            return self._space.get(lambda: view_space(self._settings, self._database, datetime.now(UTC)))
        return None

    def _ask_quotas(self) -> QuotaReport | None:
        with suppress(StorageError, SQLAlchemyError):
            return self._quotas.get(lambda: view_quotas(self._settings, self._database)) if self._settings.quotas else None
        return None

    def _ask_coverage(self) -> CoverageReport:
        return report_coverage(self._database, self._settings.coverage_days, datetime.now(UTC))

    def _look_into_inbox(self) -> tuple[int, dict[str, float]]:
        """Return how many accepted files lie there, and the ages of some: the ledger may not know them when no worker lives."""
        count = 0
        ages: dict[str, float] = {}
        now_s = datetime.now(UTC).timestamp()
        with suppress(OSError), os.scandir(self._data / "inbox") as entries:
            for entry in entries:
                name = Path(entry.name)
                if name.suffix != ".inbox":
                    continue
                count += 1
                if len(ages) < _SAMPLE:
                    with suppress(OSError):  # done meanwhile
                        age_s = now_s - entry.stat(follow_symlinks=False).st_mtime
                        if age_s > _SETTLED_S:
                            ages[name.stem] = age_s
        return count, ages
