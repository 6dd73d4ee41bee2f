"""The Celery application without its tasks: all that a process needs which sends them (beat) or watches them (Flower)."""

from __future__ import annotations

from celery import Celery, signals

from config.celery import celery_config
from config.settings import Settings
from workers.broker import embedded_url


def bare_app(settings: Settings, broker_url: str) -> Celery:
    """Return an application on a broker. Nothing is opened."""
    app = Celery("strongroom", broker=broker_url, set_as_current=False)
    app.conf.update(celery_config())

    def configure(**_: object) -> None:
        from config.logs import configure_logs  # noqa: PLC0415 - structlog, with rich: Flower's logs are its own

        configure_logs(settings)

    signals.setup_logging.connect(configure, weak=False)
    return app


def address_of(settings: Settings) -> str:
    """Return where the settings' broker is, or will be; empty when that is not settled yet."""
    return (settings.broker_url.get_secret_value() if settings.broker_url else embedded_url(settings.data_dir)) or ""
