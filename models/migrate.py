"""Bring a catalogue to this release's tables."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect, text

from models.database import Database
from strongroom.errors import DataFolderError

HEAD = "0008"
"""The newest migration (a test holds it against the files)."""


def upgrade(database: Database) -> None:
    """Run the migrations that the catalogue lacks. Running twice does nothing the second time.

    Raises:
        DataFolderError: a newer release made the catalogue.
    """
    present = current_revision(database)
    if present == HEAD:
        return
    # Alembic is imported only when there is something to do: it costs a start-up 0.2 s.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with database.write("migration") as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise _too_new(present) from error


def check_revision(database: Database) -> None:
    """Make sure that the catalogue is of this release.

    Raises:
        DataFolderError: it is older, newer, or not there.
    """
    present = current_revision(database)
    if present == HEAD:
        return
    if present is None or present < HEAD:
        raise DataFolderError("The catalogue is not of this release yet.", "`strongroom up` brings it to this release.")
    raise _too_new(present)


def is_known(revision: str) -> bool:
    """Whether this release has such a migration: a catalogue of that revision can be brought to this release."""
    return revision.isalnum() and any((Path(__file__).parent / "migrations" / "versions").glob(f"m{revision}_*.py"))


def _too_new(present: str | None) -> DataFolderError:
    return DataFolderError(
        f"The catalogue is of revision {present}, which this release does not know.",
        "Run the release that made it, or a newer one.",
    )


def current_revision(database: Database) -> str | None:
    """Return the catalogue's migration; None for an empty database."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
