"""A server that is frozen is given up in time, and one that lives is not, however slow it is: a real one, stopped by a signal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from botocore.hooks import HierarchicalEmitter
from urllib3.exceptions import ProtocolError

from storage.backup.repository import make_repository
from storage.backup.s3 import S3Target, s3_target
from storage.backup.s3_access import Access
from storage.backup.s3_silence import Patience, is_silence
from storage.backup.seal import Unsealed
from strongroom.errors import TargetUnreachable
from tests.support.flaky import Flaky, flaky
from tests.support.s3 import Store

TIMEOUT_S = 0.6
"""Longer than a living server takes on a machine that is busy with other tests."""

Bucket = Callable[..., S3Target]


class Seen:
    """A target that nobody else uses, and which of its requests failed."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.target = replace(s3_target(f"s3://{store.bucket}", replace(store.access, timeout_s=TIMEOUT_S)), prefix=prefix)
        self.failed: list[str] = []
        self.then: Callable[[], None] = lambda: None
        self.target.client.meta.events.register_first("needs-retry.s3", self._look)

    def _look(self, caught_exception: Exception | None = None, **_: object) -> None:
        if caught_exception is not None:
            self.failed.append(type(caught_exception).__name__)
            self.then()


@pytest.fixture
def seen(store: Store, bucket: Bucket) -> Seen:
    return Seen(store, bucket().prefix)


@contextmanager
def flaky_line(store: Store, bucket: Bucket) -> Iterator[tuple[Flaky, Seen]]:
    port = urlsplit(store.access.endpoint or "").port
    assert port is not None
    with flaky(port) as proxy:
        there = replace(store.access, endpoint=f"http://127.0.0.1:{proxy.port}")
        yield proxy, Seen(replace(store, access=there), bucket().prefix)


def test_a_frozen_server_that_was_never_heard_is_given_up_after_one_request(seen: Seen, store: Store) -> None:
    with store.frozen():
        with pytest.raises(TargetUnreachable) as caught:
            b"".join(seen.target.read("a"))
        assert store.is_frozen()
    assert seen.failed == ["ReadTimeoutError"]
    assert f"{store.access.endpoint} does not answer" in caught.value.message
    assert "frozen" in caught.value.hint


def test_one_that_was_heard_gets_another_and_then_one_for_each_question(seen: Seen, store: Store) -> None:
    seen.target.remove("heard")
    with store.frozen():
        for ask, failed in ((lambda: list(seen.target.names()), 2), (lambda: seen.target.remove("a"), 3)):
            with pytest.raises(TargetUnreachable, match="does not answer"):
                ask()
            assert seen.failed == ["ReadTimeoutError"] * failed
    assert list(seen.target.names()) == []


@contextmanager
def freezing(seen: Seen, store: Store, operation: str) -> Iterator[None]:
    """Freeze the server before the first request of that kind; it thaws after the block at the latest."""
    with ExitStack() as stopped:

        def stop(**_: object) -> None:
            if not seen.failed:
                stopped.enter_context(store.frozen())

        seen.target.client.meta.events.register(f"before-send.s3.{operation}", stop)
        yield


def test_a_body_that_a_frozen_server_does_not_take_is_silence_too(seen: Seen, store: Store) -> None:
    target = replace(seen.target, always_in_parts=True)
    with freezing(seen, store, "UploadPart"), pytest.raises(TargetUnreachable, match="does not answer"):
        target.create("large", [bytes(target.part_bytes)])
    assert set(seen.failed) == {"ConnectionClosedError"}, "and nobody waits for it to break off the upload"
    assert len(seen.failed) <= 2


def test_a_server_that_freezes_within_an_answer_is_the_place_and_not_the_file(seen: Seen, store: Store) -> None:
    repository = make_repository(seen.target, Unsealed(), datetime.now(UTC))
    repository.target.create("packs/large", [bytes(24 << 20)])
    pieces = repository.read("packs/large")
    next(pieces)
    with store.frozen(), pytest.raises(TargetUnreachable, match=r"cannot read packs/large .* does not answer"):
        for _ in pieces:
            pass
    assert seen.failed == ["ReadTimeoutError"] * 2, "the file again, and the mark of the place"


def test_an_object_that_hangs_half_way_is_asked_for_twice_and_not_six_times(store: Store, bucket: Bucket) -> None:
    """The server answers, so it is not given up; each try takes the whole time."""
    bucket().create("hangs", [bytes(1 << 20)])
    with flaky_line(store, bucket) as (proxy, behind):
        proxy.stalls, proxy.cut_after = 9, 1000
        with pytest.raises(TargetUnreachable, match=r"hangs breaks off .* does not answer"):
            b"".join(behind.target.read("hangs"))
        assert proxy.stalls == 7
        assert [one.name for one in behind.target.names()] == ["hangs"]


def test_a_server_that_thaws_meanwhile_has_kept_it_once(seen: Seen, store: Store, bucket: Bucket) -> None:
    """As one that is slow: it does what nobody waits for any more, and is asked for it again."""
    seen.then = store.thaw
    with freezing(seen, store, "CompleteMultipartUpload"):
        replace(seen.target, always_in_parts=True).create("a", [b"once"])
    assert seen.failed == ["ReadTimeoutError"]
    assert b"".join(bucket().read("a")) == b"once"


def test_a_line_that_is_slow_gets_its_time_as_long_as_something_goes_over_it(store: Store, bucket: Bucket) -> None:
    data = os.urandom(12 << 20)
    with flaky_line(store, bucket) as (proxy, slow):
        proxy.pause_s = 0.006
        slow.target.create("a", [data])
    assert slow.failed == []
    assert b"".join(bucket().read("a")) == data


def test_a_store_that_wakes_its_disks_for_45_s_before_its_first_answer_is_not_given_up() -> None:
    """As those of a NAS do; and a large bucket may be listed, or an upload put together, for as long."""
    target = s3_target("s3://bucket", Access("http://127.0.0.1:1", access_key="a", secret_key="b"))
    assert target.client.meta.config.read_timeout > 45


class Timeline:
    """A client that makes no request: a test says what came of each, and when."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.meta, self.events = self, HierarchicalEmitter()
        Patience(30.0, lambda: self.now).watch(self)  # type: ignore[arg-type]  # it takes the events, and nothing else

    def asks(self) -> None:
        self.events.emit("before-send.s3.GetObject", request=None)

    def gets(self, error: Exception | None) -> bool:
        """Tell whether the library may ask again."""
        self.events.emit("response-received.s3.GetObject", exception=error, context={})
        told = self.events.emit("needs-retry.s3.GetObject", caught_exception=error, attempts=1)
        return all(answer is None for _, answer in told)


URL = "http://store:1/bucket/a"
SILENT, UNCONNECTED = ReadTimeoutError(endpoint_url=URL), ConnectTimeoutError(endpoint_url=URL)
UNTAKEN = ConnectionClosedError(endpoint_url=URL, error=ProtocolError("Connection aborted.", TimeoutError("timed out")))
RESET = ConnectionClosedError(endpoint_url=URL, error=ProtocolError("Connection aborted.", ConnectionResetError()))


def test_a_host_that_takes_no_connection_is_asked_until_its_time_is_over() -> None:
    line, asked_again = Timeline(), []
    for _ in range(3):
        line.asks()
        line.now += 10
        asked_again.append(line.gets(UNCONNECTED))
    assert asked_again == [True, True, False]


def test_two_connections_that_died_together_are_both_made_anew() -> None:
    line = Timeline()
    line.asks()
    assert line.gets(None)
    line.now += 3600
    line.asks()
    line.asks()
    line.now += 30
    assert line.gets(SILENT)
    assert line.gets(SILENT)


def test_a_server_that_is_heard_again_gets_all_of_its_time_again() -> None:
    line = Timeline()
    for _ in range(2):
        line.asks()
        assert line.gets(None)
        for may_ask_again in (True, False, False):
            line.asks()
            line.now += 30
            assert line.gets(SILENT) is may_ask_again


def test_what_was_sent_for_minutes_was_no_silence() -> None:
    line = Timeline()
    line.asks()
    assert line.gets(None)
    line.asks()
    line.now += 300
    assert line.gets(UNTAKEN)


def test_a_connection_that_breaks_is_a_sign_of_life() -> None:
    line = Timeline()
    for error in (RESET, SILENT):
        line.asks()
        line.now += 29
        assert line.gets(error), error
    assert not is_silence(RESET)
