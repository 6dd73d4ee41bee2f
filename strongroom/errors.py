"""Every error that strongroom reports: what happened, whether waiting can heal it, and what to do."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Category = Literal["validation", "network", "filesystem", "configuration", "cache", "timeout", "permission", "unknown"]


class StorageError(Exception):
    """Root of the tree.

    Positional arguments only (message, hint, context), so that an instance survives Celery's JSON round trip.
    ``code`` is stable and meant for programs; ``retryable`` says whether waiting alone can heal it.
    """

    code: ClassVar[str] = "storage_error"
    category: ClassVar[Category] = "unknown"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "Look at the log of the worker, then run `strongroom status`."

    def __init__(self, message: str = "", hint: str | None = None, context: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint, context)
        self.message = message or self.code
        self.hint = hint or self.default_hint
        self.context = dict(context or {})

    def __str__(self) -> str:
        return self.message


class InvalidRequest(StorageError):
    """The request itself is wrong: the same request will be refused again."""

    code = "invalid_request"
    category = "validation"
    default_hint = "Correct the request and send it again."


class InvalidMessage(InvalidRequest):
    """A message that does not follow the contract: an unknown field, a wrong type, a missing part."""

    code = "invalid_message"
    default_hint = "Compare the message with docs/reference/tasks.md; fields are never guessed."


class MessageTooNew(InvalidMessage):
    """A message of a contract that this worker does not know yet."""

    code = "message_too_new"
    default_hint = "Upgrade the workers; nothing else: the message waits, and is offered again every half minute."


class InvalidIdentifier(InvalidRequest):
    """A library id or version that cannot be one: empty, too long, with NUL or a lone surrogate."""

    code = "invalid_identifier"
    default_hint = "Use an id such as /owner/name and a version such as 3.1.3 (1 to 1,024 bytes of UTF-8, no control characters)."


class MissingIdentifier(InvalidIdentifier):
    """Neither the request nor the document says which library or version this is."""

    code = "missing_identifier"
    default_hint = "Name them with --library and --version, or add library_id and version_id to the document."


class InvalidDocument(InvalidRequest):
    """The bytes are not a document that strongroom accepts."""

    code = "invalid_document"
    default_hint = "A document is one JSON object in UTF-8 without a byte order mark, plain or gzipped."


class EmptyDocument(InvalidDocument):
    """No bytes at all."""

    code = "empty_document"
    default_hint = "The file is empty: download it again."


class NotJson(InvalidDocument):
    """The text breaks JSON's grammar (RFC 8259), NaN, a byte order mark and invalid UTF-8 included."""

    code = "not_json"


class NotAnObject(InvalidDocument):
    """The JSON is a list, a string, a number or null where an object must stand."""

    code = "not_an_object"
    default_hint = "Wrap the value in an object: a document is {...}."


class DuplicateKey(InvalidDocument):
    """An object names one key twice: readers would disagree about its value."""

    code = "duplicate_key"
    default_hint = "Remove one of the two: no reader could tell which value is meant."


class LoneSurrogate(InvalidDocument):
    """A string holds half of a surrogate pair, which no UTF-8 text can hold."""

    code = "lone_surrogate"
    default_hint = "Write the character itself or its whole pair of \\u escapes."


class DamagedGzip(InvalidDocument):
    """A gzip stream that ends early or fails its own checksum."""

    code = "damaged_gzip"
    default_hint = "The download is truncated or damaged: fetch it again (`gzip -t FILE` tells)."


class LimitExceeded(InvalidDocument):
    """A document past one of the limits: size, depth, keys in an object, length of a string or number."""

    code = "limit_exceeded"
    default_hint = "Split the document, or raise the limit in the settings if the source is trusted."


class DocumentTooLarge(LimitExceeded):
    """More plain bytes than the largest document allowed (a gzip bomb ends here too)."""

    code = "document_too_large"
    default_hint = "Split the document, or raise STRONGROOM_MAX_DOCUMENT_BYTES."


class VersionExists(InvalidRequest):
    """The version is stored with other content, and the request says to refuse then."""

    code = "version_exists"
    default_hint = "Store it under another version, or drop --if-exists refuse to add a revision."


class StalePlan(InvalidRequest):
    """What a plan was made from has changed since: carrying it out would do what nobody was shown."""

    code = "stale_plan"
    default_hint = "Look at the new plan with `strongroom cleanup`, then apply that."


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
    default_hint = "The damaged bytes were not served. Store the document again from its source; the disk wants a look."


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


class Transient(StorageError):
    """Something that waiting can heal."""

    code = "transient"
    retryable = True
    default_hint = "It is tried again by itself."


class CatalogueBusy(Transient):
    """The database was locked or its connection dropped."""

    code = "catalogue_busy"
    category = "timeout"


class TransientIO(Transient):
    """The disk or file system answered with an error that may pass (EAGAIN, EINTR, EIO once)."""

    code = "io_error"
    category = "filesystem"


class DiskFull(Transient):
    """No space left. What was accepted stays in the inbox and goes on when there is space."""

    code = "disk_full"
    category = "filesystem"
    default_hint = "Free some space: accepted documents wait in the inbox and are stored then."


class NotEnoughSpace(DiskFull):
    """Too little space is free for what a job is predicted to need. It was not begun; it goes on by itself when there is enough."""

    code = "not_enough_space"
    default_hint = (
        "`strongroom cleanup sweep` frees what was removed long ago; docs/how-to/disk-full.md says what else may go. "
        "The job goes on by itself."
    )


class QuotaExceeded(Transient):
    """A library, or all of them together, would take more than its quota. Nothing of the job was stored; it waits for room."""

    code = "quota_exceeded"
    category = "configuration"
    default_hint = (
        "`strongroom quota` shows what is used: remove versions (`strongroom cleanup`) or raise STRONGROOM_QUOTAS. "
        "An accepted job goes on by itself then."
    )


class QueueFull(Transient):
    """More jobs wait already than the service allows. Nothing of this call's next message was staged or sent."""

    code = "queue_full"
    category = "timeout"
    default_hint = "The workers are behind: wait, send more slowly, or raise STRONGROOM_MAX_WAITING. Calling again is safe."


class OutboxFull(Transient):
    """The client's outbox holds as much as it may. This message was not accepted; those in it stay."""

    code = "outbox_full"
    category = "filesystem"
    default_hint = (
        "It empties itself when the broker answers (`strongroom outbox --folder` shows it); or raise outbox_limit_bytes."
    )


class BrokerUnavailable(Transient):
    """The broker did not answer within the time given."""

    code = "broker_unavailable"
    category = "network"
    default_hint = "Start the service (`strongroom up`) or correct STRONGROOM_BROKER_URL, then call again: it is safe to."


class TargetUnreachable(Transient):
    """The place where backups are kept does not answer, or says that it cannot now. It was asked several times."""

    code = "target_unreachable"
    category = "network"
    default_hint = "Look at the network and at STRONGROOM_BACKUP_S3_ENDPOINT; the job is tried again by itself."


class WaitTimeout(Transient):
    """The job had not finished when the waiting time was over. It still runs."""

    code = "wait_timeout"
    category = "timeout"
    default_hint = "The job goes on; `strongroom jobs` shows it. Wait again or longer."
