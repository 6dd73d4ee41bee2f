"""From settings to the place of backups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import SecretStr

    from config.settings import Settings
    from storage.backup.place import Place
    from storage.backup.s3_access import Access


def backup_place(settings: Settings) -> Place:
    """Return where backups go. Touches nothing yet."""
    from storage.backup.place import Place  # noqa: PLC0415 - commands that need no backup start without

    url = settings.backup_target or str(settings.data_dir / "backups")
    return Place(url, settings.backup_key_file, _access(settings) if url.startswith("s3:") else None)


def taken_elsewhere(settings: Settings, outcome: Mapping[str, Any]) -> str | None:
    """Return in what a backup that a service took differs from what the settings here say; None: in nothing."""
    place = backup_place(settings)
    url = place.url.rstrip("/") if place.access else place.target().url  # an object store's client costs 0.3 s
    if "target" not in outcome:  # a worker of an older release took it
        return None
    if outcome["target"] != url:
        return f"it is in {outcome['target']}, and not in {url}"
    if outcome["sealed"] != (settings.backup_key_file is not None):
        return "it is sealed, and no key is set here" if outcome["sealed"] else "it is not sealed, though a key is set here"
    return None


def ping_url_of(settings: Settings) -> str | None:
    """Return the address of the dead-man's switch."""
    return _told(settings.ping_url)


def _access(settings: Settings) -> Access:
    from storage.backup.s3_access import Access  # noqa: PLC0415 - as above

    keys = (_told(settings.backup_s3_access_key), _told(settings.backup_s3_secret_key))
    return Access(settings.backup_s3_endpoint, settings.backup_s3_region, *keys)


def _told(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
