"""What beat rings for, and how often."""

from __future__ import annotations

from typing import Any

from config.routes import PROBE_QUEUES, UPKEEP_QUEUE
from strongroom.routes import LONG_QUEUE

# Celery's schedule entries. ``expires``: a ring that was not heard in time is dropped, the next one says the same.
SCHEDULE: dict[str, dict[str, Any]] = {
    "tree": {"task": "strongroom.tree", "schedule": 15.0, "options": {"queue": LONG_QUEUE, "expires": 15.0}},
    "tidy": {"task": "strongroom.tidy", "schedule": 60.0, "options": {"queue": UPKEEP_QUEUE, "expires": 60.0}},
    "verify": {"task": "strongroom.verify", "schedule": 24 * 3600.0, "options": {"queue": LONG_QUEUE, "expires": 3600.0}},
    **{
        f"probe-{worker}": {"task": "strongroom.probe", "schedule": 5.0, "options": {"queue": queue, "expires": 10.0}}
        for worker, queue in PROBE_QUEUES.items()
    },
}
