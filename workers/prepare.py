"""From settings to an engine, and what a data folder needs before a service runs on it. Without Celery: commands start fast."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from config.settings import Settings
from storage.engine import Engine, Options
from storage.fetches import Fetches, Wanted
from storage.layout import DataFolder
from storage.limits import Limits
from storage.quotas import parse_quotas
from storage.watermarks import Watermarks
from strongroom.errors import ConfigurationError
from tasks.routes import TASKS
from workers.backups import backup_place


def watermarks_of(settings: Settings) -> Watermarks:
    """Return from when on the disk is fuller than it should be."""
    return Watermarks(settings.space_low_percent / 100, settings.space_critical_percent / 100)


def make_engine(settings: Settings) -> Engine:
    """Return an engine on the settings' data folder. Touches nothing yet."""
    options = Options(
        database_url=settings.database_url.get_secret_value() if settings.database_url else None,
        codec=settings.codec,
        tree=settings.tree,
        limits=Limits(document_bytes=settings.max_document_bytes),
        mend_reads=settings.repair,
        reserve_bytes=settings.reserve_bytes,
        quotas=parse_quotas(settings.quotas),
        watermarks=watermarks_of(settings),
        fetches=Fetches(backup=partial(_from_backups, settings)),
    )
    return Engine(settings.data_dir, options)


def _from_backups(settings: Settings, wanted: Wanted) -> Iterator[bytes] | None:
    from storage.backup.source import BackupSource  # noqa: PLC0415 - for damage that nothing nearer mends

    return BackupSource(DataFolder(settings.data_dir), settings.catalogue_url, backup_place(settings))(wanted)


def prepare(settings: Settings) -> None:
    """Make the data folder and bring its catalogue to this release.

    Raises:
        ConfigurationError: the retention policies say something that none can, or a limit is for no kind of job: better now than
            at night.
        DataFolderError: a newer release made it, or the folder holds other things.
        PermissionRefused: it cannot be written.
    """
    from storage.policies import parse_policies  # noqa: PLC0415 - a command that only opens the folder needs none

    parse_policies(settings.retention)
    _refuse_unknown_kinds(settings)
    with make_engine(settings) as engine:
        engine.create()


def _refuse_unknown_kinds(settings: Settings) -> None:
    unknown = sorted(settings.kind_limits.keys() - TASKS.keys())
    if unknown:
        kinds = ", ".join(sorted(TASKS))
        raise ConfigurationError(f"STRONGROOM_KIND_LIMITS: no jobs are of kind {', '.join(unknown)}.", f"Kinds are {kinds}.")
