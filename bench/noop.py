"""A Celery application whose task does nothing, with strongroom's own settings: the rate that the queue itself allows."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from config.celery import celery_config

TASK = "bench.noop"


def noop_app(broker_url: str) -> Celery:
    """Return the application."""
    app = Celery("noop", broker=broker_url, set_as_current=False)
    app.conf.update(celery_config(), beat_schedule={}, task_routes={})

    @app.task(name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True, shared=False)
    def noop(folder: str) -> None:
        """Count one, by a byte at the end of a file of this process."""
        descriptor = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, b".")
        os.close(descriptor)

    app.finalize()
    return app


def done_count(folder: Path) -> int:
    """Return how many have run."""
    return sum(path.stat().st_size for path in folder.iterdir())


app = noop_app(os.environ.get("STRONGROOM_BROKER_URL", ""))
