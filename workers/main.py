"""The application of this process's environment, for ``celery -A workers.main``."""

from __future__ import annotations

from workers import garbage

garbage.hold()

from config.settings import Settings  # noqa: E402 - nothing is imported before
from workers.app import create_app  # noqa: E402
from workers.broker import embedded_url  # noqa: E402

settings = Settings()
broker_url = settings.broker_url.get_secret_value() if settings.broker_url else embedded_url(settings.data_dir)
app = create_app(settings, broker_url or "")
garbage.resume()
