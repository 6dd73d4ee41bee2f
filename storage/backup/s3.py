"""A target that is a bucket of an object store which speaks S3, with conditional writes (If-None-Match)."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BytesIO
from itertools import chain, count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from storage.backup.s3_access import TRIES, Access
from storage.backup.s3_client import client_of
from storage.backup.s3_errors import PASSING, s3_errors, status_of
from storage.backup.s3_silence import Patience, is_silence
from storage.backup.target import PIECE_BYTES, Stored, Target, checked
from strongroom.errors import ConfigurationError, InvalidRequest, NameTaken, StorageError

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectRequestTypeDef

PART_BYTES = 16 << 20
"""A larger object goes in parts. The protocol allows 10,000 of them: 160 GiB."""

_AT_ONCE = 2
"""Parts under way: with the one that is being filled, three are in memory."""

_TOKEN = "strongroom-upload"  # noqa: S105 - the name of a header


@dataclass(frozen=True, slots=True)
class S3Target:
    """Keeps each name as an object below a prefix. Durable when the store says so: a PUT that was answered."""

    bucket: str
    prefix: str
    client: S3Client = field(repr=False, compare=False)
    patience: Patience = field(repr=False, compare=False)
    tries: int = TRIES
    part_bytes: int = PART_BYTES
    always_in_parts: bool = False

    @property
    def url(self) -> str:
        """Bucket and prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def ways(self) -> Sequence[Target]:
        """Return this and its way for large objects: a store may know conditions for one and not for the other."""
        return self, replace(self, always_in_parts=True)

    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        """Put an object under the condition that there is none; a large one in parts, where the last request has it."""
        key = self._key(name)
        parts = _filled(pieces, self.part_bytes)
        first = next(parts, BytesIO())
        second = None if self.always_in_parts else next(parts, None)
        token = secrets.token_hex(16)
        if second is None and not self.always_in_parts:
            with self._said(f"cannot write {name} to"), self._unless_own(key, token):
                self.client.put_object(Bucket=self.bucket, Key=key, Body=first, IfNoneMatch="*", Metadata={_TOKEN: token})
        else:
            self._put_parts(name, chain([first], [second] if second else [], parts), token)

    def _put_parts(self, name: str, parts: Iterator[BytesIO], token: str) -> None:
        key, said = self._key(name), f"cannot write {name} to"
        with self._said(said):
            if not self.always_in_parts and self._token_of(key) is not None:  # spares the parts; the condition comes with the end
                raise NameTaken(f"{name} exists in {self.url}.")
            upload = self.client.create_multipart_upload(Bucket=self.bucket, Key=key, Metadata={_TOKEN: token})["UploadId"]
        try:
            done = self._send(key, upload, parts, said)
            with self._said(said), self._unless_own(key, token):
                self.client.complete_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}, IfNoneMatch="*"
                )
        except BaseException:
            if not self.patience.is_over():  # else nobody hears it: `tidy` does it later
                with suppress(StorageError), self._said("cannot break off an upload to"):
                    self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
            raise

    def _send(self, key: str, upload: str, parts: Iterator[BytesIO], said: str) -> list[CompletedPartTypeDef]:
        def send(number: int, body: BytesIO) -> CompletedPartTypeDef:
            sent = self.client.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        done: list[CompletedPartTypeDef] = []
        under_way: deque[Future[CompletedPartTypeDef]] = deque()
        with ThreadPoolExecutor(_AT_ONCE, "upload") as pool:
            for number in count(1):
                if len(under_way) == _AT_ONCE:
                    with self._said(said):
                        done.append(under_way.popleft().result())
                part = next(parts, None)  # in this thread: a database connection may be behind it
                if part is None:
                    break
                under_way.append(pool.submit(send, number, part))
            with self._said(said):
                done += [one.result() for one in under_way]
        return done

    @contextmanager
    def _unless_own(self, key: str, token: str) -> Iterator[None]:
        """Let a refusal pass when the object is that of this very call: its answer was lost, and the library asked again."""
        try:
            yield
        except ClientError as error:
            if status_of(error) not in {404, 412} or self._token_of(key) != token:
                raise

    def _token_of(self, key: str) -> str | None:
        try:
            return self.client.head_object(Bucket=self.bucket, Key=key)["Metadata"].get(_TOKEN, "")
        except ClientError as error:
            if status_of(error) != 404:
                raise
            return None

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object; a connection that breaks is made anew, and goes on where it broke."""
        key, done, etag = self._key(name), 0, ""
        broken = 0
        while length is None or done < length:
            with self._said(f"cannot read {name} from"):
                body, etag = self._get(key, offset + done, None if length is None else length - done, etag)
                if body is None:
                    return
            try:
                with closing(body):
                    for piece in body.iter_chunks(PIECE_BYTES):
                        done += len(piece)
                        broken = 0
                        yield piece
            except PASSING as error:
                self.patience.broke_off(error)
                broken += 1
                if broken == self.tries or (broken > 1 and is_silence(error)):
                    with self._said(f"{name} breaks off in"):
                        raise
            else:
                return

    def _get(self, key: str, start: int, length: int | None, etag: str) -> tuple[StreamingBody | None, str]:
        """Return the body from ``start`` on, None past the end. The object must be the one that was begun with."""
        asked: GetObjectRequestTypeDef = {"Bucket": self.bucket, "Key": key}
        if start or length is not None:
            asked["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        if etag:
            asked["IfMatch"] = etag
        try:
            answer = self.client.get_object(**asked)
        except ClientError as error:
            if status_of(error) == 416:
                return None, etag
            raise
        return answer["Body"], answer["ETag"]

    def names(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the objects below the prefix."""
        with self._said("cannot list"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._root + prefix)
            for page in pages:
                for one in page.get("Contents", ()):
                    yield Stored(one["Key"].removeprefix(self._root), one["Size"], one["LastModified"])

    def remove(self, name: str) -> None:
        """Remove an object. In a bucket with versions its last version stays, hidden."""
        with self._said(f"cannot remove {name} from"):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def tidy(self, before: datetime) -> int:
        """Break off uploads that began before: they cost room and are shown nowhere."""
        removed = 0
        with self._said("cannot tidy"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self._root)
            for one in [one for page in pages for one in page.get("Uploads", ()) if one["Initiated"] < before]:
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"])
                removed += 1
        return removed

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _key(self, name: str) -> str:
        return self._root + checked(name)

    def _said(self, what: str) -> AbstractContextManager[None]:
        return s3_errors(f"{what} {self.url}", self.bucket, self.client.meta.endpoint_url)


def s3_target(url: str, access: Access) -> S3Target:
    """Return the target of a URL, ``s3://bucket/prefix``. Asks the store nothing yet.

    Raises:
        ConfigurationError: the URL or the access cannot be one. The message does not hold the URL: it may hold a secret.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise _unusable()
    try:
        if prefix:
            checked(prefix)
    except InvalidRequest:
        raise _unusable() from None
    with s3_errors("the object store cannot be used", parts.netloc):
        client, patience = client_of(access), Patience(access.timeout_s)
    patience.watch(client)
    return S3Target(parts.netloc, prefix, client, patience, access.tries)


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "STRONGROOM_BACKUP_TARGET is no s3://bucket/prefix.",
        "Credentials and the server's address have settings of their own: STRONGROOM_BACKUP_S3_...",
    )


def _filled(pieces: Iterable[bytes], size_bytes: int) -> Iterator[BytesIO]:
    """Yield the bytes of the pieces in parts of one size; the last may be smaller.

    As files: the library sends those bit by bit, each in its time. A bytearray would have to go out whole within one.
    """
    part = BytesIO()
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[part.write(view[: size_bytes - part.tell()]) :]
            if part.tell() == size_bytes:
                yield _rewound(part)
                part = BytesIO()
    if part.tell():
        yield _rewound(part)


def _rewound(part: BytesIO) -> BytesIO:
    part.seek(0)
    return part
