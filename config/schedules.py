"""What beat rings for, and what runs at set times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from config.cron import Cron
from config.routes import PROBE_QUEUES, UPKEEP_QUEUE
from config.settings import Settings
from strongroom.routes import LONG_QUEUE

# Celery's schedule entries. ``expires``: a ring that was not heard in time is dropped, the next one says the same.
SCHEDULE: dict[str, dict[str, Any]] = {
    "tree": {"task": "strongroom.tree", "schedule": 15.0, "options": {"queue": LONG_QUEUE, "expires": 15.0}},
    "tidy": {"task": "strongroom.tidy", "schedule": 60.0, "options": {"queue": UPKEEP_QUEUE, "expires": 60.0}},
    **{
        f"probe-{worker}": {"task": "strongroom.probe", "schedule": 5.0, "options": {"queue": queue, "expires": 10.0}}
        for worker, queue in PROBE_QUEUES.items()
    },
}


def _nothing(_settings: Settings) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job that runs at set times: its name, what it queues, and what its message says. docs/how-to/schedule.md."""

    name: str
    kind: str
    task: str
    queue: str = LONG_QUEUE
    arguments: Callable[[Settings], Mapping[str, Any]] = _nothing  # JSON: the message's fields

    @property
    def setting(self) -> str:
        """The name of the setting that holds its cron expression."""
        return f"schedule_{self.name.replace('-', '_')}"

    def times(self, settings: Settings) -> Cron | None:
        """Return when it runs; None when it is switched off."""
        expression: str = getattr(settings, self.setting)
        return Cron(expression, settings.time_zone) if expression else None


SCHEDULED = (
    Scheduled(
        "integrity-sweep",
        "scrub",
        "strongroom.scrub",
        arguments=lambda settings: {"days": settings.coverage_days, "mb_s": settings.sweep_mb_s, "repair": settings.repair},
    ),
    Scheduled(
        "prune-history",
        "prune",
        "strongroom.prune",
        arguments=lambda settings: {"days": settings.history_days, "jobs": settings.history_jobs},
    ),
    Scheduled("retention", "cleanup", "strongroom.cleanup", arguments=lambda settings: {"policies": settings.retention}),
    Scheduled("sweep", "sweep", "strongroom.sweep", arguments=lambda settings: {"grace_hours": settings.grace_hours}),
    Scheduled("backup", "backup", "strongroom.backup"),
    Scheduled(
        "backup-prune",
        "backup_prune",
        "strongroom.backup_prune",
        arguments=lambda settings: {"policy": settings.backup_retention},
    ),
    Scheduled("drill", "drill", "strongroom.drill", arguments=lambda settings: {"max_age_hours": settings.backup_max_age_hours}),
    Scheduled("compress", "compress", "strongroom.compress", arguments=lambda settings: {"newest": settings.compress_newest}),
)
"""One row a schedule. Each has a setting ``STRONGROOM_SCHEDULE_{NAME}`` in config/settings.py."""
