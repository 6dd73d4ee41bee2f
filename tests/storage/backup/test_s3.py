"""The object store: what the contract of all targets does not say, against a real server and a network that fails."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from storage.backup.s3 import S3Target, s3_target
from storage.backup.s3_access import Access
from storage.backup.target import prove
from strongroom.errors import ConfigurationError, NameTaken, PermissionRefused, StorageError, TargetUnfit, TargetUnreachable
from tests.support.flaky import Flaky, flaky
from tests.support.s3 import Store

PART = 5 << 20
"""The smallest part that the protocol allows."""

Bucket = Callable[..., S3Target]


@pytest.fixture
def proxy(store: Store) -> Iterator[Flaky]:
    port = urlsplit(store.access.endpoint or "").port
    assert port is not None
    with flaky(port) as started:
        yield started


@pytest.fixture
def behind(proxy: Flaky, store: Store, bucket: Bucket) -> S3Target:
    """A target that is reached by the proxy."""
    access = replace(store.access, endpoint=f"http://127.0.0.1:{proxy.port}", tries=3, timeout_s=5.0)
    return replace(s3_target(f"s3://{store.bucket}", access), prefix=bucket().prefix, part_bytes=PART)


def uploads(target: S3Target) -> int:
    return len(target.client.list_multipart_uploads(Bucket=target.bucket, Prefix=target.prefix).get("Uploads", []))


def test_an_object_of_many_parts_comes_back_and_little_of_it_is_in_memory(bucket: Bucket) -> None:
    target = replace(bucket(), part_bytes=PART)
    piece = os.urandom(1 << 20)
    tracemalloc.start()
    try:
        target.create("packs/large", (piece for _ in range(32)))
        read = 0
        for one in target.read("packs/large"):
            assert one == piece[: len(one)] or len(one) < len(piece)
            read += len(one)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == 32 << 20
    assert peak < 6 * PART
    with pytest.raises(NameTaken):
        target.create("packs/large", [b"other"])
    with pytest.raises(NameTaken):
        target.create("packs/large", [bytes(PART + 1)])
    assert uploads(target) == 0


def test_of_two_that_take_one_name_at_once_one_gets_it(bucket: Bucket) -> None:
    target = replace(bucket(), part_bytes=PART)

    def take(number: int) -> int | None:
        try:
            target.create("taken", [bytes([number]), bytes(PART if number % 2 else 10)])
        except NameTaken:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        [winner] = [one for one in pool.map(take, range(4)) if one is not None]
    assert next(iter(target.read("taken")))[0] == winner
    assert uploads(target) == 0


def test_what_raises_between_two_parts_leaves_no_upload(bucket: Bucket) -> None:
    target = replace(bucket(), part_bytes=PART)

    def broken() -> Iterator[bytes]:
        yield bytes(2 * PART)
        assert uploads(target) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        target.create("broken", broken())
    assert uploads(target) == 0
    assert list(target.names()) == []


def test_an_upload_that_a_kill_left_is_tidied_away_when_it_is_old(bucket: Bucket) -> None:
    target = bucket()
    target.client.create_multipart_upload(Bucket=target.bucket, Key=f"{target.prefix}/packs/left")
    assert target.tidy(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert target.tidy(datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert uploads(target) == 0


def test_a_read_that_breaks_off_goes_on_where_it_was(behind: S3Target, proxy: Flaky, bucket: Bucket) -> None:
    data = os.urandom(3_000_000)
    bucket().create("a", [data])
    proxy.cuts, proxy.cut_after = 2, 1_000_000
    assert b"".join(behind.read("a")) == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    assert b"".join(behind.read("a", 100_000, 2_700_000)) == data[100_000:2_800_000]
    assert proxy.cuts == 0


def test_a_read_that_does_not_get_on_is_given_up(behind: S3Target, proxy: Flaky, bucket: Bucket) -> None:
    bucket().create("a", [bytes(100_000)])
    proxy.cuts, proxy.cut_after = 1000, 0
    with pytest.raises(TargetUnreachable):
        b"".join(behind.read("a"))
    assert proxy.cuts < 1000


@pytest.mark.parametrize("size_bytes", [10, PART + 1], ids=["in one", "in parts"])
def test_an_answer_that_is_lost_makes_no_false_refusal(behind: S3Target, proxy: Flaky, bucket: Bucket, size_bytes: int) -> None:
    data = os.urandom(size_bytes)

    def pieces() -> Iterator[bytes]:
        yield data[:PART]
        proxy.losses = 1
        yield data[PART:]

    behind.create("a", pieces())
    assert proxy.losses == 0
    assert b"".join(bucket().read("a")) == data
    with pytest.raises(NameTaken):
        behind.create("a", [b"other"])


def test_the_answer_to_the_last_request_of_many_parts_may_be_lost_too(behind: S3Target, proxy: Flaky, bucket: Bucket) -> None:
    sent = behind.client.meta.events
    sent.register("before-send.s3.CompleteMultipartUpload", lambda **_: setattr(proxy, "losses", int(not proxy.busy and once())))
    seen: list[int] = []

    def once() -> bool:
        seen.append(1)
        return len(seen) == 1

    behind.create("a", [bytes(2 * PART)])
    assert len(seen) > 1, "no answer was lost"
    assert sum(map(len, bucket().read("a"))) == 2 * PART


def test_a_store_that_is_busy_for_a_moment_is_asked_again(behind: S3Target, proxy: Flaky) -> None:
    proxy.busy = 1
    behind.create("a", [b"x"])
    assert proxy.busy == 0
    assert b"".join(behind.read("a")) == b"x"


def test_a_store_that_does_not_answer_is_unreachable(store: Store) -> None:
    with flaky(1) as proxy:
        port = proxy.port
    target = s3_target(f"s3://{store.bucket}", replace(store.access, endpoint=f"http://127.0.0.1:{port}", tries=1))
    for ask in (lambda: target.create("a", [b"x"]), lambda: list(target.read("a")), lambda: list(target.names())):
        with pytest.raises(TargetUnreachable) as caught:
            ask()
        assert caught.value.retryable


@pytest.mark.parametrize("wrong", [{"access_key": "nobody"}, {"secret_key": "wrong-secret"}], ids=["key", "secret"])
def test_wrong_credentials_are_called_that_and_never_shown(bucket: Bucket, wrong: dict[str, str]) -> None:
    target = bucket(**wrong)
    with pytest.raises(PermissionRefused) as caught:
        target.create("a", [b"x"])
    assert "STRONGROOM_BACKUP_S3_ACCESS_KEY" in caught.value.hint
    shown = f"{caught.value!r} {target!r} {target.url} {Access(**wrong)!r}"  # type: ignore[arg-type]  # two of its fields
    assert not any(secret in shown for secret in ("s3-secret", "wrong-secret"))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("ignores", ["PutObject", "CompleteMultipartUpload"])
def test_a_store_that_ignores_the_condition_is_not_trusted(store: Store, bucket: Bucket, ignores: str) -> None:
    target = replace(s3_target(f"s3://{store.bucket}", store.access), prefix=bucket().prefix)
    dropped: list[object] = []
    target.client.meta.events.register(
        f"before-sign.s3.{ignores}", lambda request, **_: dropped.append(request.headers.__delitem__("If-None-Match"))
    )
    with pytest.raises(TargetUnfit, match="overwrites"):
        prove(target, datetime.now(UTC))
    assert dropped
    assert list(bucket().names()) == []


@pytest.mark.parametrize("error", [ValueError("own"), OSError(5, "own")], ids=["value", "disk"])
def test_what_the_pieces_raise_goes_through(bucket: Bucket, error: Exception) -> None:
    def broken(size_bytes: int) -> Iterator[bytes]:
        yield bytes(size_bytes)
        raise error

    for size_bytes in (10, PART, 2 * PART):
        with pytest.raises(type(error), match="own"):
            replace(bucket(), part_bytes=PART).create("a", broken(size_bytes))


def test_a_bucket_that_is_not_there_is_named(store: Store, bucket: Bucket) -> None:
    target = replace(bucket(), bucket="no-such-bucket")
    for ask in (lambda: list(target.read("a")), lambda: list(target.names())):
        with pytest.raises(TargetUnfit, match="no bucket no-such-bucket"):
            ask()


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///prefix", "https://bucket/prefix", "s3://key:secret@bucket/x", "s3://bucket/a b", "s3://bucket/x?secret=1"],
)
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        s3_target(url, Access())
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "address",
    ["secret", "key:secret@host", "http://key:secret@host", "http://host/?secret", "http://secret:99999", "http://[secret"],
)
def test_an_address_that_is_none_is_a_setting_to_correct_and_not_repeated(address: str) -> None:
    """Some clients take the keys within the address; the library's errors would show them."""
    with pytest.raises(ConfigurationError, match="STRONGROOM_BACKUP_S3_ENDPOINT") as caught:
        s3_target("s3://bucket", Access(endpoint=address))
    assert "secret" not in caught.value.message


def test_half_of_the_credentials_is_a_setting_to_correct(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="Only one"):
        s3_target("s3://bucket", replace(store.access, secret_key=None))


def test_the_url_as_shown_has_no_secret(bucket: Bucket) -> None:
    assert bucket().url.startswith("s3://backups/test/")
    assert replace(bucket(), prefix="").url == "s3://backups"


def test_without_a_prefix_the_whole_bucket_is_the_target(store: Store) -> None:
    target = s3_target(f"s3://{store.bucket}", store.access)
    target.create("whole/a", [b"x"])
    try:
        assert "whole/a" in [one.name for one in target.names("whole")]
    finally:
        target.remove("whole/a")


def test_every_error_of_a_store_is_a_storage_error(behind: S3Target, proxy: Flaky) -> None:
    proxy.busy = 1000
    with pytest.raises(StorageError):
        behind.remove("a")
