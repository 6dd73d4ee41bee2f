"""What stores answer, each in the words of some store, becomes the error that says what to do."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from storage.backup.s3_errors import s3_errors
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

SECRET = "AKIA-s3cret"


def answer(code: str, status: int) -> ClientError:
    told = {"Code": code, "Message": f"what {code} means", "AWSAccessKeyId": SECRET, "StringToSign": SECRET}
    return ClientError({"Error": told, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, NotFound),
        ("404", 404, NotFound),
        ("NoSuchBucket", 404, TargetUnfit),
        ("PreconditionFailed", 412, NameTaken),
        ("ConditionalRequestConflict", 409, TargetUnreachable),
        ("AccessDenied", 403, PermissionRefused),
        ("RequestTimeTooSkewed", 403, PermissionRefused),
        ("InvalidAccessKeyId", 403, PermissionRefused),
        ("ExpiredToken", 400, PermissionRefused),
        ("Unauthorized", 401, PermissionRefused),
        ("QuotaExceeded", 403, DiskFull),
        ("XMinioStorageFull", 507, DiskFull),
        ("InsufficientStorage", 507, DiskFull),
        ("NotImplemented", 501, TargetUnfit),
        ("SlowDown", 503, TargetUnreachable),
        ("TooManyRequests", 429, TargetUnreachable),
        ("RequestTimeout", 400, TargetUnreachable),
        ("InternalError", 500, TargetUnreachable),
        ("MalformedXML", 400, BackupError),
        ("NoSuchUpload", 404, BackupError),
        ("", 502, TargetUnreachable),
    ],
)
def test_an_answer_is_the_error_that_says_what_to_do(code: str, status: int, kind: type[StorageError]) -> None:
    with pytest.raises(StorageError) as caught, s3_errors("cannot write a to s3://bucket", "bucket"):
        raise answer(code, status)
    assert type(caught.value) is kind
    assert "s3://bucket" in caught.value.message
    assert SECRET not in f"{caught.value.message}{caught.value.hint}{caught.value.context}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), TargetUnreachable),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), TargetUnreachable),
        (SSLError(endpoint_url="https://127.0.0.1:1", error="self-signed"), ConfigurationError),
        (NoCredentialsError(), ConfigurationError),
        (BotoCoreError(), ConfigurationError),
        (ValueError("Invalid endpoint: x"), ConfigurationError),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_what_never_got_an_answer_too(raised: Exception, kind: type[StorageError]) -> None:
    with pytest.raises(kind), s3_errors("cannot list s3://bucket", "bucket"):
        raise raised


def test_of_a_server_that_is_silent_the_address_is_named_and_no_secret_in_it() -> None:
    with (
        pytest.raises(TargetUnreachable) as caught,
        s3_errors("cannot list s3://bucket", "bucket", f"https://a:{SECRET}@host:1/x"),
    ):
        raise ReadTimeoutError(endpoint_url="https://host:1/bucket/a")
    assert caught.value.message == "cannot list s3://bucket: https://host:1 does not answer."


def test_other_errors_go_through() -> None:
    with pytest.raises(ZeroDivisionError), s3_errors("cannot list s3://bucket", "bucket"):
        raise ZeroDivisionError
