"""The Celery application, made from settings: tests make as many as they like."""

from __future__ import annotations

from celery import Celery, current_app, signals

from config.settings import Settings
from tasks.registry import register_tasks
from workers.bare import bare_app
from workers.composition import ProcessServices


def create_app(settings: Settings, broker_url: str) -> Celery:
    """Return an application on a broker. Nothing is opened before a worker's pool starts, or a task runs."""
    app = bare_app(settings, broker_url)
    services = ProcessServices(app, settings)
    register_tasks(app, services)
    app.finalize()
    _follow_the_worker(app, services)
    return app


def _follow_the_worker(app: Celery, services: ProcessServices) -> None:
    """Celery's signals are everybody's: only the application that the worker runs is meant."""

    def begin_process(**_: object) -> None:
        if current_app == app:
            services.begin_process()

    def leave(**_: object) -> None:
        if current_app == app:
            services.leave()

    signals.worker_process_init.connect(begin_process, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
