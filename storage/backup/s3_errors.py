"""What an object store answers when it does not do what it was asked for, in the words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as Unconnected,
)

from storage.backup.s3_silence import is_silence
from strongroom.errors import (
    BackupError,
    ConfigurationError,
    DiskFull,
    NameTaken,
    NotFound,
    PermissionRefused,
    StorageError,
    TargetUnfit,
    TargetUnreachable,
)

PASSING = (Unconnected, HTTPClientError, ResponseStreamingError, IncompleteReadError)
"""What a connection does that breaks."""

_KEYS = "Set STRONGROOM_BACKUP_S3_ACCESS_KEY and STRONGROOM_BACKUP_S3_SECRET_KEY; the key has to list, read, write and remove."
_SILENT = (
    "Look at that server, which may be frozen or overloaded, at the network and at STRONGROOM_BACKUP_S3_ENDPOINT; "
    "a job is tried again by itself."
)
_ANSWERS: tuple[tuple[type[StorageError], str | None, frozenset[str], frozenset[int]], ...] = (
    (NotFound, "`strongroom backup list` shows the backups.", frozenset({"404", "NoSuchKey", "NotFound"}), frozenset()),
    (NameTaken, None, frozenset(), frozenset({412})),
    (
        DiskFull,
        "Make room in the store, or raise its quota.",
        frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}),
        frozenset({507}),
    ),
    (PermissionRefused, _KEYS, frozenset({"ExpiredToken"}), frozenset({401, 403})),
    (TargetUnfit, None, frozenset(), frozenset({501})),
    (TargetUnreachable, None, frozenset({"RequestTimeout", "SlowDown", "Throttling"}), frozenset({409, 429})),
)
"""What an answer means, by the store's own word or by the status; the first that fits."""


def code_of(error: ClientError) -> str:
    """Return the store's own word for what is wrong, or the status."""
    return str(error.response.get("Error", {}).get("Code", "")) or str(status_of(error))


def status_of(error: ClientError) -> int:
    """Return the status of the answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def s3_errors(what: str, bucket: str, endpoint: str = "") -> Iterator[None]:
    """Turn what the library raises into the StorageError that says what to do. No secret is in its words.

    Raises:
        NotFound: there is no such object.
        NameTaken: the object exists.
        TargetUnreachable: no answer, or one that may be another in a while.
        PermissionRefused: the credentials are wrong or may not do this.
        DiskFull: the store has no room.
        TargetUnfit: there is no such bucket, or the store does not know what is asked of it.
        ConfigurationError: no request can be made from these settings.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(what, bucket, error) from None  # its chain may show headers
    except SSLError:
        hint = "Give the server a certificate that this machine trusts (AWS_CA_BUNDLE), or correct STRONGROOM_BACKUP_S3_ENDPOINT."
        raise ConfigurationError(f"{what}: the server's certificate is not trusted.", hint) from None
    except PASSING as error:
        if is_silence(error):
            raise TargetUnreachable(f"{what}: {_server(endpoint)} does not answer.", _SILENT) from None
        raise TargetUnreachable(f"{what}: {_first_line(error)}") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise ConfigurationError(f"{what}: no credentials are set.", _KEYS) from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"{what}: {_first_line(error)}") from None


def _answered(what: str, bucket: str, error: ClientError) -> StorageError:
    code, status = code_of(error), status_of(error)
    said = f"{what}: {_message(error) or code}"
    if code == "NoSuchBucket":
        return TargetUnfit(f"{what}: there is no bucket {bucket}.", "Make the bucket, or correct STRONGROOM_BACKUP_TARGET.")
    for kind, hint, codes, statuses in _ANSWERS:
        if code in codes or status in statuses:
            return kind(said, hint)
    return TargetUnreachable(said) if status >= 500 else BackupError(said)


def _message(error: ClientError) -> str:
    answer: dict[str, Any] = error.response.get("Error", {})  # parsed XML
    return str(answer.get("Message", "")).strip()


def _server(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
