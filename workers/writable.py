"""Whether the catalogue can be written: a database that answers every question and takes no write does nobody's work."""

from __future__ import annotations

from config.settings import Settings
from models.database import Database
from strongroom.errors import StorageError

WRITE_WITHIN_S = 1.5
"""Writes take milliseconds: whoever cannot begin one for so long is held up by somebody who does not let go."""


def takes_writes(settings: Settings) -> bool:
    """Try whether a write could begin within WRITE_WITHIN_S. Writes nothing, and makes no catalogue where there is none."""
    if settings.catalogue_url.startswith("sqlite") and not (settings.data_dir / "metadata" / "catalogue.db").exists():
        return False
    try:
        database = Database(settings.catalogue_url)
    except StorageError:
        return False
    try:
        return database.can_write(WRITE_WITHIN_S)
    except StorageError:
        return False
    finally:
        database.close()
