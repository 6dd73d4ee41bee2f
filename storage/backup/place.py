"""Where backups go and how they are sealed, as the settings say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.backup.local import LocalTarget
from storage.backup.repository import Repository, make_repository, open_repository
from storage.backup.s3_access import Access
from storage.backup.seal import Seal, seal_of
from storage.backup.target import Target
from strongroom.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Place:
    """A target by its URL: a path, ``file:///path`` or ``s3://bucket/prefix``; and the key file, if what it keeps is sealed."""

    url: str
    key_file: Path | None = None
    access: Access | None = field(default=None, repr=False)

    def target(self) -> Target:
        """Return the target. Nothing is asked of it yet.

        Raises:
            ConfigurationError: nobody knows how to reach such a URL.
        """
        parts = urlsplit(self.url)
        if parts.scheme == "s3":
            from storage.backup.s3 import s3_target  # noqa: PLC0415 - boto3 costs 0.3 s and 30 MB, which a folder need not pay

            return s3_target(self.url, self.access or Access())
        if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
            said = f"STRONGROOM_BACKUP_TARGET begins with {parts.scheme}:, which is no place for backups."  # all of it: a secret?
            raise ConfigurationError(said, "A folder, file:///FOLDER or s3://BUCKET/PREFIX.")
        return LocalTarget(Path(unquote(parts.path) if parts.scheme else self.url).expanduser())

    def seal(self) -> Seal:
        """Return the seal.

        Raises:
            BackupKeyError: the key file cannot be used.
        """
        return seal_of(self.key_file)

    def open(self) -> Repository:
        """Use what is there.

        Raises:
            NotFound: there are no backups.
            StorageError: it cannot be reached, or the key is another one.
        """
        return open_repository(self.target(), self.seal())

    def make(self, now: datetime) -> Repository:
        """Use what is there, or begin it.

        Raises:
            TargetUnfit: the target does not keep its promises.
            StorageError: as ``open``.
        """
        return make_repository(self.target(), self.seal(), now)
