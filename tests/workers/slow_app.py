"""A Celery application whose only task takes as long as it is told to."""

from __future__ import annotations

import time
from pathlib import Path

from celery import Celery

from config.settings import Settings
from workers.broker import broker_url_of

app = Celery("slow", broker=broker_url_of(Settings()))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue="short",
)


@app.task(name="slow.nap")
def nap(file: str, seconds: float) -> None:
    """Write ``started``, sleep, write ``ended``."""
    with Path(file).open("a") as notes:
        notes.write("started\n")
    time.sleep(seconds)
    with Path(file).open("a") as notes:
        notes.write("ended\n")
