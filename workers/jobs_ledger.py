"""The ledger of a data folder for those who enter or look at jobs, without the engine: half the time, since that imports much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from models.database import Database
from models.migrate import check_revision
from storage.layout import DataFolder
from storage.switch import refuse_without_catalogue


@dataclass(frozen=True, slots=True)
class Ledger:
    """An open ledger, and the folder in which running processes show themselves."""

    database: Database
    run: Path


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Open it, if the data folder and its catalogue are of this release: the engine makes sure of the same.

    Raises:
        DataFolderError: there is no such folder, or it is not.
    """
    folder, database = DataFolder(settings.data_dir), Database(settings.catalogue_url)
    try:
        folder.check()
        refuse_without_catalogue(folder, database)
        check_revision(database)
        yield Ledger(database, folder.run)
    finally:
        database.close()
