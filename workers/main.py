"""The application of this process's environment, for ``celery -A workers.main``."""

from __future__ import annotations

from workers import garbage

garbage.hold()

from config.settings import Settings  # noqa: E402 - nothing is imported before
from workers.app import create_app  # noqa: E402
from workers.bare import address_of  # noqa: E402

settings = Settings()
app = create_app(settings, address_of(settings))
garbage.resume()
