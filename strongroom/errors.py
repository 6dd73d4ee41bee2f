"""Every error that strongroom reports: import them from here, also those of wrong requests and those that pass."""

from __future__ import annotations

from strongroom.failure import Category, StorageError
from strongroom.passing import (
    BrokerUnavailable,
    CatalogueBusy,
    DiskFull,
    NotEnoughSpace,
    OutboxFull,
    QueueFull,
    QuotaExceeded,
    TargetUnreachable,
    Transient,
    TransientIO,
    WaitTimeout,
)
from strongroom.refusals import (
    DamagedGzip,
    DocumentTooLarge,
    DuplicateKey,
    EmptyDocument,
    InvalidDocument,
    InvalidIdentifier,
    InvalidMessage,
    InvalidRequest,
    LimitExceeded,
    LoneSurrogate,
    MessageTooNew,
    MissingIdentifier,
    NotAnObject,
    NotJson,
    StalePlan,
    VersionExists,
)

__all__ = [
    "BackupDamaged",
    "BackupError",
    "BackupKeyError",
    "BrokerUnavailable",
    "Cancelled",
    "CatalogueBusy",
    "Category",
    "ConfigurationError",
    "DamagedGzip",
    "DataFolderError",
    "DataFolderLocked",
    "DiskFull",
    "DocumentTooLarge",
    "DuplicateKey",
    "EmptyDocument",
    "IntegrityError",
    "InvalidDocument",
    "InvalidIdentifier",
    "InvalidMessage",
    "InvalidRequest",
    "LimitExceeded",
    "LoneSurrogate",
    "MessageTooNew",
    "MissingIdentifier",
    "NameTaken",
    "NotAnObject",
    "NotEnoughSpace",
    "NotFound",
    "NotJson",
    "OutboxFull",
    "PayloadDamaged",
    "PayloadMissing",
    "PermissionRefused",
    "Poisonous",
    "QueueFull",
    "QuotaExceeded",
    "StalePlan",
    "StorageError",
    "TargetUnfit",
    "TargetUnreachable",
    "Transient",
    "TransientIO",
    "VersionExists",
    "WaitTimeout",
]


class NotFound(StorageError):
    """No such library, version or job."""

    code = "not_found"
    category = "validation"
    default_hint = "`strongroom list` shows what is stored."


class Cancelled(StorageError):
    """A person cancelled the job before it had ended."""

    code = "cancelled"
    default_hint = "`strongroom jobs retry` begins it anew: its payload is kept."


class IntegrityError(StorageError):
    """Stored bytes do not hash to the recorded digest. Nothing of them was handed out."""

    code = "integrity_error"
    category = "filesystem"
    default_hint = (
        "The damaged bytes were not served. `strongroom verify --all --repair` looks for a good copy; "
        "else store the document again from its source. The disk wants a look."
    )


class BackupError(StorageError):
    """A backup was not made, or cannot be used: what it lacks is named. Backups that were good before still are."""

    code = "backup_error"
    default_hint = "Correct what is named, then begin again: what was already copied is not copied twice."


class NameTaken(BackupError):
    """A target keeps something under this name already, and never overwrites."""

    code = "name_taken"
    default_hint = "Nothing was overwritten. Run it again: it takes another name."


class TargetUnfit(BackupError):
    """The place where backups are to be kept does not keep the promises that they need."""

    code = "target_unfit"
    category = "configuration"
    default_hint = "Choose another STRONGROOM_BACKUP_TARGET: a folder on a local disk, or a store with conditional writes."


class BackupKeyError(BackupError):
    """The key that opens a backup is missing, is another one, or cannot be used."""

    code = "backup_key"
    category = "configuration"
    default_hint = "Set STRONGROOM_BACKUP_KEY_FILE to the key file that these backups were made with; it is nowhere else."


class BackupDamaged(IntegrityError):
    """A backup does not hold what its manifest promises."""

    code = "backup_damaged"
    default_hint = "`strongroom backup list` shows others; `strongroom backup create --full` makes one that needs none of these."


class Poisonous(StorageError):
    """Whoever tried to store this document died, more than once, with nothing else at hand."""

    code = "poisonous"
    default_hint = "The worker's log may say why it died; its payload is kept. The other documents of the job are stored."


class PayloadMissing(StorageError):
    """The message names an inbox file that is not there (and no finished job explains why)."""

    code = "payload_missing"
    category = "filesystem"
    default_hint = "Producer and workers must see the same inbox folder; send the document again."


class PayloadDamaged(IntegrityError):
    """An inbox file whose manifest or digests do not hold: changed after it was staged, or cut short."""

    code = "payload_damaged"
    default_hint = "The staged file changed after it was accepted: send the document again."


class DataFolderError(StorageError):
    """The data folder cannot be used: absent, made by a newer release, or not one at all."""

    code = "data_folder"
    category = "configuration"
    default_hint = "Name the folder with --data or STRONGROOM_DATA_DIR; `strongroom up` makes a new one."


class DataFolderLocked(DataFolderError):
    """Another service runs on this folder."""

    code = "data_folder_locked"
    default_hint = "`strongroom status` shows it, `strongroom down` stops it; or choose another --data folder."


class ConfigurationError(StorageError):
    """A setting that cannot work."""

    code = "configuration"
    category = "configuration"
    default_hint = "docs/reference/settings.md lists the settings and what they accept."


class PermissionRefused(StorageError):
    """The operating system refused a read or write."""

    code = "permission_denied"
    category = "permission"
    default_hint = "Give the user that runs strongroom read and write access to the folder named."
