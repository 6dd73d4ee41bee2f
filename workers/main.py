"""The application of this process's environment, for ``celery -A workers.main``."""

from __future__ import annotations

from config.settings import Settings
from workers.app import create_app
from workers.broker import embedded_url

settings = Settings()
broker_url = settings.broker_url.get_secret_value() if settings.broker_url else embedded_url(settings.data_dir)
app = create_app(settings, broker_url or "")
