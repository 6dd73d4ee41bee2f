"""The application of this process's environment for those who run no task: ``celery -A workers.outside beat``."""

from __future__ import annotations

from workers import garbage

garbage.hold()

from config.settings import Settings  # noqa: E402 - nothing is imported before
from workers.bare import address_of, bare_app  # noqa: E402

settings = Settings()
app = bare_app(settings, address_of(settings))
garbage.resume()
