"""The task ``strongroom.probe``: work that asks for nothing, so that whoever does not even do that is known not to work."""

from __future__ import annotations

from celery import Celery

PROBE_TASK = "strongroom.probe"


def register_probe(app: Celery) -> None:
    """Register the task.

    Acknowledged before it runs: a probe that got lost is no loss. It opens nothing: a database that is gone is no fault of the
    worker, and no restart of it would help.
    """

    @app.task(name=PROBE_TASK, acks_late=False, ignore_result=True, send_events=False, shared=False)
    def probe() -> None:
        """Leave no sign: workers/pulse.py leaves one for every task that a worker finishes, and so for this one."""
