"""The Celery application, made from settings: tests make as many as they like."""

from __future__ import annotations

from celery import Celery, signals

from config.celery import celery_config
from config.logs import configure_logs
from config.settings import Settings
from tasks.registry import register_tasks
from workers.composition import ProcessServices


def create_app(settings: Settings, broker_url: str) -> Celery:
    """Return an application on a broker. Nothing is opened before a task runs."""
    app = Celery("strongroom", broker=broker_url, set_as_current=False)
    app.conf.update(celery_config())
    register_tasks(app, ProcessServices(app, settings))
    app.finalize()
    signals.setup_logging.connect(lambda **_: configure_logs(settings), weak=False)
    return app
